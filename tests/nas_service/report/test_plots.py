"""What plots show: ranges of axes, marks at the border, labels, bars, staircases."""

import re

import pytest

from nas_service.report.front_plots import axis_label
from nas_service.report.plots import Bars, Dimension, Limit, Point, Scatter
from nas_service.report.scale import Scale, axis_range, ticks
from nas_service.report.svg import draw
from nas_service.report.svg.cells import cell
from nas_service.report.svg.elements import WIDTH
from nas_service.spaces.cell import Cell

LETTER = 7  # widest pixels of a letter of a note


def scatter(*points: Point, budget: float = 0.9, joined: bool = True) -> Scatter:
    x = Dimension("energy (uJ)", 0.0, 1.0, (Limit(budget, f"budget {budget:g}", True),))
    return Scatter(x, Dimension("accuracy (%)", 80.0, 100.0), points, joined)


@pytest.mark.parametrize("budget", [0.05, 0.3, 0.5, 0.7, 1.0])
def test_the_label_of_a_budget_lies_inside_the_picture(budget):
    drawn = str(draw(scatter(Point(0.5, 90.0, "front"), budget=budget)))
    x, kind, text = re.search(
        r'<text x="([^"]+)" y="[^"]+" class="(note[^"]*)">([^<]*budget [^<]+)<', drawn
    ).groups()
    length = LETTER * len(text)
    left = float(x) - length if kind == "note end" else float(x)
    assert left >= 0
    assert left + length <= WIDTH


def test_a_budget_beyond_the_axis_is_named_at_its_label():
    drawn = draw(scatter(Point(0.5, 90.0, "front"), budget=1.5))
    assert 'energy (uJ)<tspan class="note">  budget 1.5 &gt;</tspan>' in drawn
    assert 'class="budget"' not in drawn


def test_a_far_candidate_sets_no_axis_and_is_an_arrow_at_the_border():
    """Energies 1, 2 and 3 of the front; one infeasible trial at 1,000 does not move the axis."""
    assert axis_range([1.0, 2.0, 3.0], [4.0]) == (0.76, 4.24)
    assert axis_range([1.0, 2.0, 3.0], [400.0]) == (0.84, 3.16)
    plot = scatter(Point(0.5, 90.0, "front"), Point(9.0, 20.0, "infeasible", trial=7))
    assert plot.outside == 1
    drawn = draw(plot)
    assert 'class="infeasible beyond"' in drawn
    assert "1 beyond the axes, at the border" in drawn
    assert 'href="#trial-7"' in drawn


@pytest.mark.parametrize(
    ("values", "ends"),
    [([], (0.0, 1.08)), ([5.0], (4.6, 5.4)), ([0.0], (0.0, 0.5)), ([-2.0, -1.0], (-2.08, -0.92))],
)
def test_every_axis_has_a_width(values, ends):
    low, high = axis_range(values)
    assert low < high
    if values != [5.0]:
        assert (low, high) == pytest.approx(ends)


def test_no_accuracy_above_100_percent_is_on_an_axis():
    assert axis_range([90.0, 99.0], most=100.0)[1] == pytest.approx(99.72)
    assert axis_range([90.0, 99.9], most=100.0)[1] == 100.0


def test_untrained_candidates_are_on_a_strip_that_is_there_only_for_them():
    trained = Point(0.5, 90.0, "front")
    assert 'class="rejected"' not in draw(scatter(trained))
    drawn = draw(scatter(trained, *(Point(0.2, None, "rejected") for _ in range(5))))
    assert drawn.count('class="rejected"') == 1
    assert "5 rejected before training" in drawn


def test_the_front_is_a_staircase_around_what_it_dominates():
    """Least energy and most accuracy: from a point to the right, then up."""
    plot = scatter(Point(0.2, 85.0, "front"), Point(0.6, 95.0, "front"))
    assert plot.steps == [(0.2, 85.0), (0.6, 85.0), (0.6, 95.0)]
    maximised = Scatter(Dimension("x", 0, 1, minimised=False), plot.y, plot.points, joined=True)
    assert maximised.steps == [(0.2, 85.0), (0.2, 95.0), (0.6, 95.0)]


def test_intervals_are_bars():
    drawn = draw(scatter(Point(0.5, 90.0, "front", interval=(88.0, 120.0))))
    assert drawn.count('class="interval"') == 3


def test_small_components_are_drawn_together():
    plot = Bars(
        "energy", "J", (("a", {"adc": 90e-9, "mux": 1e-9, "dac": 1e-9}), ("b", {"adc": 100e-9}))
    )
    assert plot.components == ["adc"]
    assert plot.parts(plot.rows[0][1]) == pytest.approx({"adc": 90e-9, "other": 2e-9})
    assert "92.0 nJ" in draw(plot)


def test_names_in_pictures_are_escaped():
    assert "<b>" not in draw(Bars("energy", "J", (("<b>", {"<i>": 1.0}),)))
    assert "<i>" not in draw(Bars("energy", "J", (("<b>", {"<i>": 1.0}),)))


def test_ticks_are_round():
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert ticks(0.47, 1.02) == [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert Scale(1, 4, 0, 100, whole=True).ticks == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        ("accuracy_on_chip", "accuracy on chip (%)"),
        ("energy_uJ", "energy (uJ)"),
        ("energy_delay_nJs", "energy delay (nJ s)"),
        ("throughput_per_s", "throughput (1/s)"),
        ("effective_acs", "effective acs"),
    ],
)
def test_the_label_of_an_axis_is_the_whole_name(metric, text):
    assert axis_label(metric) == text


def test_cell_shows_live_edges_only():
    drawn = cell(Cell(("conv3x3", "zeroize", "skip", "skip", "zeroize", "zeroize")))
    assert drawn.count("<path") == 1
    assert "conv3x3" not in drawn


def test_of_many_marks_at_one_place_one_is_drawn_and_all_of_the_front():
    """1,000 candidates at two places; the three of the front are at one of them."""
    crowd = [Point(0.2 if n % 2 else 0.7, 90.0, "feasible", trial=n) for n in range(1000)]
    front = [Point(0.2, 90.0, "front", trial=1000 + n) for n in range(3)]
    drawn = draw(scatter(*crowd, *front))
    assert drawn.count('class="feasible"') == 2
    assert drawn.count('class="front"') == 3
    assert "marks at one place are drawn once" in drawn
    assert draw(scatter(*crowd[:900])).count('class="feasible"') == 900
