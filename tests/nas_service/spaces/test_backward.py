"""Cells whose edges may lead backward: wiring by hand, SNASNet's text, canonical forms."""

import itertools
import random
from collections import defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_service.errors import SpecError
from nas_service.snn.network import Network, lif_layers
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import EDGE_NAMES, EDGES, IN, MIRROR, OUT, Cell, Reads
from nas_service.spaces.operations import OPERATIONS, PRESETS, states_of
from nas_service.spaces.task import Task

NAMES = PRESETS["snasnet5"]
STATES = states_of(NAMES, backward=True)
CELLS = st.tuples(*[st.sampled_from(STATES)] * 6).map(Cell)
ANY = st.tuples(*[st.sampled_from(states_of(tuple(OPERATIONS), backward=True))] * 6).map(Cell)
QUICK = settings(max_examples=40, deadline=None, derandomize=True)
TASK = Task(1, 8, 10)


def cell(**edges):
    """A cell of edges by name; `e31="skip"` leads from node 3 to node 1."""
    operations = ["zeroize"] * 6
    for name, operation in edges.items():
        i, j = map(int, name[1:])
        pair = EDGES.index((min(i, j), max(i, j)))
        assert operations[pair] == "zeroize", "a pair of nodes has one direction"
        operations[pair] = operation if i < j else f"back:{operation}"
    return Cell(tuple(operations))


LOOP = cell(e01="conv3x3", e13="conv1x1", e32="skip", e21="conv1x1")


def test_states_of_a_pair():
    assert states_of(("zeroize", "skip"), backward=False) == ("zeroize", "skip")
    assert states_of(("zeroize", "skip"), backward=True) == ("zeroize", "skip", "back:skip")
    assert len(STATES) == 9


def test_a_loop_by_hand():
    """3 sends to 2, 2 to 1: what edge 13 gave at t - 1 is read by edge 21 (late), then by 13."""
    assert [e.name for e in LOOP.edges] == ["01", "21", "13", "32"]
    assert [e.backward for e in LOOP.edges] == [False, True, False, True]
    assert LOOP.recurrent
    assert LOOP.connected
    assert LOOP.live() == LOOP
    wiring = LOOP.wiring()
    assert wiring == {
        "21": Reads(late=("13",)),
        "01": Reads(now=(IN,)),
        "13": Reads(now=("01", "21")),
        OUT: Reads(now=("13",)),
    }
    assert list(wiring) == ["21", "01", "13", OUT]
    assert LOOP.additions == 1  # 01 and 21 meet in node 1


def test_a_node_reads_late_and_current_values():
    """Edge 01 and the input reach node 3 at once, and from there node 2 and 1 a step late."""
    wiring = cell(e01="conv3x3", e13="skip", e02="skip", e32="skip", e21="conv1x1").wiring()
    assert wiring["21"] == Reads(late=("01", "21", IN))
    direct = cell(e01="conv3x3", e13="skip", e32="skip", e02="skip", e21="skip").wiring()
    assert direct[OUT] == Reads(now=("01",), late=("01", IN))


def test_a_backward_edge_into_the_input_adds_to_it():
    back = cell(e01="conv3x3", e13="avgpool3x3", e30="skip")
    assert back.additions == 8 + 1
    assert back.wiring() == {"01": Reads((IN,), ("01",)), OUT: Reads(("01",))}


@pytest.mark.parametrize(
    ("c", "live"),
    [
        (cell(e30="conv3x3"), cell()),
        (cell(e03="skip", e21="conv3x3"), cell(e03="skip")),
        (cell(e03="skip", e31="conv3x3"), cell(e03="skip")),
        (LOOP, LOOP),
        (cell(e01="skip", e13="skip", e30="conv3x3"), cell(e01="skip", e13="skip", e30="conv3x3")),
        (cell(e02="skip", e21="skip", e13="skip"), cell(e02="skip", e21="skip", e13="skip")),
        (cell(e02="skip", e21="skip", e31="skip"), cell()),
    ],
)
def test_live_edges_by_hand(c, live):
    assert c.live() == live
    assert c.connected == any(e.target == 3 for e in live.edges)


def paths(c):
    """Every walk without repeated nodes from 0 to 3, as names of edges."""
    paths, open_ways = [], [((), 0)]
    while open_ways:
        way, at = open_ways.pop()
        if at == 3:
            paths.append(way)
        for e in c.edges:
            used = {0, *(w.target for w in way)}
            if at != 3 and e.source == at and e.target not in used:
                open_ways.append(((*way, e), e.target))
    return paths


@QUICK
@given(ANY)
def test_live_edges_are_those_on_walks(c):
    """An edge is live exactly if the input reaches its source and its target the output."""
    ways = {(e.source, e.target) for e in c.edges}
    closed = {n: {n} for n in range(4)}
    for _ in range(4):
        for a, b in ways:
            closed = {n: r | ({b} if a in r else set()) for n, r in closed.items()}
    expected = {e.name for e in c.edges if e.source in closed[0] and 3 in closed[e.target]}
    assert {e.name for e in c.live().edges} == expected
    assert c.connected == bool(paths(c)) == bool(expected)
    assert c.recurrent == any(e.name in expected for e in c.edges if e.backward)


@QUICK
@given(ANY)
def test_an_edge_runs_after_what_it_reads_now(c):
    live = c.live()
    wiring = live.wiring()
    run = list(wiring)
    for name, read in wiring.items():
        assert all(run.index(n) < run.index(name) for n in read.now if n != IN)
    assert set(run) == {e.name for e in live.edges if e.operation.weighted} | {OUT}
    backward = {e.name for e in live.edges if e.backward}
    assert all(not wiring[name].now for name in run if name in backward)
    if not live.recurrent:
        assert not any(read.late for read in wiring.values())


# --- SNASNet's text ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "c"),
    [
        (  # the published backward cell
            "0303 0030 2002 0200",
            cell(e01="conv3x3", e03="conv3x3", e12="conv3x3", e20="conv1x1", e23="conv1x1",
                 e31="conv1x1"),
        ),
        (  # the published forward cell
            "0302 0030 3003 0000",
            cell(e01="conv3x3", e03="conv1x1", e12="conv3x3", e20="conv3x3", e23="conv3x3"),
        ),
        ("0000 0000 0000 0000", cell()),
        ("0001 4000 0400 0020", cell(e03="skip", e10="avgpool3x3", e21="avgpool3x3",
                                     e32="conv1x1")),
    ],
)  # fmt: skip
def test_published_cells(text, c):
    assert Cell.from_text(text, NAMES) == c
    assert c.text(NAMES) == text


@QUICK
@given(CELLS)
def test_text_round_trip(c):
    assert Cell.from_text(c.text(NAMES), NAMES) == c
    a = Architecture((c,), 4, 2, 16, 2, 8)
    assert Architecture.from_json(a.to_json() | {"cells": [c.text(NAMES)]}) == a


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0300 1000 0000 0000", "one direction, not both"),
        ("0500 0000 0000 0000", "digit 5, 0..4 are possible"),
        ("0000 0000 0000 9000", "digit 9, 0..4"),
        ("0300 0000 0000", "four rows of four digits"),
        ("0300 0000 0000 00000", "four rows of four digits"),
        ("030 0000 0000 0000", "four rows of four digits"),
        ("0a00 0000 0000 0000", "four rows of four digits"),
        ("0\u00b200 0000 0000 0000", "four rows of four digits"),
        ("0\u066300 0000 0000 0000", "four rows of four digits"),
        ("", "four rows of four digits"),
        ("0" * 10_000, "four rows of four digits"),
        ("3000 0000 0000 0000", "the diagonal is 0"),
        ("0000 0000 0000 0001", "the diagonal is 0"),
    ],
)
def test_wrong_texts_are_named(text, message):
    with pytest.raises(SpecError, match=message) as caught:
        Cell.from_text(text, NAMES)
    assert len(str(caught.value)) < 200


def test_operations_without_a_digit_have_no_text():
    with pytest.raises(SpecError, match="'conv5x5' has no digit among zeroize, skip"):
        cell(e03="conv5x5").text(NAMES)
    many = tuple(OPERATIONS)
    assert len(many) > 10
    assert cell(e03=many[9]).text(many) == "0009 0000 0000 0000"
    with pytest.raises(SpecError, match=f"'{many[10]}' has no digit"):
        cell(e03=many[10]).text(many)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("back:zeroize", "has no direction"),
        ("back:scip", "did you mean 'skip'"),
        ("back:back:skip", "unknown operation"),
        ("skip:back", "unknown operation"),
    ],
)
def test_wrong_states_are_named(state, message):
    with pytest.raises(SpecError, match=message):
        Cell((state, *["skip"] * 5))


# --- the canonical form ----------------------------------------------------------------------


def mirrored(c):
    """The cell with nodes 1 and 2 exchanged, which needs an empty edge between them."""
    edges = {f"e{e.name.translate(MIRROR)}": c.operations[e.pair] for e in c.edges}
    return cell(**{name: state.removeprefix("back:") for name, state in edges.items()})


def test_canonical_forms_by_hand():
    assert LOOP.canonical() == "01:conv3x3 13:conv1x1 21:back:conv1x1 32:back:skip"
    c = cell(e02="conv3x3", e23="skip", e30="avgpool3x3")
    assert c.canonical() == "01:conv3x3 13:skip 30:back:avgpool3x3"
    assert mirrored(c).canonical() == c.canonical()
    dead = cell(e02="conv3x3", e23="skip", e30="avgpool3x3", e01="conv5x5")
    assert dead.canonical() == c.canonical()


@QUICK
@given(CELLS)
def test_dead_edges_and_names_of_nodes_do_not_count(c):
    assert c.live().canonical() == c.canonical()
    apart = Cell((*c.operations[:3], "zeroize", *c.operations[4:]))
    assert mirrored(mirrored(apart)) == apart
    assert mirrored(apart).canonical() == apart.canonical()


def outputs(c, weights, images):
    """What the cell gives [T*B, C, H, W] if edges hold the weights of their canonical names, and
    the rates of all neurons in it and after it.
    """
    torch.manual_seed(0)
    network = Network(Architecture((c,), 4, 2, 16, 5, 8), TASK)
    mirror = c.canonical() != " ".join(
        sorted(f"{e.name}:{c.operations[e.pair]}" for e in c.live().edges)
    )
    for edge in network.cells[0].ordered_edges:
        name = edge.name.translate(MIRROR) if mirror else edge.name
        module = network.cells[0].edges[f"edge{edge.name}"]
        for key, value in module.state_dict().items():
            if value.is_floating_point() and "running" not in key and value.numel():
                chosen = torch.Generator().manual_seed(weights + 31 * int(name) + 7 * len(key))
                value.copy_(torch.rand(value.shape, generator=chosen) - 0.3)
    network.train()  # batch norms by what they see: neurons fire without a training
    fired = []
    for lif in lif_layers(network):
        lif.register_forward_hook(lambda _, __, y: fired.append(float(y.detach().mean())))
    outputs_seen = []
    network.cells[0].register_forward_hook(lambda _, __, y: outputs_seen.append(y))
    with torch.no_grad():
        network(images)
    return outputs_seen[0], fired[:-1]


def families():
    """Recurrent cells of random genotypes that share their canonical form, two each."""
    throw, alike = random.Random(3), defaultdict(set)
    for _ in range(6000):
        c = Cell(tuple(throw.choice(STATES) for _ in EDGE_NAMES))
        if c.recurrent and c.canonical() != "":
            alike[c.canonical()].add(c)
    several = (sorted(x, key=lambda c: c.operations) for x in alike.values() if len(x) > 1)
    return [x[:2] for x in several]


def test_equal_canonical_forms_compute_the_same():
    """With the weights of corresponding edges alike; mirrored nodes among them."""
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    pairs = families()
    mirrored_pairs = [(a, b) for a, b in pairs if a.live() != b.live()]
    assert len(mirrored_pairs) >= 5
    chosen = [*mirrored_pairs[:12], *pairs[:12]]
    alive = 0
    for a, b in chosen:
        (ours, fired), (expected, _) = outputs(a, 1, images), outputs(b, 1, images)
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)
        alive += 0.01 < sum(fired) / len(fired) < 0.9
    assert alive == len(chosen)


def test_unequal_cells_compute_other_things():
    """Cells that differ in one live edge, in its operation or direction, from the same weights."""
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    base = cell(e01="conv3x3", e13="conv1x1", e03="skip", e32="skip", e21="conv1x1")
    others = [
        cell(e01="conv3x3", e13="conv1x1", e03="skip", e32="avgpool3x3", e21="conv1x1"),
        cell(e01="conv3x3", e13="conv1x1", e03="skip"),
        cell(e01="conv3x3", e13="conv1x1", e03="skip", e20="skip", e12="skip"),
        cell(e01="conv3x3", e13="conv1x1", e30="skip"),
        cell(e01="conv3x3", e13="conv1x1", e03="avgpool3x3", e32="skip", e21="conv1x1"),
        cell(e01="conv3x3", e13="conv1x1", e03="skip", e32="skip", e21="skip"),
    ]
    cells = [base, *others]
    assert len({c.canonical() for c in cells}) == len(cells)
    results = [outputs(c, 1, images)[0] for c in cells]
    for a, b in itertools.combinations(results, 2):
        assert (a - b).abs().max() > 0.01


def test_one_time_step_is_too_few_for_a_live_backward_edge():
    with pytest.raises(SpecError, match="time_steps = 1: a backward edge needs 2"):
        Architecture((LOOP,), 4, 2, 16, 1, 8)
    dead = cell(e03="conv3x3", e20="conv1x1")
    assert Architecture((dead,), 4, 2, 16, 1, 8).connected
