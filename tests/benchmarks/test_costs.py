"""Benchmarks of costs that are known before a training, against what must hold at any size."""

import pytest


def test_batches_cost_what_candidates_cost_alone(document):
    result = document("cost_model", "--layers", 4, "--candidates", 50, "--rounds", 1)
    assert result["profile"] == "corrected"
    assert (result["layers"], result["candidates"], result["rounds"]) == (4, 50, 1)
    assert result["max_relative_difference"] <= 1e-12
    for figure in ("batch_candidates_per_s", "scalar_candidates_per_s", "batch_over_scalar"):
        assert result[figure] > 0


def test_published_figures_are_those_of_the_documentation(document):
    """To the digits of the table in docs/cost-model.md."""
    rows = {(row["profile"], row["weight_bits"]): row for row in document("published_figures")}
    four, eight = (rows["corrected", bits] for bits in (4, 8))
    shares = [rows[key]["neuron_area_share"] for key in rows]
    assert [f"{share:.1%}" for share in shares] == ["26.9%", "26.9%", "14.0%", "6.6%"]
    assert [f"{r['pJ_per_synaptic_operation']:.2f}" for r in (four, eight)] == ["0.70", "1.46"]
    script = rows["spikesim_rram", 4]
    figures = [(row["energy_uJ"], row["latency_ms"], row["area_mm2"]) for row in (script, four)]
    assert figures[0] == pytest.approx((15.91, 62.83, 8.43), abs=0.005)
    assert figures[1] == pytest.approx((86.7, 1.20, 28.5), abs=0.05)


def test_measured_crossbars_are_listed_with_their_ratios(document):
    result = document("published_figures", "--crossbars")
    assert {row["figure"] for row in result["figures"]} > {"energy_pJ", "area_mm2", "rows"}
    for row in result["figures"]:
        assert row["ratio"] == pytest.approx(row["model"] / row["measured"])
    assert result["summary"]["energy"][1] == 8


def test_rejected_candidates_are_repaired_and_feasible_ones_counted(document, digits):
    (study,) = document("rejection", *digits, "--candidates", 20, "--rounds", 1).values()
    repairs = study["repair"]
    assert sum(repairs["changes"].values()) == repairs["rejected"] > 5
    assert 0 < repairs["median_ms"] <= repairs["p95_ms"] <= repairs["most_ms"]
    assert 0 < study["one_size"]["kept"] < study["one_size"]["cells"] == 5**12
    assert study["one_size"]["count_ms"] < 1e3 * study["one_size"]["cost_all_s"]
    assert study["whole"]["kept"] == pytest.approx(
        study["whole"]["share"] * study["whole"]["space"], rel=1e-12
    )


def test_imperfect_chips_are_no_better_than_their_worst(document, digits):
    result = document("on_chip", "--chips", 2, *digits)
    assert result["chips"] == 2
    assert 0.3 < result["digital"] <= 1
    assert [row["changes"] for row in result["rows"][:2]] == [{}, {"conductance_spread": 0}]
    assert len(result["rows"]) > 10
    assert result["rows"][1]["spread"] == 0  # chips that are all alike
    for row in result["rows"]:
        assert 0 <= row["worst"] <= row["accuracy"] <= 1
        assert row["cpu_s_per_chip"] > 0
