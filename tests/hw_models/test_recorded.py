"""Events counted in recorded inputs, against a count window by window on programmed crossbars."""

import itertools

import numpy as np
import pytest

from hw_models import Layer, RecordedInputs, Workload, WorkloadError, load_profile
from hw_models.events import count_events
from hw_models.layer_table import LayerTable
from hw_models.programming import NONE, program
from hw_models.recorded import converted_rows, counted_shares

LAYERS = {
    "3x3": (Layer("x", "conv", 20, 5, kernel=3, in_size=4, out_size=4, weight_bits=4), 1),
    "5x5": (Layer("x", "conv", 3, 5, kernel=5, in_size=4, out_size=4, weight_bits=4), 1),
    "dilated": (Layer("x", "conv", 17, 5, kernel=3, in_size=5, out_size=5, weight_bits=4), 2),
    "strided": (
        Layer("x", "conv", 2, 4, kernel=3, stride=2, in_size=5, out_size=3, input_bits=3), 1,
    ),
    "depthwise": (Layer("x", "conv", 6, 6, kernel=3, groups=6, in_size=4, out_size=4), 1),
    "grouped": (Layer("x", "conv", 40, 4, kernel=3, groups=2, in_size=3, out_size=3), 1),
    "padded": (
        Layer("x", "conv", 9, 3, kernel=(1, 2), padding=(0, 1), in_size=(2, 3), out_size=(2, 4)), 1,
    ),
    "linear": (Layer("x", "linear", 41, 3, input_bits=2), 1),
}  # fmt: skip
CHIPS = {
    "split": {"mapping": "kernel_split"},
    "im2col": {"mapping": "im2col"},
    "offset": {"mapping": "im2col", "sign": "offset"},
    "dac": {"mapping": "im2col", "input_coding": "dac"},
    "pairs": {
        "pair_conversion": "difference",
        "rows": "driven",
        "row_cell_energy": 0.001,
        "driver_area": 10,
    },
}
SIZE = 16  # rows and columns of a crossbar


def chip(**settings):
    return load_profile("corrected").with_values({"crossbar_size": SIZE, **settings})


def values_of(layer, maps=11, rate=0.2):
    """Inputs whose bits are set at the given rate [R, C, H, W]."""
    rng = np.random.default_rng(3)
    height, width = (layer.in_size,) * 2 if isinstance(layer.in_size, int) else layer.in_size
    shape = (layer.input_bits, maps, layer.in_channels, height, width)
    bits = rng.random(shape) < rate
    return (bits * 2 ** np.arange(layer.input_bits)[:, None, None, None, None]).sum(0)


def windows_of(layer, values, dilation):
    """What each window reads [R, windows, C * P], by loops."""
    kernel, stride, output = (
        (side,) * 2 if isinstance(side, int) else side
        for side in (layer.kernel, layer.stride, layer.out_size)
    )
    pad = layer.padding or tuple(dilation * (k // 2) for k in kernel)
    far = 20
    padded = np.pad(values, [(0, 0), (0, 0), (pad[0], far), (pad[1], far)])
    read = []
    for row, column in itertools.product(*map(range, output)):
        taps = [
            padded[:, :, row * stride[0] + i * dilation, column * stride[1] + j * dilation]
            for i, j in itertools.product(*map(range, kernel))
        ]
        read.append(np.stack(taps, -1).reshape(len(values), -1))
    return np.stack(read, 1)


def expected(layer, profile, values, dilation):
    """Shares of active cells and of busy columns, from the crossbars that are programmed."""
    weights = np.ones((layer.out_channels, layer.in_channels // layer.groups, layer.taps), int)
    crossbars = program(weights, layer.weight_bits, layer.groups, profile.chip)
    read = windows_of(layer, values, dilation)
    planes = (
        [read > 0] if profile.chip.has_dac else [read >> b & 1 > 0 for b in range(layer.input_bits)]
    )
    per_group = layer.in_channels // layer.groups * layer.taps
    outputs = layer.out_channels // layer.groups
    cells = active = columns = busy = 0.0
    for crossbar, plane in itertools.product(crossbars, planes):
        for output in crossbar.outputs[crossbar.outputs != NONE]:
            rows = crossbar.inputs[crossbar.inputs // per_group == output // outputs]
            cells, active = cells + len(rows), active + plane[..., rows].mean((0, 1)).sum()
            columns, busy = columns + 1, busy + plane[..., rows].any(-1).mean()
    return active / cells, busy / columns


@pytest.mark.parametrize("settings", CHIPS.values(), ids=CHIPS)
@pytest.mark.parametrize(("layer", "dilation"), LAYERS.values(), ids=LAYERS)
def test_shares_are_those_of_the_programmed_crossbars(layer, dilation, settings):
    profile, values = chip(**settings), values_of(layer)
    workload, recorded = (
        Workload((layer,), 3),
        {"x": RecordedInputs.of(values, layer.input_bits, dilation)},
    )
    counts = count_events(profile.chip, LayerTable.of(workload))
    shares = counted_shares(counts, workload, recorded)
    rows, busy = expected(layer, profile, values, dilation)
    assert shares["crossbar"] == pytest.approx([rows], rel=1e-12)
    assert shares["adc"] == pytest.approx([busy], rel=1e-12)
    report = profile.estimate(workload, recorded)
    dense, event = report.dense_energy_J.by_component(), report.energy_J.by_component()
    for name, share in {"crossbar": rows, "adc": busy, "adder": busy, "tile_buffer": 1}.items():
        assert event[name] == pytest.approx(dense[name] * share, rel=1e-12)


@pytest.mark.parametrize("mapping", ["kernel_split", "im2col"])
@pytest.mark.parametrize("one_kernel", [False, True])
@pytest.mark.parametrize("layer", [x for x, _ in LAYERS.values()], ids=LAYERS)
def test_converters_of_a_pe_read_its_crossbars_together(layer, mapping, one_kernel):
    profile = chip(mapping=mapping, adc_per_pe=True, one_kernel=one_kernel, crossbars_per_pe=4)
    counts = count_events(profile.chip, LayerTable.of(Workload((layer,), 3)))
    sums = converted_rows(profile.chip, layer, int(counts.tiling.pe_crossbars))
    assert len(sums) == counts.sums
    rows = [(run.position, c) for runs in sums for run in runs for c in range(run.first, run.end)]
    channels = layer.in_channels // layer.groups
    assert sorted(rows) == list(itertools.product(range(layer.taps), range(channels)))


def test_inputs_that_always_or_never_spike():
    layer = Layer("x", "conv", 6, 5, kernel=1, in_size=4, out_size=4)
    for rate in (0, 1):
        values = np.full((3, 6, 4, 4), rate)
        workload = Workload((layer,), 3).at_rate(rate)
        counted = chip().estimate(workload, {"x": RecordedInputs.of(values, 1)})
        assert counted.metrics() == pytest.approx(chip().estimate(workload).metrics(), rel=1e-12)


def test_spikes_that_come_together_cost_less_than_their_rate_says():
    """Half of the maps are full, half are empty: a sum of 8 rows is converted every other time."""
    layer = Layer("x", "linear", 8, 5)
    values = np.repeat([1, 0], 4)[:, None, None, None] * np.ones((1, 8, 1, 1), int)
    workload = Workload((layer,), 2).at_rate(0.5)
    from_rates = chip().estimate(workload)
    counted = chip().estimate(workload, {"x": RecordedInputs.of(values, 1)})
    dense = from_rates.dense_energy_J.by_component()["adc"]
    assert counted.energy_J.by_component()["adc"] == pytest.approx(dense / 2, rel=1e-12)
    assert from_rates.energy_J.by_component()["adc"] == pytest.approx(dense * 255 / 256, rel=1e-12)


def test_a_chip_without_activity_counts_nothing():
    workload = Workload((Layer("x", "linear", 8, 5),), 2)
    report = chip(no_activity=True).estimate(workload, {})
    assert report.energy_J == report.dense_energy_J


@pytest.mark.parametrize(
    ("recorded", "message"),
    [
        ({}, "nothing was recorded"),
        ({"x": RecordedInputs.of(np.ones((3, 7, 1, 1), int), 1)}, r"\[1, 8, 1, 1, 1\] needed"),
        ({"x": RecordedInputs(np.zeros((1, 8, 1, 1, 0), np.uint8), 0)}, "needed"),
        ({"x": RecordedInputs(np.ones((1, 8, 1, 1, 1), np.uint8), 7)}, "after the last of 7"),
    ],
)
def test_records_that_do_not_fit_are_refused(recorded, message):
    workload = Workload((Layer("x", "linear", 8, 5),), 2)
    with pytest.raises(WorkloadError, match=message):
        chip().estimate(workload, recorded)


def test_values_out_of_range_are_refused():
    with pytest.raises(WorkloadError, match="values of 2 bits"):
        RecordedInputs.of(np.full((1, 1, 1, 1), 4), 2)
