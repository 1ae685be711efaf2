"""A result in a notebook: rows, data frame, table and figure."""

import sys

import pytest

from nas_service.errors import NasError
from nas_service.searches.front_figure import Group, front_figure
from nas_service.searches.results import read
from nas_service.store.store import Store
from tests.support.stored_studies import stored_study

NAMES = ("accuracy", "energy_uJ", "latency_ms", "area_mm2")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """Trials 0 and 1 make the front, 3 is below the reference, 2 was rejected."""
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('view')}/nas.db", create=True)
    objectives = [
        {"metric": "accuracy", "direction": "maximize", "reference": 0.5},
        {"metric": "spike_rate", "direction": "minimize", "reference": 1.0},
    ]
    search = stored_study(store, "seen", [0.7, 0.9, None, 0.3], objectives=objectives)
    yield read(search)
    store.close()


def group(count, names=NAMES):
    return Group(range(count), [dict.fromkeys(names, 0.1 + n) for n in range(count)])


def test_rows_and_frame_have_every_candidate(result):
    frame = result.frame()
    assert [row["trial"] for row in result.rows()] == list(frame.index) == [0, 1, 2, 3]
    assert frame.loc[1, "accuracy"] == 0.9
    assert frame["accuracy"].isna().tolist() == [False, False, True, False]
    assert frame["below_reference"].tolist() == [False, False, False, True]


def test_a_frame_without_pandas_names_the_extra(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(NasError, match=r"pip install 'nas-service\[notebook\]'"):
        result.frame()


def test_the_table_shows_the_front_and_counts_the_rest(result):
    html = result._repr_html_()
    assert html.count("<tr>") == 1 + len(result.front) == 3
    assert "1 feasible below reference" in html
    assert repr(result) == (
        f"<Result of study 'seen': front of 2, hypervolume {result.hypervolume:.3f}, "
        "1 feasible below reference>"
    )


def test_the_figure_tells_the_front_from_the_rest(result):
    traces = {trace.name: trace for trace in result.plot().data}
    assert sorted(traces) == [
        "below reference (1)", "feasible (0)", "front (2)", "over budget (0)",
    ]  # fmt: skip
    assert sorted(traces["front (2)"].y) == [70.0, 90.0]  # percent
    assert "trial 3" in traces["below reference (1)"].text[0]


@pytest.mark.parametrize(
    ("objectives", "kind"), [(1, "scatter"), (2, "scatter"), (3, "scatter3d"), (4, "parcoords")]
)
@pytest.mark.parametrize("sizes", [(0, 0, 0, 0), (1, 0, 0, 0), (3, 2, 1, 4)])
def test_any_number_of_objectives_and_candidates_has_a_figure(objectives, kind, sizes):
    names = NAMES[:objectives]
    figure = front_figure("<i>any</i>", names, [group(n) for n in sizes], [("energy_uJ", 9.0)])
    assert {trace.type for trace in figure.data} == {kind}


def test_what_is_over_budget_sets_no_axis():
    far = Group([9], [{"accuracy": 0.5, "energy_uJ": 1e6}])
    none = Group([], [])
    figure = front_figure("far", NAMES[:2], [group(3), none, none, far], [("energy_uJ", 5.0)])
    assert figure.layout.xaxis.range[1] < 5
    assert [shape.x0 for shape in figure.layout.shapes] == [5.0]
