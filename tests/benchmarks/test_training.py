"""Benchmarks of trainings and of the data they read, against what must hold at any size."""

import data
import pytest
from benchmark_files import TRAIN


def test_digits_are_learned(document, digits):
    result = document("digits", "--seeds", 1, *digits)
    assert result.keys() == {"cpu_s_to_95", "cpu_s", "accuracy"}
    for reached, spent, accuracy in zip(*result.values(), strict=True):
        assert reached is None or 0 < reached <= spent
        assert 0.3 < accuracy <= 1  # a tenth by chance


def test_ours_is_compared_with_its_peers(document):
    result = document("training_step", "--rounds", 1, "--batch", 8, "--side", 8)
    assert result["seconds"].keys() >= {"norse", "spikingjelly", "ann_cl", "ours", "ours_qat"}
    for name, seconds in result["seconds"].items():
        assert min(seconds["train"], seconds["infer"]) > 0, name
    spans = result["firing_rates"]
    assert spans.keys() == {n for n in result["seconds"] if not n.startswith("ann")}
    assert all(0.01 < low <= high < 0.9 for low, high in spans.values())
    for ratios, suffix in ((result, ""), (result["bf16"], "_bf16")):
        ours = result["seconds"]["ours" + suffix]
        norse, ann = result["seconds"]["norse"], result["seconds"]["ann_cl"]
        assert ratios["naive_norse_vs_train"] == pytest.approx(norse["train"] / ours["train"])
        assert ratios["naive_norse_vs_infer"] == pytest.approx(norse["infer"] / ours["infer"])
        assert ratios["train_vs_ann"] == pytest.approx(ours["train"] / ann["train"])


def test_every_rounding_is_trained_and_timed(document, digits):
    result = document("quantization", "--seeds", 1, "--rounds", 1, *digits)
    assert {len(values) for values in result["accuracy"].values()} == {1}
    assert all(0 <= value <= 1 for values in result["accuracy"].values() for value in values)
    assert result["accuracy"]["float"][0] > 0.3
    trained = [name for name in result["accuracy"] if not name.endswith("after")]
    assert {"8 bit per channel, absmax", "2 bit per tensor, learned"} <= set(trained)
    assert result["step_ratio"].keys() >= set(trained)
    assert result["step_ratio"]["float"] == 1
    assert min(result["step_ratio"].values()) > 0
    if result["int8_reason_against"]:
        assert (result["int8_sums"], result["int8_scoring"]) == ({}, None)
    else:
        assert min(*result["int8_sums"].values(), result["int8_scoring"]) > 0


def test_inherited_weights_rank_candidates(document, digits):
    result = document("inheritance", "--architectures", 3, *digits)
    assert result["truth"]["lowest"] < result["truth"]["highest"]
    first, *rows = result["rows"]
    assert first == "2 epochs, seed against seed"
    assert rows == ["1 from scratch", "1 inherited", "2 from scratch", "2 inherited"]
    for name, row in result["rows"].items():
        assert -1 - 1e-12 <= row["low"] <= row["high"] <= 1 + 1e-12
        assert abs(row["spearman"]) <= 1 + 1e-12
        assert 0 < row["accuracy"] <= 1
        assert row["cpu_s"] > 0
        assert (row["inherited"] > 0) == name.endswith("inherited")


@pytest.mark.process
def test_a_training_in_a_child_gives_the_same_bits(document, digits, cold_start):
    result = document("child", "--rounds", 1, *digits)
    assert result["rounds"] == 1
    assert result["same_bits"] is True
    assert result["first_s"] > result["in_a_child_s"] > result["around_s"][0] > 0
    assert min(result["training_s"], result["server_own_MiB"], result["child_own_MiB"]) > 0
    more, low, high = result["overhead_s"]
    assert more == low == high == pytest.approx(result["in_a_child_s"] - result["training_s"])


def test_pictures_are_read_and_learned(document, images, recipes):
    options = ("--data", images.parent, "--recipes", recipes)
    (row,) = document("real_data", *options, "--studies", "cifar10", "--seeds", 1)
    assert row["data"] == "CIFAR-10 (JPEG copy)"
    assert (row["images"], row["epochs"], row["seed"]) == (30, 1, 0)
    assert row["parameters"] > 0
    assert 0 <= row["validation"] <= 1
    assert 0 <= row["test"] <= 1


def test_screened_energies_are_compared_with_trained_ones(document, images, recipes):
    options = ("--data", images.parent, "--recipes", recipes, "--studies", "cifar10")
    (row,) = document("screening", *options, "--candidates", 2, "--samples", 20)
    assert (row["data"], row["trained"]) == ("CIFAR-10 (JPEG copy)", 2)
    assert 0 < row["least"] <= row["median"] <= row["most"]


def test_reading_a_set_is_timed(document, images, monkeypatch):
    """What a new process does is done in this one."""
    monkeypatch.setattr(data, "in_child", data.in_new_process)
    (row,) = document("data", "--data", images.parent, "--rounds", 1)["rows"]
    assert (row["name"], row["images"]) == ("cifar10_jpeg_full_60000.zip", 10 * TRAIN)
    for figure in ("first_s", "opened_s", "split_s", "epoch_s", "epoch_of_a_copy_s"):
        assert row[figure] > 0
    assert row.keys() >= {"own_MiB", "own_MiB_of_a_copy"}
