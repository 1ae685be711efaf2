"""Feedback loops: which layers are in one, and how long they take."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_models import Layer, LayerTable, Workload, WorkloadError, load_profile
from hw_models.workload import loops_of

EDGES = st.integers(1, 8).flatmap(
    lambda n: st.tuples(
        st.just(n),
        st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=12),
        st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=5),
    )
)


@pytest.mark.parametrize(
    ("size", "ways", "late", "groups"),
    [
        (3, [(0, 1), (1, 2)], [], []),
        (3, [(0, 1), (1, 2)], [(0, 1)], [{0, 1}]),
        (3, [(0, 1), (1, 2)], [(1, 1)], [{1}]),
        (3, [(0, 1), (1, 2)], [(2, 0)], []),
        (4, [(0, 1), (1, 2), (2, 3)], [(0, 3), (1, 2)], [{0, 1, 2, 3}]),
        (4, [(0, 1), (1, 2), (2, 3)], [(1, 2), (0, 3)], [{0, 1, 2, 3}]),
        (5, [(0, 1), (1, 2), (2, 3), (3, 4)], [(0, 2), (2, 4)], [{0, 1, 2, 3, 4}]),
        (5, [(0, 1), (1, 2), (2, 3), (3, 4)], [(0, 1), (3, 4)], [{0, 1}, {3, 4}]),
        (2, [], [(0, 1), (1, 0)], [{0, 1}]),
    ],
)
def test_loops_by_hand(size, ways, late, groups):
    """`late` pairs a reader with what it reads: none, simple, itself, ahead, nested, touching."""
    loops = loops_of(size, ways, late)
    assert grouped(loops) == sorted(map(sorted, groups))


def grouped(numbers):
    return sorted([i for i, n in enumerate(numbers) if n == k] for k in set(numbers) - {0})


@settings(max_examples=60, deadline=None, derandomize=True)
@given(EDGES)
def test_loops_are_the_strongly_connected_parts(graph):
    size, pairs, late = graph
    ways = [(min(p), max(p)) for p in pairs if p[0] != p[1]]
    every = [*ways, *((source, reader) for reader, source in late)]
    reach = [[(i, j) in every for j in range(size)] for i in range(size)]
    for k in range(size):
        for i in range(size):
            for j in range(size):
                reach[i][j] |= reach[i][k] and reach[k][j]
    parts = {
        tuple(j for j in range(size) if reach[i][j] and reach[j][i])
        for i in range(size)
        if reach[i][i]
    }
    assert grouped(loops_of(size, ways, late)) == sorted(map(list, parts))


def looped(**top):
    """16 pixels each: a stem, a and b of which a reads b a step late, and a classifier."""
    conv = {"kind": "conv", "in_channels": 4, "out_channels": 4, "in_size": 4, "out_size": 4}
    return {
        "time_steps": 3,
        "layers": [
            conv | {"name": "stem", "in_channels": 1, "sources": []},
            conv | {"name": "a", "sources": ["stem"], "feedback": ["b"]},
            conv | {"name": "b", "sources": ["a"]},
            {"kind": "linear", "name": "out", "in_channels": 64, "out_channels": 2},
        ],
    } | top


def test_a_loop_comes_back_from_json():
    workload = Workload.from_json(looped())
    assert workload.loops[0] == workload.loops[3] == 0
    assert workload.loops[1] == workload.loops[2] > 0
    assert Workload.from_json(json.loads(json.dumps(workload.to_json()))) == workload
    assert workload.at_rate(0.5).loops == workload.loops


def test_only_named_layers_feed_back():
    data = looped()
    data["layers"][1]["feedback"] = ["c"]
    with pytest.raises(WorkloadError, match=r"'a': feedback = .*not 'c'"):
        Workload.from_json(data)
    data["layers"][1]["feedback"] = [3]
    with pytest.raises(WorkloadError, match=r"feedback = .*a list of layer names"):
        Workload.from_json(data)


def test_feedback_must_fit_in_channels_and_size():
    data = looped()
    data["layers"][2]["out_channels"] = 5
    data["layers"][3]["in_channels"] = 80
    with pytest.raises(WorkloadError, match="'a': in_channels = 4, 5"):
        Workload.from_json(data)


def spans(workload, order):
    chip = load_profile("corrected").with_values({"order": order})
    report = chip.estimate(workload)
    batch = chip.estimate_batch(LayerTable.stack([workload, workload])).metrics()
    one = report.metrics()["latency_ms"]
    assert batch["latency_ms"].tolist() == pytest.approx([one, one], rel=1e-12)
    single = Workload((Layer("a", "conv", 4, 4, in_size=4, out_size=4),), 3)
    return 48 * one / chip.estimate(single).metrics()["latency_ms"]  # in reads of its 3 x 16


@pytest.mark.parametrize("order", ["layer_first", "time_first"])
def test_a_loop_of_two_layers_takes_their_sum_each_step(order):
    """16 reads each, T = 3: a and b take 3 (16 + 16) = 96 after their inputs."""
    a, b = (
        Layer(name, "conv", 4, 4, in_size=4, out_size=4, sources=sources, feedback=feedback)
        for name, sources, feedback in (("a", (), ("b",)), ("b", ("a",), ()))
    )
    assert spans(Workload((a, b), 3), order) == pytest.approx(96)


def test_layers_without_feedback_overlap():
    data = looped()
    before = {o: spans(Workload.from_json(data), o) for o in ("layer_first", "time_first")}
    del data["layers"][1]["feedback"]
    for order, cycles in before.items():
        assert spans(Workload.from_json(data), order) < cycles
