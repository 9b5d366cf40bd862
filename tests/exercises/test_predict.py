"""The cell magic %%predict, in a shell without a browser."""

import sys

import pytest
from IPython.core.interactiveshell import InteractiveShell

from hiercl.exercises import _predict


@pytest.fixture
def shell(monkeypatch):
    made = InteractiveShell()
    monkeypatch.setattr("IPython.get_ipython", lambda: made)
    _predict.register()
    return made


def test_a_result_is_shown_after_a_prediction_and_not_before(shell, capsys):
    form = _predict.predict("", "seen = 6 * 7\nprint('it is', seen)")
    field, button = form.children[0].children
    assert shell.user_ns["seen"] == 42, "later cells can use it"
    assert "it is 42" not in capsys.readouterr().out
    button.click()
    assert "first" in form.children[1].value and not button.disabled
    field.value = "forty or so"
    button.click()
    assert button.disabled and "it is 42" in capsys.readouterr().out


def test_an_error_of_the_cell_is_an_error(shell):
    done = shell.run_cell("%%predict\n1 / 0")
    assert isinstance(done.error_in_exec, ZeroDivisionError)
    assert isinstance(shell.run_cell("%%predict\n1 +").error_in_exec, SyntaxError)


def test_without_ipywidgets_the_result_is_shown_at_once(shell, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert _predict.predict("", "seen = 6 * 7\nprint('it is', seen)") is None
    out = capsys.readouterr().out
    assert "pip install ipywidgets" in out and "it is 42" in out and shell.user_ns["seen"] == 42


def test_without_a_notebook_nothing_is_registered(monkeypatch):
    monkeypatch.setattr("IPython.get_ipython", lambda: None)
    _predict.register()
