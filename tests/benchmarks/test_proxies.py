"""Benchmarks of training-free scores, against what must hold at any size."""

import math

import pytest

from nas_service.spaces.cell import EDGE_NAMES


def test_proxies_are_correlated_with_a_table(document, images, table):
    names = ("sahd", "hamming", "convolutions", "hamming+convolutions")
    sizes = ("--cells", 24, "--channels", 2, "--batch", 4)
    options = ("--table", table, "--images", images, "--proxies", ",".join(names))
    result = document("proxies", *options, *sizes)
    assert tuple(result) == names
    for row in result.values():
        assert -1 <= row["low"] <= row["high"] <= 1
        assert abs(row["spearman"]) <= 1
        assert 0 <= row["recall_at_25"] <= row["recall_at_50"] <= 1
        assert row["cpu_s"] > 0
    assert result["convolutions"]["spearman"] > 0.5  # as the table was made


def test_the_ceiling_of_a_table_is_a_correlation(document, table):
    result = document("proxies", "--table", table, "--ceiling")
    assert 1 < result["repeated_functions"] < result["functions"]
    assert result["repeated_networks"] >= 2 * result["repeated_functions"]
    assert 0 < result["agreement"] <= 1
    assert result["ceiling"] == pytest.approx(math.sqrt(result["agreement"]))


def test_snasnet_s_search_has_the_same_winner(document):
    sizes = ("--samples", 20, "--channels", 4, "--batch", 8, "--timed", 2)
    result = document("snasnet_search", *sizes)
    assert (result["samples"], result["naive_samples_timed"]) == (20, 2)
    assert 10 <= result["functions"] <= 20
    assert len(result["winner"]) == len(EDGE_NAMES)
    assert result["same_winner"] is True
    assert result["lead"] >= 0
    expected = result["naive_cpu_s_per_sample"] * result["samples"] / result["ours_cpu_s"]
    assert result["speedup"] == pytest.approx(expected)
