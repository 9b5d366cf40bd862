"""Docstrings keep to one dialect: known sections in one order, and an example for everything public."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

from hiercl.methods import Method

PACKAGE = Path(__file__).parents[1] / "hiercl"
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
SECTIONS = ["Args", "Attributes", "Returns", "Yields", "Raises", "Example"]
HEADING = re.compile(r"^([A-Z][a-z]*):$", flags=re.M)


def files(room: str) -> list[Path]:
    """The files of a room; those at the top of the package are the room ``""``."""
    return sorted(PACKAGE.glob("*.py") if room == "" else (PACKAGE / room).rglob("*.py"))


def docstrings(path: Path) -> list[tuple[str, str]]:
    """The place and the text of every docstring of a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            name = "" if isinstance(node, ast.Module) else f" {node.name}"
            found.append((f"{path.relative_to(PACKAGE.parent)}{name}", text))
    return found


def public(room: str) -> list[tuple[str, object]]:
    """Functions and methods of training that a room, or a public module, lists in ``__all__``.

    Other classes come out of these functions, or are settings, whose fields say what they do.
    """
    import hiercl

    homes = {home for home in hiercl._HOMES.values() if ":" not in home}
    names = [f"hiercl.{home}" for home in {room, *homes} if home.split(".")[0] == room]
    found = {}
    for module in map(importlib.import_module, sorted(names)):
        for name in getattr(module, "__all__", ()):
            thing = inspect.unwrap(getattr(module, name))
            own = getattr(thing, "__module__", "").startswith(f"hiercl.{room}")
            if own and (inspect.isfunction(thing) or (inspect.isclass(thing) and issubclass(thing, Method))):
                found[f"{thing.__module__}.{thing.__qualname__}"] = thing
    return sorted(found.items())


@pytest.mark.parametrize("room", ["", *ROOMS])
def test_sections_are_known_and_in_order(room):
    wrong = []
    for place, text in (pair for path in files(room) for pair in docstrings(path)):
        headings = HEADING.findall(text)
        unknown = [heading for heading in headings if heading not in SECTIONS]
        wrong += [f"{place}: {heading}" for heading in unknown]
        if not unknown and headings != sorted(headings, key=SECTIONS.index):
            wrong.append(f"{place}: {', '.join(headings)}")
        wrong += [f"{place}: Example::"] if "Example::" in text else []
        # A function whose whole task is a check may begin with "Raises ValueError unless". Others have a section.
        told = [match[0] for match in re.finditer(r"\bRaises \w+Error\b.*", text) if match.start()]
        wrong += [f"{place}: {line}" for line in told]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("room", ROOMS)
def test_what_is_public_has_an_example(room):
    without = [name for name, thing in public(room) if not re.search(r"Example:\n +>>> ", inspect.getdoc(thing) or "")]
    assert not without, "\n".join(without)


@pytest.mark.parametrize("room", ["", *ROOMS])
def test_every_file_and_every_setting_has_a_docstring(room):
    without = []
    for path in files(room):
        tree, place = ast.parse(path.read_text(encoding="utf-8")), path.relative_to(PACKAGE.parent)
        if tree.body and not ast.get_docstring(tree):
            without.append(str(place))
        for config in (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name.endswith("Config")):
            for field, following in zip(config.body, [*config.body[1:], None], strict=True):
                setting = isinstance(field, ast.AnnAssign) and "ClassVar" not in ast.unparse(field.annotation)
                said = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
                if setting and not said:
                    without.append(f"{place} {config.name}.{field.target.id}")
    assert not without, "\n".join(without)
