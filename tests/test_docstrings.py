"""Public functions with two or more parameters say what goes in and comes out (numpydoc)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[1] / "plugins"
FILES = sorted(PLUGINS.rglob("*.py"))
Function = ast.FunctionDef | ast.AsyncFunctionDef


def public_functions(body: list[ast.stmt]) -> Iterator[Function]:
    """Yield public functions and methods, those of private classes left out."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body)
        elif isinstance(node, Function) and not node.name.startswith("_"):
            yield node


def parameters(function: Function) -> list[str]:
    """Return the names of what a caller gives."""
    named = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    return [one.arg for one in named if one.arg not in ("self", "cls")]


def missing(function: Function) -> list[str]:
    """Return what a function's docstring does not say."""
    names = parameters(function)
    if len(names) < 2:
        return []
    text = ast.get_docstring(function) or ""
    if re.search(r"(?i)see\s+`[\w.]+`", text):
        return []  # one of several implementations
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w+\n-+\n|\Z)", text, re.S | re.M)
    told = set()
    for line in (section[1] if section else "").splitlines():
        if line and not line.startswith(" "):
            told |= {name.strip(" *") for name in line.partition(":")[0].split(",")}
    lacks = [f"parameter {name}" for name in names if name not in told]
    returns = ast.unparse(function.returns) if function.returns else "None"
    if returns not in ("None", "NoReturn", "Never") and not re.search(
        # A first line that says it all needs no section.
        r"\A(Return|Yield)s? |^(Returns|Yields)\n-+\n",
        text,
        re.M,
    ):
        lacks.append("what it returns")
    return lacks


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PLUGINS)))
def test_public_functions_are_documented(path: Path) -> None:
    tree = ast.parse(path.read_text())
    lacks = {
        function.name: missing(function)
        for function in public_functions(tree.body)
        if missing(function)
    }
    assert not lacks
