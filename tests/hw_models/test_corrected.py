"""The corrected chip: counts done by hand, and what must hold for every network on every chip."""

import math
from dataclasses import replace
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_models import Layer, LayerTable, Workload, load_profile
from hw_models.area import tile_m2
from hw_models.layer import pair
from hw_models.report import QUANTITIES

CHIP = load_profile("corrected")
QUICK = settings(max_examples=40, deadline=None, derandomize=True)
GROWING = ("parameters", "memory_KiB", "area_mm2", "latency_ms", "energy_uJ", "energy_dense_uJ")

VARIANTS = {
    "corrected": {},
    "im2col": {"mapping": "im2col"},
    "offset": {"sign": "offset", "bits_per_cell": 2},
    "dac": {"input_coding": "dac", "adc": "flash"},
    "layer first": {"order": "layer_first", "leakage": 0.1},
    "shared tiles": {"tile_sharing": True, "tile_contention": "serialised"},
    "pe converters": {"adc_per_pe": True, "crossbar_size": 32, "columns_per_adc": 16},
}
CHIPS = {name: CHIP.with_values(changes) for name, changes in VARIANTS.items()}
CHIPS |= {name: load_profile(name) for name in ("spikesim_rram", "spikesim_sram")}
CHIPS |= {f"only {k}": CHIP.with_values({k: True}) for k in CHIP.switches}


def conv(name, c_in, c_out, size, *, kernel=3, sources=None, **more):
    shape = {"kernel": kernel, "in_size": size, "out_size": size, "sources": sources}
    return Layer(name, "conv", c_in, c_out, **shape, **more)


def one(layer, chip=CHIP, steps=1):
    return chip.estimate(Workload((layer,), steps))


# --- mapping ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "changes", "crossbars", "used_cells"),
    [
        # 8-bit weights on 1-bit cells: 7 magnitude bits in pairs, 14 columns an output
        (conv("a", 64, 4, 1), {}, 9, 9 * 64 * 4 * 14),
        (conv("a", 64, 5, 1), {}, 18, 9 * 64 * 5 * 14),  # 70 columns: two arrays a position
        (conv("a", 65, 4, 1), {}, 18, 9 * 65 * 4 * 14),
        (conv("a", 64, 4, 1), {"bits_per_cell": 2}, 9, 9 * 64 * 4 * 8),
        (conv("a", 64, 4, 1), {"bits_per_cell": 7}, 9, 9 * 64 * 4 * 2),
        (conv("a", 64, 4, 1), {"sign": "offset"}, 9, 9 * 64 * (4 * 8 + 1)),
        (conv("a", 7, 4, 1), {"mapping": "im2col"}, 1, 63 * 4 * 14),
        (conv("a", 8, 4, 1), {"mapping": "im2col"}, 2, 72 * 4 * 14),
        (conv("a", 64, 4, 1, weight_bits=4), {}, 9, 9 * 64 * 4 * 6),
        (conv("a", 64, 4, 1), {"one_cell_per_weight": True}, 9, 9 * 64 * 4),
        (Layer("a", "linear", 640, 4), {}, 10, 640 * 4 * 14),
        # depthwise: groups lie along the diagonal, four of 14 columns fit into 64
        (conv("a", 8, 8, 1, groups=8), {}, 9 * 2, 9 * 8 * 14),
        (conv("a", 8, 8, 1, groups=8), {"mapping": "im2col"}, 2, 9 * 8 * 14),
        (conv("a", 8, 8, 1, groups=2), {}, 9 * 2, 9 * 4 * 8 * 14),
        (conv("a", 256, 8, 1, groups=2), {}, 9 * 2 * 2, 9 * 128 * 8 * 14),
    ],
)
def test_crossbars_and_cells_by_hand(layer, changes, crossbars, used_cells):
    mapping = one(layer, CHIP.with_values(changes)).mapping
    assert mapping.crossbars == (crossbars,)
    assert mapping.utilisation[0] == pytest.approx(used_cells / (crossbars * 64**2), rel=1e-12)


@pytest.mark.parametrize(
    ("layer", "changes", "bits"),
    [
        (Layer("a", "linear", 1, 4), {}, 1),
        (Layer("a", "linear", 3, 4), {}, 2),
        (Layer("a", "linear", 4, 4), {}, 3),
        (Layer("a", "linear", 64, 4), {}, 7),  # 0 .. 64
        (Layer("a", "linear", 63, 4), {}, 6),
        (Layer("a", "linear", 65, 4), {}, 6),  # two arrays of 33 rows at most
        (Layer("a", "linear", 64, 4), {"bits_per_cell": 2}, 8),  # 0 .. 192
        (conv("a", 64, 4, 4), {}, 7),
        (conv("a", 64, 4, 4), {"adc_per_pe": True}, 10),  # 576 rows into one sum
        (Layer("a", "linear", 1, 4, input_bits=8), {}, 1),  # bit by bit
        (Layer("a", "linear", 1, 4, input_bits=8), {"input_coding": "dac"}, 8),
    ],
)
def test_lossless_converter_bits_by_hand(layer, changes, bits):
    assert one(layer, CHIP.with_values(changes)).mapping.lossless_adc_bits == (bits,)


# --- energy -----------------------------------------------------------------------------------


def test_one_layer_by_hand():
    """2 inputs, 3 outputs, 8 bits, T = 2, one input in four spikes.

    14 columns an output: 42 columns, 84 cells; read twice. Half of all sums see a spike:
    1 - 0.75^2 = 7/16.
    """
    layer = Layer("a", "linear", 2, 3, spike_rate=0.25)
    energies = one(layer, steps=2).energy_J.by_component()
    price = {key: entry.value * 1e-12 for key, entry in CHIP.entries.items()}
    adc = 4 * price["sar_bit_energy"] + 4**4 * price["sar_level_energy"]
    wire = CHIP.entries["wire_bit_energy"].value * 1e-9 * math.sqrt(tile_m2(CHIP.chip))
    busy = 1 - 0.75**2
    by_hand = {
        "crossbar": 2 * 84 * 0.25 * price["cell_read_energy"],
        "adc": 2 * 42 * busy * adc,
        "mux": 2 * 42 * busy * price["mux_energy"],
        "subtractor": 2 * 42 * busy * 2 * price["adder_bit_energy"],  # half the columns, 4 bits
        "adder": 2 * 3 * 6 * 10 * busy * price["adder_bit_energy"],  # 7 slices, 4 + 6 bits wide
        "tile_buffer": (2 * 2 + 2 * 3) * price["sram_bit_energy"],
        "h_tree": 2 * 2 * wire,
        "sum_wires": 2 * 3 * 10 * busy * wire,
        "network": 2 * 3 * wire,
        "neuron_memory": 2 * 3 * 44 * price["sram_bit_energy"],
        "neuron": 2 * 3 * price["neuron_update_energy"],
        "elementwise": 0,
    }
    assert energies == pytest.approx(by_hand, rel=1e-12)


def test_a_spike_in_a_half_empty_crossbar_costs_half():
    full, half = (one(Layer("a", "linear", 64, n, weight_bits=2)) for n in (32, 16))
    for name in ("crossbar", "adc"):
        full_energy, part = (x.energy_J.by_component()[name] for x in (full, half))
        assert part == pytest.approx(full_energy / 2, rel=1e-12)


def test_rates_of_time_steps_are_averaged_where_they_act():
    """All spikes in one of two steps: as many cells, half the conversions of dense."""
    steps = one(Layer("a", "linear", 64, 4, spike_rate=(1.0, 0.0)), steps=2)
    mean = one(Layer("a", "linear", 64, 4, spike_rate=0.5), steps=2)
    parts, spread = steps.energy_J.by_component(), mean.energy_J.by_component()
    assert parts["crossbar"] == spread["crossbar"]
    assert parts["adc"] == pytest.approx(steps.dense_energy_J.by_component()["adc"] / 2, rel=1e-12)
    assert spread["adc"] == pytest.approx(2 * parts["adc"], rel=1e-9)


def test_a_directly_coded_image_comes_bit_by_bit_and_once():
    """Eight reads a pixel, whatever T; through converters one."""
    pixels = conv("a", 3, 8, 4, input_bits=8, once=True)
    spikes = conv("a", 3, 8, 4)
    for steps in (1, 5):
        serial, binary = (one(x, steps=steps).energy_J.by_component() for x in (pixels, spikes))
        assert serial["crossbar"] == pytest.approx(8 / steps * binary["crossbar"], rel=1e-12)
    dac = CHIP.with_values({"input_coding": "dac"})
    parts = one(pixels, dac, 5).energy_J.by_component()
    assert parts["crossbar"] == pytest.approx(one(spikes).energy_J.by_component()["crossbar"])
    assert parts["dac"] == pytest.approx(16 * 27 * 8 * dac.chip.figures.dac_bit_energy_J, rel=1e-12)


def test_conversions_do_not_depend_on_the_multiplexer():
    """D2: a column is converted once a read, by few converters or by many."""
    layer = conv("a", 64, 64, 4)
    few, many = (one(layer, CHIP.with_values({"columns_per_adc": m})) for m in (64, 1))
    assert few.energy_J.by_component()["adc"] == many.energy_J.by_component()["adc"]
    assert few.latency_s.total == pytest.approx(64 * many.latency_s.total, rel=1e-12)
    area = (x.area_m2.by_component()["adc"] for x in (many, few))
    assert next(area) == pytest.approx(64 * next(area), rel=1e-12)


# --- time -------------------------------------------------------------------------------------


def cycles(*layers, steps=1, **changes):
    chip = CHIP.with_values(changes)
    report = chip.estimate(Workload(layers, steps))
    return [round(x / chip.chip.read_s, 9) for x in (report.latency_s.total, *report.mapping.end_s)]


def test_latency_of_a_chain_by_hand():
    """Maps of 4x4 (16 reads), 4x4 and a classifier.

    b starts at 12 and ends at 28; the classifier needs all of b: it reads from 28 to 29.
    """
    a, b, c = conv("a", 3, 8, 4), conv("b", 8, 8, 4), Layer("c", "linear", 128, 10)
    assert cycles(a, b, c) == [29, 16, 28, 29]
    # layer first, T = 3: 48 reads; 36 + 48; 84 + 3
    assert cycles(a, b, c, steps=3, order="layer_first") == [87, 48, 84, 87]
    # time first: the last step of b starts at 12 + 32 or, after a, at 32 + 12
    assert cycles(a, b, c, steps=3) == [61, 48, 60, 61]


def test_branches_run_side_by_side():
    """c and b read a together; d waits for the longer one."""
    a = conv("a", 3, 8, 4, sources=())
    b = conv("b", 8, 8, 4, sources=("a",))
    c = conv("c", 8, 8, 4, sources=("a",))
    d = conv("d", 8, 8, 4, sources=("b", "c"))
    assert cycles(a, b, c, d) == [40, 16, 28, 28, 40]
    chain = replace(c, sources=("b",))
    assert cycles(a, b, chain, replace(d, sources=("c",))) == [52, 16, 28, 40, 52]


def test_layers_on_one_tile_take_turns():
    a, b = conv("a", 3, 8, 4, sources=()), conv("b", 3, 8, 4, sources=())
    shared = {"tile_sharing": True}
    assert cycles(a, b, **shared) == [16, 16, 16]
    assert cycles(a, b, **shared, tile_contention="serialised") == [32, 16, 32]
    assert cycles(a, b, tile_contention="serialised") == [16, 16, 16]


def test_a_small_last_layer_does_not_shorten_the_network():
    """D10: the script gives less than the first layer by itself."""
    a, b = conv("a", 3, 64, 32, kernel=3), conv("b", 64, 64, 32, pool=8)
    first = one(a, steps=5).latency_s.total
    assert CHIP.estimate(Workload((a, b), 5)).latency_s.total >= first
    script = load_profile("spikesim_rram")
    assert script.estimate(Workload((a, b), 5)).latency_s.total < one(a, script, 5).latency_s.total


# --- every chip, every network ----------------------------------------------------------------


@st.composite
def networks(draw, max_layers=6):
    """Graphs of layers: chains with skips and branches, pooled, grouped, strided."""
    size, widths = draw(st.sampled_from([4, 7, 12, (5, 9)])), {}
    layers = []
    for i in range(draw(st.integers(1, max_layers))):
        known = [x for x in layers if x.kind == "conv"]
        alike = [x.name for x in known if widths[x.name] == widths[known[-1].name]]
        names = (
            tuple(sorted(set(draw(st.lists(st.sampled_from(alike), min_size=1, max_size=2)))))
            if known
            else ()
        )
        c_in, side = widths[names[0]] if names else (draw(st.integers(1, 9)), size)
        c_out = draw(st.sampled_from([1, 4, 9, 70]))
        height, width = pair(side)
        if i and draw(st.integers(0, 5)) == 0:
            layers.append(
                Layer(
                    f"n{i}",
                    "linear",
                    c_in * height * width,
                    c_out,
                    sources=names,
                    spike_rate=draw(st.floats(0, 1)),
                )
            )
            continue
        stride = draw(st.sampled_from([1, 1, 2]))
        out = (height - 1) // stride + 1, (width - 1) // stride + 1
        layer = Layer(
            f"n{i}", "conv", c_in, c_out,
            kernel=draw(st.sampled_from([1, 3, 5, (1, 3)])),
            stride=stride,
            groups=draw(st.sampled_from([1, math.gcd(c_in, c_out)])),
            in_size=side,
            out_size=out,
            pool=draw(st.sampled_from([1, 1, 2])) if min(out) > 1 else 1,
            weight_bits=draw(st.integers(2, 8)),
            input_bits=1 if i else draw(st.sampled_from([1, 8])),
            once=not i and draw(st.booleans()),
            spike_rate=draw(st.floats(0, 1)),
            neurons=draw(st.none() | st.integers(0, 500)),
            input_adds=draw(st.integers(0, 500)),
            sources=names,
        )  # fmt: skip
        widths[layer.name] = (c_out, layer.map_size)
        layers.append(layer)
    return Workload(tuple(layers), draw(st.integers(1, 6)))


@pytest.mark.training
@pytest.mark.parametrize("name", CHIPS)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(networks())
def test_every_report_adds_up_and_bounds_hold(name, workload):
    chip = CHIPS[name]
    report = chip.estimate(workload)
    for quantity in QUANTITIES:
        table = getattr(report, quantity)
        assert table.total == math.fsum(table.values.ravel())
        assert math.fsum(table.by_row()) == pytest.approx(table.total, rel=1e-12)
        assert math.fsum(table.by_component().values()) == pytest.approx(table.total, rel=1e-12)
    rest = chip.estimate(workload.at_rate(0)).energy_J.total
    within = (rest, report.energy_J.total, report.dense_energy_J.total)
    assert all(a <= b * (1 + 1e-12) for a, b in pairwise(within))
    assert report.dense_energy_J == chip.estimate(workload.at_rate(1)).energy_J
    if not chip.switches["last_halt"]:
        longest = max(
            b - a for a, b in zip(report.mapping.start_s, report.mapping.end_s, strict=True)
        )
        assert report.latency_s.total >= longest * (1 - 1e-12)
        assert report.latency_s.total == pytest.approx(max(report.mapping.end_s), rel=1e-12)
    assert all(0 < u <= 1 for u in report.mapping.utilisation)


@pytest.mark.training
@pytest.mark.parametrize("name", CHIPS)
@settings(max_examples=4, deadline=None, derandomize=True)
@given(st.lists(networks(), min_size=1, max_size=5))
def test_a_batch_is_its_members(name, workloads):
    chip = CHIPS[name]
    batch = chip.estimate_batch(LayerTable.stack(workloads)).metrics()
    for i, workload in enumerate(workloads):
        single = chip.estimate(workload).metrics()
        assert {k: v[i] for k, v in batch.items()} == pytest.approx(single, rel=1e-12)


@QUICK
@given(networks(), st.integers(1, 3))
def test_more_time_steps_never_cost_less(workload, more):
    longer = Workload(workload.layers, workload.time_steps + more)
    small, large = CHIP.estimate(workload).metrics(), CHIP.estimate(longer).metrics()
    assert {n: (small[n], large[n]) for n in GROWING if large[n] < small[n] * (1 - 1e-12)} == {}


LAYERS = st.builds(
    lambda c_in, c_out, kernel, size, bits, rate: conv(
        "a", c_in, c_out, size, kernel=kernel, weight_bits=bits, spike_rate=rate, sources=()
    ),
    st.integers(1, 200),
    st.integers(1, 200),
    st.sampled_from([1, 3, 5]),
    st.integers(1, 12),
    st.integers(2, 8),
    st.floats(0, 1),
)


@pytest.mark.training
@pytest.mark.parametrize("mapping", ["kernel_split", "im2col"])
@pytest.mark.parametrize("name", ["in_channels", "out_channels", "kernel", "weight_bits", "size"])
@QUICK
@given(LAYERS, st.integers(1, 100))
def test_a_larger_layer_never_costs_less(mapping, name, layer, more):
    chip = CHIP.with_values({"mapping": mapping})
    grown = {
        "kernel": {"kernel": layer.kernel + 2},
        "weight_bits": {"weight_bits": layer.weight_bits + 1},
        "size": {"in_size": layer.in_size + more, "out_size": layer.out_size + more},
    }.get(name) or {name: getattr(layer, name) + more}
    small, large = (one(x, chip, 2).metrics() for x in (layer, replace(layer, **grown)))
    assert {n: (small[n], large[n]) for n in GROWING if large[n] < small[n] * (1 - 1e-12)} == {}


# The script itself looks at the order of the list: defects D6 and D10.
ORDERLESS = [
    name
    for name, chip in CHIPS.items()
    if not (chip.switches["last_halt"] or chip.switches["five_membranes"])
]


@QUICK
@given(st.lists(LAYERS, min_size=2, max_size=3), st.sampled_from(ORDERLESS))
def test_the_order_of_independent_layers_changes_no_total(layers, name):
    named = [replace(x, name=f"l{i}") for i, x in enumerate(layers)]
    metrics = [CHIPS[name].estimate(Workload(p, 3)).metrics() for p in permutations(named)]
    for other in metrics[1:]:
        assert other == pytest.approx(metrics[0], rel=1e-12)


@QUICK
@given(LAYERS, st.sampled_from(sorted(CHIPS)))
def test_twice_the_crossbars_is_never_less_area(layer, name):
    twice = replace(layer, name="b")
    single = CHIPS[name].estimate(Workload((layer,), 2))
    double = CHIPS[name].estimate(Workload((layer, twice), 2))
    assert double.crossbars == 2 * single.crossbars
    assert double.area_m2.total >= single.area_m2.total


@QUICK
@given(LAYERS, st.floats(0, 1), st.floats(0, 1))
def test_energy_grows_with_the_spike_rate(layer, a, b):
    low, high = (one(replace(layer, spike_rate=r)).energy_J.total for r in sorted((a, b)))
    assert low <= high * (1 + 1e-12)


def test_no_limit_on_order_depth_or_width():
    """What the script refuses, crashes on or never ends: falling widths, 40 layers, one cell."""
    widths = [1, 512, 3, 700, 1, 64] * 7
    layers = [
        conv(f"l{i}", a, b, 8, kernel=1 + 2 * (i % 3)) for i, (a, b) in enumerate(pairwise(widths))
    ]
    for chip in CHIPS.values():
        metrics = chip.estimate(Workload(tuple(layers), 5)).metrics()
        assert all(
            np.isfinite(x) and (x > 0 or name == "dense_macs") for name, x in metrics.items()
        )
