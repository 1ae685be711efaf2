"""docs/guarantees.md names a test for each guarantee, and each of them is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "guarantees.md").read_text()
ROWS = re.findall(r"^(?:\d+\.|-) .*?`\)$", TEXT, re.MULTILINE | re.DOTALL)


def named_in(path):
    tree = ast.parse(path.read_text())
    return {n.name for n in tree.body if isinstance(n, ast.FunctionDef) and n.name[:5] == "test_"}


def test_every_guarantee_has_its_tests():
    assert [row.split(" ")[0] for row in ROWS] == [*(f"{n}." for n in range(1, 27)), "-"]
    for row in ROWS:
        for path, name in re.findall(r"`(tests/[\w/.]+)(?:::(\w+))?`", row):
            there = named_in(ROOT / path)
            assert there, path
            assert not name or name in there, f"{path}::{name}"


def test_every_test_of_a_guarantee_is_listed():
    named = {path for row in ROWS for path in re.findall(r"`(tests/[\w/.]+)", row)}
    names = {f"tests/guarantees/{p.name}" for p in Path(__file__).parent.glob("test_*.py")}
    assert names - {"tests/guarantees/test_list.py"} <= named
