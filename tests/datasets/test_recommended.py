"""What messages tell people to call is there, after `import hiercl` alone."""

import ast
import re
import subprocess
import sys
from functools import reduce
from pathlib import Path

import hiercl

NAME = re.compile(r"\bhiercl(?:\.[A-Za-z]\w*)+")
FIND = """
import functools, sys, hiercl
for name in sys.argv[1:]:
    try:
        functools.reduce(getattr, name.split(".")[1:], hiercl)
    except AttributeError:
        print(name)
"""


def recommended():
    """Names in all texts of the package that are no docstrings and no names of modules for importlib."""
    for file in Path(hiercl.__file__).parent.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
                yield from NAME.findall(node.value)


def test_every_name_that_a_message_recommends_is_there():
    names = sorted(set(recommended()))
    assert len(names) > 15 and "hiercl.datasets.clouds.unit_sphere" in names
    for name in names:
        reduce(getattr, name.split(".")[1:], hiercl)
    # Once some test has imported a module, it can be reached by its name. A new process says whether users reach it,
    # here for the rooms that are quick to import.
    names = [name for name in names if name.startswith(("hiercl.datasets", "hiercl.Hierarch"))]
    found = subprocess.run([sys.executable, "-c", FIND, *names], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
