"""Reports as Markdown: every row has as many cells as its head, and every figure is there."""

import re

import pytest

from hw_models import Layer, Workload, known_profiles, load_profile
from hw_models.markdown import compare, markdown, table

LAYERS = (
    Layer("a|b\n`c`", "conv", 3, 8, kernel=3, in_size=8, out_size=8),
    Layer("fc", "linear", 512, 10, spike_rate=0.1),
)
WORK = Workload(LAYERS, 4)


def tables(text):
    """Lists of rows of cells."""
    blocks = re.findall(r"(?:^\|.*\|\n?)+", text, flags=re.M)
    return [[re.split(r"(?<!\\)\|", line)[1:-1] for line in b.strip().split("\n")] for b in blocks]


@pytest.mark.parametrize("name", known_profiles())
def test_tables_are_complete(name):
    report = load_profile(name).estimate(WORK)
    blocks = tables(markdown(report))
    assert len(blocks) == 2 + 5
    for block in blocks:
        assert len({len(row) for row in block}) == 1
    cells = {row[0].strip(): row[1].strip() for row in blocks[0][2:]}
    assert cells == {k: f"{v:.6g}" for k, v in report.metrics().items()}
    assert [row[0].strip() for row in blocks[1][2:]] == ["a\\|b?`c`", "fc", "shared"]
    for warning in report.warnings:
        assert warning in markdown(report)


def test_shares_of_components_are_of_the_total():
    blocks = tables(markdown(load_profile("corrected").estimate(WORK)))
    for block in blocks[2:]:
        assert sum(float(row[2]) for row in block[2:]) == pytest.approx(100, abs=1)


def test_two_designs_by_their_largest_difference():
    chip = load_profile("corrected")
    a, b = chip.estimate(WORK), chip.with_values({"bits_per_cell": 2}).estimate(WORK)
    blocks = tables(compare(a, b))
    assert {row[0].strip() for row in blocks[0][2:]} == set(a.metrics())
    energy = next(block for block in blocks if "uJ" in block[0][1])
    gaps = [abs(float(row[1])) for row in energy[2:]]
    assert gaps == sorted(gaps, reverse=True)
    assert compare(a, a).count("##") == 0


def test_numbers_are_aligned_right_and_text_left():
    rows = [["a", "1.5e-3", "1 .. 2", "chain", ""], ["b", "-", "", "7", ""]]
    assert table(["name", "energy", "90 % interval", "edge", "note"], rows).splitlines()[1] == (
        "| --- | ---: | ---: | --- | --- |"
    )
    assert table(["name", "value"], []).splitlines()[1] == "| --- | --- |"
