"""`nas front --format`: what other programs read."""

import csv
import io
import json
import re
import shutil
import subprocess

import pytest
from click.testing import CliRunner
from stored_studies import evaluation, finish, stored_study

from nas_service.cli.front_formats import SPECIAL, escaped
from nas_service.cli.main import main
from nas_service.store.store import Store

OBJECTIVES = [
    {"metric": "accuracy", "direction": "maximize", "reference": 0.5},
    {"metric": "spike_rate", "direction": "minimize", "reference": 0.6},
]
BUDGETS = [{"metric": "energy_uJ", "at_most": 5.0}, {"metric": "area_mm2", "at_most": 50}]


@pytest.fixture(scope="module")
def nas(tmp_path_factory):
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('store')}/nas.db", create=True)
    sections = {"objectives": OBJECTIVES, "constraints": BUDGETS}
    search = stored_study(store, "a_study", [], **sections)
    for n, (accuracy, rate) in enumerate([(0.9, 0.5), (2 / 3, 1e-5), (0.3, 0.0001)]):
        finish(search, evaluation(n + 1, accuracy, rate=rate))
    stored_study(store, "empty", [0.3], **sections)
    url = str(store.url)
    store.close()

    def run(*words):
        return CliRunner().invoke(main, ["front", *words, "--storage", url])

    return run


def test_csv_has_full_precision_and_units(nas):
    done = nas("a_study", "--format", "csv")
    assert done.exit_code == 0
    head, *rows = csv.reader(io.StringIO(done.stdout))
    assert head[:5] == [
        "trial", "accuracy (share)", "spike rate (share)", "energy (uJ)", "area (mm2)"
    ]  # fmt: skip
    assert head[-1] == "test accuracy (share)"
    document = json.loads(nas("a_study", "--format", "json").stdout)
    assert [int(row[0]) for row in rows] == [c["trial"] for c in document["front"]] == [0, 1]
    for row, c in zip(rows, document["front"], strict=True):
        known = [c["metrics"][m] for m in ("accuracy", "spike_rate", "energy_uJ", "area_mm2")]
        assert [float(x) for x in row[1:5]] == known
        assert row[-1] == ""
        assert len(row) == len(head)


def test_latex_is_a_table_in_which_all_text_is_text(nas):
    done = nas("a_study", "--format", "latex")
    assert done.exit_code == 0
    text = done.stdout
    assert r"study a\_study: accuracy" in text
    assert r"& \% & \% & $\mu$J & mm$^2$ \\" in text
    assert r"$1.37 \times 10^{-4}$" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    columns = re.search(r"\\begin{tabular}{(r+)}", text)[1]
    assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)} == {5}
    assert text.count("{") == text.count("}")
    for rule in ("toprule", "midrule", "bottomrule"):
        assert text.count(rf"\{rule}") == 1


def test_every_special_character_is_escaped():
    assert set(r"\&%$#_{}~^") <= SPECIAL.keys()
    assert escaped("50 % of a_b\x1b") == r"50 \% of a\_b\textbackslash{}x1b"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX on this machine")
def test_latex_compiles(nas, tmp_path):
    table = nas("a_study", "--format", "latex").stdout
    page = r"\documentclass{article}\usepackage{booktabs}\begin{document}" + table
    (tmp_path / "page.tex").write_text(page + r"\end{document}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("form", ["csv", "latex"])
def test_an_empty_front_has_headings_and_a_reason(nas, form):
    done = nas("empty", "--format", form)
    assert done.exit_code == 3
    assert done.stdout.startswith({"csv": "trial,accuracy", "latex": "% needs"}[form])
    assert "the front is empty: 1 feasible, below reference" in done.stderr


def test_one_format_at_a_time(nas):
    done = nas("a_study", "--format", "csv", "--json")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--json and --format csv: one of them" in done.stderr
    assert nas("a_study", "--format", "json", "--json").exit_code == 0
    assert nas("a_study", "--format", "table").stdout == nas("a_study").stdout
