"""The cell magic ``%%predict``: the result of a cell is shown after one has written what one expects."""

from __future__ import annotations

from typing import Any

ASKED = "What do you expect? A few words are enough."


def register() -> None:
    """Makes ``%%predict`` known where Python runs in a notebook."""
    try:
        from IPython import get_ipython
    except ImportError:
        return
    if (shell := get_ipython()) is not None:
        shell.register_magic_function(predict, "cell")


def predict(line: str, cell: str) -> Any:
    """Runs a cell at once, and shows its result after a prediction. Later cells can use what the cell has made.

    Without ipywidgets there is no form. The result is shown at once, after a line that says so.

    Args:
        line: rest of the line of the magic; not used.
        cell: the code of the cell.

    Returns:
        The form: a field for the prediction, and a button that shows the result. None without ipywidgets.

    Raises:
        Exception: what the cell raises.

    In a notebook::

        %%predict
        hiercl.plot.audit(audit)
    """
    from IPython.utils.capture import capture_output

    try:
        import ipywidgets as widgets
    except ImportError:
        print("The form for your prediction needs ipywidgets: pip install ipywidgets. This is the result:")
        return _run(cell)
    with capture_output() as held:
        _run(cell)
    field = widgets.Textarea(placeholder=ASKED, rows=2, layout=widgets.Layout(width="30em"))
    button = widgets.Button(description="Show the result", button_style="primary")
    said, result = widgets.HTML(), widgets.Output()

    def show(_: Any) -> None:
        if not field.value.strip():
            said.value = "Write your prediction first."
            return
        field.disabled = button.disabled = True
        said.value = "Compare it with your prediction:"
        with result:
            held.show()

    button.on_click(show)
    return widgets.VBox([widgets.HBox([field, button]), said, result])


def _run(cell: str) -> None:
    from IPython import get_ipython

    done = get_ipython().run_cell(cell)
    if not done.success:
        raise done.error_before_exec or done.error_in_exec
