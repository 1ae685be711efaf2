"""Identifiers are the field's words: a few that say nothing are not used (CONTRIBUTING.md)."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
VAGUE = {"found", "die", "said", "told", "here"}
FOLDERS = ("benchmarks", "docs", "hw_models", "nas_service", "tests")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
WORDS = re.compile(rf"\b({'|'.join(VAGUE)})\b")  # few files have one, as a name or in a text


def names(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.Attribute):
            yield node.attr, node.lineno


def test_names_say_what_they_are():
    vague = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in FILES
        if WORDS.search(text := path.read_text())
        for name, line in names(ast.parse(text))
        if name in VAGUE
    ]
    assert vague == []
