"""Text of a store cannot steer a terminal; what can run code is not in the program."""

import ast
from pathlib import Path

import pytest

from nas_service.text import printable

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    p for package in ("nas_service", "hw_models") for p in (ROOT / package).rglob("*.py")
)
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
# A plug-in is a program that a user names on his own machine; a store names none (the tests of
# study/plugins.py open no recorded path).
RUNS_PLUG_INS = {"nas_service/study/plugins.py": ["exec"]}
CALLS = {"torch.load", "yaml.load", "eval", "exec", "os.system", "os.popen"}
LAST = {name.rpartition(".")[2] for name in CALLS}


@pytest.mark.parametrize(
    "text",
    ["\x1b[2J\x1b[1;1Hroot#", "\x1b]0;title\x07", "\x9b31m", "a\rb", "\x08\x08rm", "\x00"],
)
def test_17_control_codes(text):
    assert "\x1b" not in printable(text)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in printable(text))
    assert printable("Grüße, 3 µJ") == "Grüße, 3 µJ"


def faults(source):
    """What may run code out of data."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] in MODULES)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            yield node.module
        if isinstance(node, ast.Call):
            last = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
            if last in LAST and ast.unparse(node.func) in CALLS:
                yield ast.unparse(node.func)
            yield from (
                k.arg
                for k in node.keywords
                if k.arg in ("shell", "allow_pickle") and ast.unparse(k.value) != "False"
            )


def test_19_nothing_runs_code_out_of_data():
    result = {str(p.relative_to(ROOT)): list(faults(p.read_text())) for p in SOURCES}
    assert {path: what for path, what in result.items() if what} == RUNS_PLUG_INS
    lines = ("import pickle", "from dill import x", "torch.load(f)", "run(a, shell=True)")
    bad = "\n".join([*lines, "np.load(f, allow_pickle=True)"])
    assert list(faults(bad)) == ["pickle", "dill", "torch.load", "shell", "allow_pickle"]
