"""Benchmarks that compare searches, against what must hold at any size."""

import pytest
from benchmark_files import write_csv


def test_halving_is_compared_by_equal_epochs(document, digits):
    sizes = ("--seeds", 1, "--candidates", 4, "--epochs", 4, "--eta", 2)
    result = document("compare_search", "halving", *digits, "--samplers", "random", *sizes)
    assert (result["epochs"], list(result["samplers"])) == (4, ["random"])
    (row,) = result["samplers"].values()
    assert row["difference"] is None, "of one seed there is no interval"
    whole, halved = (row["runs"][way][0] for way in ("in full", "halving"))
    assert halved["candidates"] == 4
    assert 4 * 1 + 2 * 2 + 1 <= halved["epochs"] < 16  # half of them continue, half of these again
    assert whole["epochs"] == 4 * whole["candidates"] == 4 * round(halved["epochs"] / 4)
    for run in (whole, halved):
        assert 0 <= run["hypervolume"] < 1
        assert run["front"] <= run["feasible_in_full"] <= run["candidates"]
        assert run["cpu_s"] > 0


def test_samplers_are_compared_by_equal_trainings(document, digits):
    options = ("--seeds", 2, "--trainings", 2, "--samplers", "greybox,random")
    result = document("compare_search", "trained", *digits, *options)
    assert (result["trainings"], list(result["samplers"])) == (2, ["greybox", "random"])
    assert result["samplers"]["greybox"]["beside_first"] == [0, 0, 0]
    for row in result["samplers"].values():
        assert [run["trained"] for run in row["runs"]] == [2, 2]
        assert all(0 <= run["hypervolume"] < 1 for run in row["runs"])
        assert all(run["feasible"] <= run["trained"] for run in row["runs"])


def test_samplers_are_compared_by_equal_quality(document):
    sizes = ("--samples", 8, "--seeds", 1, "--budget", 0.5)
    result = document("compare_search", "scored", *sizes)
    assert result["budgets"].keys() == {"parameters", "area_mm2", "latency_ms", "energy_uJ"}
    assert 0 < result["feasible_share"] < 1
    assert result["runs"].keys() == {"spikenas", "neuronas", "greybox"}
    for (row,) in result["runs"].values():
        assert 1 <= row["scorings"] <= 8
        assert row["reached"] or row["scorings"] == 8
        ratio = row["snasnet_cpu_s"] / row["cpu_s"]
        assert row["faster_than_all_samples"] == pytest.approx(ratio)
        assert row["faster_than_its_best"] <= row["faster_than_all_samples"]


LARGE = ("--feasible", 0.1, "--draws", 200)


def test_samplers_search_a_space_that_cannot_be_enumerated(document):
    options = ("--seeds", 1, "--budget", 8, "--at", "4,8", "--samplers", "random,greybox")
    result = document("search_large", *options, *LARGE)
    space = result.pop("space")
    assert space["candidates"] > 1e9
    share, low, high = space["feasible"]
    assert 0 < low <= share <= high < 0.3
    assert result.keys() == {"random", "greybox"}
    for row in result.values():
        for median, least, most in row["hypervolume"].values():
            assert 0 <= least <= median <= most <= 1
        assert row["hypervolume"]["4"] <= row["hypervolume"]["8"]
        assert 1 <= row["first_feasible"][0] <= 9
        assert row["unique_share"] == 1
    assert result["greybox"]["feasible_share"] == [1, 1, 1]
    assert result["greybox"]["first_feasible"] == [1, 1, 1]


def test_seconds_of_a_proposal_are_timed_in_both_spaces(document, bench):
    asks = document("search_large", "--asks", 4, *LARGE, *tables(bench))["asks"]
    assert asks.keys() == {"large", "table"}
    for row in asks.values():
        median, low, high = row["4"]["seconds"]
        assert 0 < low <= median <= high
        assert row["4"]["learning"] > 0


def tables(bench):
    return "--table", bench[0], "--firing", bench[1]


def test_samplers_search_a_table(document, bench):
    options = ("--seeds", 1, "--budget", 8, "--at", "4,8", "--samplers", "random,greybox")
    result = document("search_table", *tables(bench), *options)
    assert result.keys() == {"random", "greybox"}
    for name, row in result.items():
        assert row["hypervolume"].keys() == {"4", "8"}
        for median, low, high in row["hypervolume"].values():
            assert 0 < low <= median <= high < 1.2, name
        assert row["hypervolume"]["4"] <= row["hypervolume"]["8"]
        assert row["seconds_per_ask"] > 0


def test_samplers_that_know_the_epochs_meet_targets_sooner(document, bench):
    target = "accuracy>=84,crossbars<=868"  # of two convolutions, 75 +- 1.4 or 84 +- 1.4
    options = ("--budget", 12, "--target", target, "--samplers", "greybox,random")
    result = {}
    for epochs, seeds in (("known", 3), ("unknown", 3), ("dropped", 1)):
        words = (*options, "--seeds", seeds, "--epochs", epochs)
        rows = document("search_table", *tables(bench), *words)
        result[epochs] = {name: row[target]["evaluations_to_target"] for name, row in rows.items()}
    median, hits, runs = result["known"]["greybox"]
    assert hits == runs == 3
    assert median < result["unknown"]["greybox"][0]
    assert result["known"]["random"] == result["unknown"]["random"]
    assert [row[1] for row in result["dropped"].values()] == [0, 0]


def test_a_table_without_epochs_has_none_to_tell(document, bench, tmp_path_factory):
    head, *rows = (line.split(",") for line in bench[0].read_text().splitlines())
    kept = [n for n, name in enumerate(head) if name != "n_epochs"]
    head, *rows = ([row[n] for n in kept] for row in (head, *rows))
    bare = tmp_path_factory.mktemp("bare") / "bare.csv"
    write_csv(bare, head, rows)
    options = (*tables((bare, bench[1])), "--samplers", "random", "--seeds", 1, "--budget", 4)
    with pytest.raises(SystemExit, match=r"bare\.csv: no column n_epochs; --epochs unknown"):
        document("search_table", *options)
    assert document("search_table", *options, "--epochs", "unknown").keys() == {"random"}
