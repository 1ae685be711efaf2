"""The profile against recorded runs of the original script, and one run worked out by hand."""

import json
from pathlib import Path

import pytest

from hw_models import Layer, Workload, load_profile

GOLDEN = Path(__file__).parents[2] / "../shared/bench/spikesim_ela_golden.json"
VGG9 = [(3, 64, 32, 32), (64, 64, 32, 16), (64, 128, 16, 16), (128, 128, 16, 8)]
VGG9 += [(128, 256, 8, 8), (256, 256, 8, 8), (256, 256, 8, 4)]


def conv(i, c_in, c_out, d_in, d_out, kernel=3):
    return Layer(f"conv{i}", "conv", c_in, c_out, kernel=kernel, in_size=d_in, out_size=d_out)


def test_vgg9_by_hand():
    """48 PEs on 6 tiles, 3840 reads of 828.4861472 pJ a step, 120832 outputs of 104 ns."""
    report = load_profile("spikesim_rram").estimate(
        Workload(tuple(conv(i, *x) for i, x in enumerate(VGG9)), 5)
    )
    assert report.tiles == 6
    assert report.crossbars == 48 * 9
    assert report.energy_J.total == pytest.approx(3840 * 5 * 828.4861472e-12, rel=1e-12)
    assert report.latency_s.total == pytest.approx(120832 * 5 * 104e-9, rel=1e-12)
    area = 6 * 596708.219839 + 2580818.944 + 2264460.4928
    assert report.area_m2.total == pytest.approx(area * 1e-12, rel=1e-12)
    assert report.warnings == ()


def cases():
    if not GOLDEN.exists():
        reason = "recorded runs of SpikeSim are not beside the project"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason))]
    return [pytest.param(c, id=c["name"]) for c in json.loads(GOLDEN.read_text())["cases"]]


def close(ours, recorded):
    assert ours == pytest.approx(recorded, rel=1e-9)


@pytest.mark.parametrize("case", cases())
def test_recording(case):
    inputs, out = case["inputs"], case["outputs"]
    lists = ("in_ch_list", "out_ch_list", "in_dim_list", "out_dim_list")
    rows = zip(*(inputs[name] for name in lists), strict=True)
    layers = tuple(conv(i, *r, kernel=inputs["kernel_size"]) for i, r in enumerate(rows))
    chip = {"crossbar_size": inputs["xbar_size"], "pes_per_tile": inputs["pe_per_tile"]}
    chip |= {"clock": inputs["clk_freq"]}
    if inputs["device"] == "sram":  # the script's figures for its other device
        chip |= {"crossbar_energy": 671.089, "crossbar_area": 671.089}
    report = (
        load_profile("spikesim_rram")
        .with_values(chip)
        .estimate(Workload(layers, inputs["time_steps"]))
    )
    checked = 0
    if mapping := out.get("mapping"):
        checked += 1
        if mapping.get("n_tiles") is not None:
            close(report.tiles, mapping["n_tiles"])
    if (area := out.get("area_um2")) and area.get("total") is not None:
        checked += 1
        parts = report.area_m2.by_component()
        close(report.area_m2.total * 1e12, area["total"])
        close(parts["neuron_memory"] * 1e12, area["neuron_mem"])
    if (energy := out.get("energy_pj")) and energy.get("total") is not None:
        checked += 1
        close(report.energy_J.total * 1e12, energy["total"])
        close([x * 1e12 for x in report.energy_J.by_row()[:-1]], energy["layerwise"])
        for recorded, value in energy.get("derived_component_breakdown", {}).items():
            name = {"htree": "h_tree", "mem_fetch": "fetch"}.get(recorded, recorded)
            close(report.energy_J.by_component()[name] * 1e12, value)
    if (latency := out.get("latency")) and latency.get("final_ns") is not None:
        checked += 1
        close(report.latency_s.total * 1e9, latency["final_ns"])
    assert checked, "a recording without a figure proves nothing"
    failed = [k for k, v in case["status"].items() if v != "ok"]
    assert bool(report.warnings) == bool(failed), (case["status"], report.warnings)
