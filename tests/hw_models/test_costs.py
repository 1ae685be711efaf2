"""Costs of small workloads: sums done by hand, and what may only grow when a network grows."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_models import Layer, Workload, load_profile

CHIP = load_profile("spikesim_rram")
QUICK = settings(max_examples=40, deadline=None, derandomize=True)
COSTS = ("parameters", "memory_KiB", "area_mm2", "latency_ms", "energy_uJ", "crossbars")

LAYERS = st.builds(
    lambda i, o, kernel, side, bits: Layer(
        "a", "conv", i, o, kernel=kernel, in_size=side, out_size=side, weight_bits=bits
    ),
    st.integers(1, 200),
    st.integers(1, 200),
    st.sampled_from([1, 3, 5]),
    st.integers(1, 16),
    st.integers(2, 8),
)


def workload(*layers, time_steps=1):
    named = (replace(x, name=f"layer{i}", sources=()) for i, x in enumerate(layers))
    return Workload(tuple(named), time_steps)


def costs(*layers, time_steps=1):
    return CHIP.estimate(workload(*layers, time_steps=time_steps)).metrics()


def test_one_weight_by_hand():
    """One read of one PE: 8 groups, 64 conversions; one tile of eight PEs; one output, 104 ns."""
    report = CHIP.estimate(workload(Layer("one", "conv", 1, 1, in_size=1, out_size=1)))
    assert report.energy_J.by_component() == pytest.approx(
        {
            "crossbar": 8 * 1.76423e-12,
            "adc": 64 * 2.03084e-12,
            "mux": 64 * 0.094245e-12,
            "subtractor": 8 * 16 * 1.15e-18,
            "temp_buffer": 8 * 0.2e-12,
            "tile_buffer": 397e-12,
            "h_tree": 157.12e-12,
            "fetch": 4.64e-12,
            "neuron": 5.096e-12,
        },
        rel=1e-12,
    )
    assert report.energy_J.total == pytest.approx(715.5754272e-12, rel=1e-12)
    assert report.area_m2.total == pytest.approx(595063.018639e-12, rel=1e-12)
    assert report.latency_s.total == pytest.approx(104e-9, rel=1e-12)
    assert (report.memory_B.total, report.crossbars, report.tiles) == (1, 1, 1)


@pytest.mark.parametrize(
    ("c_in", "c_out", "kernel", "pes", "crossbars", "utilisation"),
    [
        (64, 64, 3, 1, 9, 1.0),
        (65, 64, 3, 2, 18, 65 / 128),
        (128, 256, 1, 8, 8, 1.0),
        (1, 32, 5, 1, 25, 32 / 4096),
        (65, 65, 1, 4, 4, 65 * 65 / (4 * 64 * 64)),
    ],
)
def test_crossbars_by_hand(c_in, c_out, kernel, pes, crossbars, utilisation):
    layer = Layer("a", "conv", c_in, c_out, kernel=kernel, in_size=1, out_size=1)
    mapping = CHIP.estimate(Workload((layer,), 1)).mapping
    assert (mapping.pes, mapping.crossbars) == ((pes,), (crossbars,))
    assert mapping.utilisation == pytest.approx((utilisation,), rel=1e-12)


def test_memory_by_hand():
    """9 weights of 4 bits and 10 x 5 of 8 bits: 4.5 + 50 bytes; given biases count."""
    a = Layer("a", "conv", 1, 1, kernel=3, in_size=4, out_size=4, weight_bits=4)
    b = Layer("b", "linear", 10, 5)
    assert CHIP.estimate(workload(a, b)).memory_B.by_row() == (4.5, 50.0, 0.0)
    assert CHIP.estimate(workload(a, replace(b, parameters=55))).parameters == 9 + 55


def test_latency_by_hand():
    """Three of four outputs of the first layer, then all ten of the last: 13 reads of 104 ns."""
    a = Layer("a", "conv", 1, 1, in_size=2, out_size=2)
    b = Layer("b", "linear", 4, 10)
    report = CHIP.estimate(workload(a, b, time_steps=3))
    assert report.latency_s.by_row() == pytest.approx((9 * 104e-9, 30 * 104e-9, 0), rel=1e-12)


def test_area_keeps_membranes_of_five_layers_only():
    layers = [Layer("a", "conv", 1, 1, in_size=2, out_size=2)] * 7
    membranes = CHIP.estimate(workload(*layers)).area_m2
    column = membranes.values[:, membranes.components.index("neuron_memory")]
    assert column == pytest.approx([4 * 22 * 0.7391e-12] * 5 + [0, 0, 0], rel=1e-12)


def test_pooling_divides_reads():
    """A map of 8x8 after a pooling by 2 is read 16 times instead of 64."""
    a = Layer("a", "conv", 4, 4, kernel=3, in_size=8, out_size=8)
    unpooled, pooled = costs(a), costs(replace(a, pool=2))
    assert unpooled["energy_uJ"] == pytest.approx(4 * pooled["energy_uJ"], rel=1e-12)
    assert unpooled["latency_ms"] == pytest.approx(4 * pooled["latency_ms"], rel=1e-12)


@QUICK
@given(st.lists(LAYERS, min_size=1, max_size=4), st.integers(1, 8), st.integers(2, 5))
def test_time_multiplies_energy_and_latency_only(layers, steps, factor):
    short = costs(*layers, time_steps=steps)
    long = costs(*layers, time_steps=steps * factor)
    for name in ("energy_uJ", "latency_ms"):
        assert long[name] == pytest.approx(factor * short[name], rel=1e-12)
    for name in ("parameters", "memory_KiB", "area_mm2", "crossbars"):
        assert long[name] == short[name]


@QUICK
@given(
    LAYERS,
    LAYERS,
    st.sampled_from(["in_channels", "out_channels", "kernel", "weight_bits"]),
    st.integers(1, 130),
)
def test_a_larger_layer_never_costs_less(first, second, name, more):
    if name == "kernel":
        larger = replace(second, kernel=second.kernel + 2)
    elif name == "weight_bits":
        larger = replace(second, weight_bits=second.weight_bits + 1)
    else:
        larger = replace(second, **{name: getattr(second, name) + more})
    small, large = costs(first, second), costs(first, larger)
    assert {n: (small[n], large[n]) for n in COSTS if large[n] < small[n]} == {}
    grown = "memory_KiB" if name == "weight_bits" else "parameters"
    assert large[grown] > small[grown]


@QUICK
@given(st.lists(LAYERS, min_size=1, max_size=5))
def test_rows_and_components_add_up(layers):
    report = CHIP.estimate(workload(*layers, time_steps=2))
    for name in ("memory_B", "area_m2", "latency_s", "energy_J"):
        table = getattr(report, name)
        assert sum(table.by_row()) == pytest.approx(table.total, rel=1e-12)
        assert sum(table.by_component().values()) == pytest.approx(table.total, rel=1e-12)
        assert table.total > 0
    assert report.rows == (*(f"layer{i}" for i in range(len(layers))), "shared")


def test_spike_rates_change_nothing_in_the_script_s_chip():
    """As in the original, which counts no activity."""
    w = workload(Layer("a", "conv", 3, 5, kernel=3, in_size=4, out_size=4))
    silent, busy = CHIP.estimate(w.at_rate(0.0)), CHIP.estimate(w.at_rate(1.0))
    assert silent.operations["effective_acs"] < busy.operations["effective_acs"]
    assert silent == replace(busy, operations=silent.operations)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(64, 128), (64, 64)], "PEs per layer decrease"),
        ([(64, 64), (32, 32)], "matrix sizes decrease"),
        ([(64, 64)] * 13, "13 layers"),
        ([(8, 8)], "no layer fills a crossbar"),
    ],
)
def test_a_warning_where_the_original_has_no_figure(shapes, message):
    layers = [Layer("a", "conv", i, o, kernel=3, in_size=1, out_size=1) for i, o in shapes]
    assert any(message in warning for warning in CHIP.estimate(workload(*layers)).warnings)
    assert CHIP.estimate(workload(Layer("a", "conv", 64, 64, in_size=1, out_size=1))).warnings == ()


def test_mixed_kernels_raise_a_warning():
    layers = [Layer("a", "conv", 64, 64, kernel=k, in_size=1, out_size=1) for k in (3, 1)]
    assert "kernels differ" in " ".join(CHIP.estimate(workload(*layers)).warnings)
