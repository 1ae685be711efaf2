"""Files, classes and functions stay small, and the package has few entries."""

import ast
from functools import cache
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("hw_models", "nas_service")
FOLDERS = (*PACKAGES, "benchmarks", "docs", "tests")
FILE, CLASS, FUNCTION, ENTRIES = 400, 250, 6, 24  # lines; the function is the median one


@cache
def files(folder):
    return {path: path.read_text() for path in sorted((ROOT / folder).rglob("*.py"))}


def lines(text):
    return text.count("\n")


@cache
def statements(text):
    """All statements, those within others too; expressions hold none."""
    listed = list(ast.parse(text).body)
    for node in listed:
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            listed += getattr(node, name, ())
    return listed


def nodes(text, *kinds):
    return [node for node in statements(text) if isinstance(node, kinds)]


def classes(text):
    """Lines of each class, with its docstrings."""
    return {node.name: node.end_lineno - node.lineno + 1 for node in nodes(text, ast.ClassDef)}


def functions(text):
    """Lines of the body of each function, without its docstring."""
    defined = nodes(text, ast.FunctionDef, ast.AsyncFunctionDef)
    return [body_lines(node.body[ast.get_docstring(node) is not None :]) for node in defined]


def body_lines(body):
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_file_is_long(folder):
    long = {str(path): n for path, text in files(folder).items() if (n := lines(text)) > FILE}
    assert long == {}, f"at most {FILE} lines"


@pytest.mark.parametrize("folder", PACKAGES)
def test_no_class_is_long(folder):
    counted = [item for text in files(folder).values() for item in classes(text).items()]
    assert {name: n for name, n in counted if n > CLASS} == {}, f"at most {CLASS} lines"


@pytest.mark.parametrize("folder", PACKAGES)
def test_the_median_function_is_short(folder):
    counted = [n for text in files(folder).values() for n in functions(text)]
    assert median(counted) <= FUNCTION


def test_the_package_has_few_entries():
    entries = {path.name for path in (ROOT / "nas_service").iterdir()} - {"__pycache__"}
    assert len(entries) <= ENTRIES, sorted(entries)


def test_what_is_counted():
    text = '''
class A:
    """Text."""

    def f(self):
        """Two
        lines."""
        x = (
            1,
        )

        def g():
            """Nothing else."""

        return x

    async def h(self): return 1
'''
    assert lines(text) == 17
    assert classes(text) == {"A": 16}
    assert sorted(functions(text)) == [0, 1, 8]
