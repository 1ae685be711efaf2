"""Every benchmark run at its smallest, against what must hold at any size."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import forked
import pytest
from benchmark_files import TRAIN, rewrite, write_bench, write_csv, write_images, write_table

from nas_service.snn.neurons.native import cache_folder
from nas_service.spaces.cell import EDGE_NAMES
from nas_service.worker.training_process.client import WORKER_ENVIRONMENT

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(
    path.name for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text()
)


# --- what each must print -------------------------------------------------------------------------


def costs(result):
    assert result["profile"] == "corrected"
    assert (result["layers"], result["candidates"], result["rounds"]) == (4, 50, 1)
    assert result["max_relative_difference"] <= 1e-12
    for figure in ("batch_candidates_per_s", "scalar_candidates_per_s", "batch_over_scalar"):
        assert result[figure] > 0


def processes(result):
    assert result["rounds"] == 1
    assert result["same_bits"] is True
    assert result["first_s"] > result["in_a_child_s"] > result["around_s"][0] > 0
    assert min(result["training_s"], result["server_own_MiB"], result["child_own_MiB"]) > 0
    more, low, high = result["overhead_s"]
    assert more == low == high == pytest.approx(result["in_a_child_s"] - result["training_s"])


def reading(result):
    (row,) = result["rows"]
    assert (row["name"], row["images"]) == ("cifar10_jpeg_full_60000.zip", 10 * TRAIN)
    for figure in ("first_s", "opened_s", "split_s", "epoch_s", "epoch_of_a_copy_s"):
        assert row[figure] > 0
    assert row.keys() >= {"own_MiB", "own_MiB_of_a_copy"}


def digits(result):
    assert result.keys() == {"cpu_s_to_95", "cpu_s", "accuracy"}
    for reached, spent, accuracy in zip(*result.values(), strict=True):
        assert reached is None or 0 < reached <= spent
        assert 0.3 < accuracy <= 1  # a tenth by chance


def halving(result):
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


def inheritance(result):
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


def imperfect_chips(result):
    assert result["chips"] == 2
    assert 0.3 < result["digital"] <= 1
    assert [row["changes"] for row in result["rows"][:2]] == [{}, {"conductance_spread": 0}]
    assert len(result["rows"]) > 10
    assert result["rows"][1]["spread"] == 0  # chips that are all alike
    for row in result["rows"]:
        assert 0 <= row["worst"] <= row["accuracy"] <= 1
        assert row["cpu_s_per_chip"] > 0


def proxies(result):
    assert list(result) == ["sahd", "hamming", "convolutions", "hamming+convolutions"]
    for row in result.values():
        assert -1 <= row["low"] <= row["high"] <= 1
        assert abs(row["spearman"]) <= 1
        assert 0 <= row["recall_at_25"] <= row["recall_at_50"] <= 1
        assert row["cpu_s"] > 0
    assert result["convolutions"]["spearman"] > 0.5  # as the table was made


def published_figures(result):
    """To the digits of the table in docs/cost-model.md."""
    rows = {(row["profile"], row["weight_bits"]): row for row in result}
    four, eight = (rows["corrected", bits] for bits in (4, 8))
    shares = [rows[key]["neuron_area_share"] for key in rows]
    assert [f"{share:.1%}" for share in shares] == ["26.9%", "26.9%", "14.0%", "6.6%"]
    assert [f"{r['pJ_per_synaptic_operation']:.2f}" for r in (four, eight)] == ["0.70", "1.46"]
    script = rows["spikesim_rram", 4]
    figures = [(row["energy_uJ"], row["latency_ms"], row["area_mm2"]) for row in (script, four)]
    assert figures[0] == pytest.approx((15.91, 62.83, 8.43), abs=0.005)
    assert figures[1] == pytest.approx((86.7, 1.20, 28.5), abs=0.05)


def quantization(result):
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


def real_data(result):
    (row,) = result
    assert row["data"] == "CIFAR-10 (JPEG copy)"
    assert (row["images"], row["epochs"], row["seed"]) == (30, 1, 0)
    assert row["parameters"] > 0
    assert 0 <= row["validation"] <= 1
    assert 0 <= row["test"] <= 1


def search_large(result):
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


def search_table(result):
    assert result.keys() == {"random", "greybox"}
    for name, row in result.items():
        assert row["hypervolume"].keys() == {"4", "8"}
        for median, low, high in row["hypervolume"].values():
            assert 0 < low <= median <= high < 1.2, name
        assert row["hypervolume"]["4"] <= row["hypervolume"]["8"]
        assert row["seconds_per_ask"] > 0


def search_trained(result):
    assert (result["trainings"], list(result["samplers"])) == (2, ["greybox", "random"])
    assert result["samplers"]["greybox"]["beside_first"] == [0, 0, 0]
    for row in result["samplers"].values():
        assert [run["trained"] for run in row["runs"]] == [2, 2]
        assert all(0 <= run["hypervolume"] < 1 for run in row["runs"])
        assert all(run["feasible"] <= run["trained"] for run in row["runs"])


def seeds(result):
    assert result["budgets"].keys() == {"parameters", "area_mm2", "latency_ms", "energy_uJ"}
    assert 0 < result["feasible_share"] < 1
    assert result["runs"].keys() == {"spikenas", "neuronas", "greybox"}
    for (row,) in result["runs"].values():
        assert 1 <= row["scorings"] <= 8
        assert row["reached"] or row["scorings"] == 8
        ratio = row["snasnet_cpu_s"] / row["cpu_s"]
        assert row["faster_than_all_samples"] == pytest.approx(ratio)
        assert row["faster_than_its_best"] <= row["faster_than_all_samples"]


def rejection(result):
    (study,) = result.values()
    repairs = study["repair"]
    assert sum(repairs["changes"].values()) == repairs["rejected"] > 5
    assert 0 < repairs["median_ms"] <= repairs["p95_ms"] <= repairs["most_ms"]
    assert 0 < study["one_size"]["kept"] < study["one_size"]["cells"] == 5**12
    assert study["one_size"]["count_ms"] < 1e3 * study["one_size"]["cost_all_s"]
    assert study["whole"]["kept"] == pytest.approx(
        study["whole"]["share"] * study["whole"]["space"], rel=1e-12
    )


def snasnet_search(result):
    assert (result["samples"], result["naive_samples_timed"]) == (20, 2)
    assert 10 <= result["functions"] <= 20
    assert len(result["winner"]) == len(EDGE_NAMES)
    assert result["same_winner"] is True
    assert result["lead"] >= 0
    expected = result["naive_cpu_s_per_sample"] * result["samples"] / result["ours_cpu_s"]
    assert result["speedup"] == pytest.approx(expected)


def training_step(result):
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


def chaos(result):
    assert result["rows"][0]["wrong"] == []
    assert (result["runs"], result["results"], result["asked"]) == (1, 6, 6)
    assert result["lost"] == result["twice"] == result["over_budget"] == 0
    assert result["quarantined"] >= 1
    assert result["retries"] <= result["kills"] + result["crashes"] + result["stops"]


def cli_start(result):
    assert result["rounds"] == 1
    assert result["cpu_s"].keys() == {*result["limits_s"], "import optuna"}
    assert all(seconds > 0 for seconds in result["cpu_s"].values())


def scale(result):
    assert [row["workers"] for row in result["shared"]] == [1, 2]
    for row in result["shared"]:
        assert row["trials"] == 8
        assert row["commits_per_trial"] >= 2
        assert min(row["trials_per_s"], row["cpu_ms_per_trial"], row["held_ms_per_trial"]) > 0
    assert result["shared"][0]["commits_per_trial"] <= 3, "alone, and so without looks in vain"
    assert [row["trials"] for row in result["asks"]] == [4, 30]
    assert all(value > 0 for row in result["asks"] for value in row.values())


def store(result):
    assert (result["workers"], result["trials"], result["plain_optuna_trials"]) == (2, 8, 8)
    assert result["statements_per_trial"] < result["plain_optuna_statements_per_trial"]
    ratio = result["trials_per_s"] / result["plain_optuna_trials_per_s"]
    assert result["times_plain"] == pytest.approx(ratio)


@dataclass(frozen=True)
class Run:
    arguments: str  # the smallest; names in braces are files made here
    check: Callable[[Any], None]


RUNS = {
    "chaos.py": Run("--storage sqlite:// --workers 2 --trials 6 --kill-every 4", chaos),
    "child.py": Run("--rounds 1 --study {digits}", processes),
    "cli_start.py": Run("--rounds 1 --trainings 1", cli_start),
    "compare_search.py halving": Run(
        "--study {digits} --samplers random --seeds 1 --candidates 4 --epochs 4 --eta 2", halving
    ),
    "compare_search.py scored": Run("--samples 8 --seeds 1 --budget 0.5", seeds),
    "compare_search.py trained": Run(
        "--study {digits} --seeds 2 --trainings 2 --samplers greybox,random", search_trained
    ),
    "cost_model.py": Run("--layers 4 --candidates 50 --rounds 1", costs),
    "data.py": Run("--data {data} --rounds 1", reading),
    "digits.py": Run("--seeds 1 --study {digits}", digits),
    "inheritance.py": Run("--architectures 3 --study {digits}", inheritance),
    "on_chip.py": Run("--chips 2 --study {digits}", imperfect_chips),
    "proxies.py": Run(
        "--table {table} --images {images} --cells 24 --channels 2 --batch 4 "
        "--proxies sahd,hamming,convolutions,hamming+convolutions",
        proxies,
    ),
    "published_figures.py": Run("", published_figures),
    "quantization.py": Run("--seeds 1 --rounds 1 --study {digits}", quantization),
    "real_data.py": Run("--data {data} --recipes {recipes} --studies cifar10 --seeds 1", real_data),
    "search_large.py": Run(
        "--seeds 1 --budget 8 --at 4,8 --samplers random,greybox --feasible 0.1 --draws 200",
        search_large,
    ),
    "rejection.py": Run("--study {digits} --candidates 20 --rounds 1", rejection),
    "search_table.py": Run(
        "--table {bench} --firing {firing} --seeds 1 --budget 8 --at 4,8 --samplers random,greybox",
        search_table,
    ),
    "snasnet_search.py": Run("--samples 20 --channels 4 --batch 8 --timed 2", snasnet_search),
    "store.py": Run("--storage sqlite:// --workers 2 --trials 8 --rounds 1", store),
    "store.py --scale 1,2": Run("--storage sqlite:// --trials 8 --grown 4,30", scale),
    "training_step.py": Run("--rounds 1 --batch 8 --side 8", training_step),
}


# --- the files they read -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Values for the names in braces."""
    folder = tmp_path_factory.mktemp("files")
    images = folder / "data" / "cifar10_jpeg_full_60000.zip"
    write_images(folder / "pictures")
    shutil.make_archive(str(images.with_suffix("")), "zip", folder / "pictures")
    write_table(folder / "table.csv")
    write_bench(folder / "bench.csv", folder / "firing.csv")
    sizes = {"train_samples": 128, "validation_samples": 30, "epochs": 2, "batch_size": 16}
    rewrite("digits", folder, sizes)
    small = {"channels": "[4]", "hidden": "[16]", "time_steps": "[2]"}
    rewrite("cifar10", folder, small | {"train_samples": 30, "validation_samples": 10, "epochs": 1})
    return {
        "bench": folder / "bench.csv",
        "data": images.parent,
        "digits": folder / "digits.toml",
        "firing": folder / "firing.csv",
        "images": images,
        "recipes": folder,
        "table": folder / "table.csv",
    }


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A cache of this module, the C++ scan in it if it has been built."""
    cache = tmp_path_factory.mktemp("cache")
    if (built := cache_folder(os.environ)).exists():
        shutil.copytree(built, cache / "neurons")
    return os.environ | {"NAS_CACHE": str(cache)} | WORKER_ENVIRONMENT


# --- the runs ------------------------------------------------------------------------------------


def run(name, arguments, environment, folder):
    """What a benchmark prints; in a process that has loaded the service before."""
    log = Path(environment["NAS_CACHE"]) / "log"
    script = ROOT / "benchmarks" / name
    code, out, err = forked.run_script(script, arguments, folder, environment, log)
    assert code == 0, err[-2000:]
    return out


def test_a_benchmark_starts_as_a_user_starts_it(environment, tmp_path):
    words = [sys.executable, str(ROOT / "benchmarks" / "published_figures.py"), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    published_figures(document(done.stdout))


def document(text):
    """Its numbers, all of them finite."""
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no number"))


def test_every_benchmark_is_run_here():
    assert sorted({command.split()[0] for command in RUNS}) == SCRIPTS


def test_the_readme_names_every_benchmark():
    named = re.findall(r"benchmarks/(\w+\.py)", (ROOT / "README.md").read_text())
    assert sorted(set(named)) == SCRIPTS


@pytest.mark.parametrize("name", RUNS)
def test_what_it_prints_holds_at_any_size(name, files, environment, tmp_path):
    script, *words = name.split()
    words += [word.format(**files) for word in RUNS[name].arguments.split()]
    RUNS[name].check(document(run(script, [*words, "--json"], environment, tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_the_ceiling_of_a_table_is_a_correlation(files, environment, tmp_path):
    arguments = ["--table", str(files["table"]), "--ceiling", "--json"]
    result = document(run("proxies.py", arguments, environment, tmp_path))
    assert 1 < result["repeated_functions"] < result["functions"]
    assert result["repeated_networks"] >= 2 * result["repeated_functions"]
    assert 0 < result["agreement"] <= 1
    assert result["ceiling"] == pytest.approx(math.sqrt(result["agreement"]))


def test_samplers_that_know_the_epochs_meet_targets_sooner(files, environment, tmp_path):
    target = "accuracy>=84,crossbars<=868"  # of two convolutions, 75 +- 1.4 or 84 +- 1.4
    arguments = ["--table", str(files["bench"]), "--firing", str(files["firing"]), "--json"]
    arguments += ["--seeds", "3", "--budget", "20", "--target", target]
    result = {}
    for epochs in ("told", "untold", "dropped"):
        words = [*arguments, "--samplers", "greybox,random", "--epochs", epochs]
        rows = document(run("search_table.py", words, environment, tmp_path))
        result[epochs] = {name: row[target]["evaluations_to_target"] for name, row in rows.items()}
    median, hits, runs = result["told"]["greybox"]
    assert hits == runs == 3
    assert median < result["untold"]["greybox"][0]
    assert result["told"]["random"] == result["untold"]["random"]
    assert [row[1] for row in result["dropped"].values()] == [0, 0]


def test_a_table_without_epochs_has_none_to_tell(files, environment, tmp_path):
    head, *rows = (line.split(",") for line in files["bench"].read_text().splitlines())
    kept = [n for n, name in enumerate(head) if name != "n_epochs"]
    head, *rows = ([row[n] for n in kept] for row in (head, *rows))
    write_csv(tmp_path / "bare.csv", head, rows)
    words = ["--table", "bare.csv", "--firing", str(files["firing"]), "--json"]
    words += ["--samplers", "random", "--seeds", "1", "--budget", "4"]
    with pytest.raises(AssertionError, match=r"bare\.csv: no column n_epochs; --epochs untold"):
        run("search_table.py", words, environment, tmp_path)
    result = document(run("search_table.py", [*words, "--epochs", "untold"], environment, tmp_path))
    assert result.keys() == {"random"}


def test_seconds_of_a_proposal_are_timed_in_both_spaces(files, environment, tmp_path):
    table = ["--table", str(files["bench"]), "--firing", str(files["firing"])]
    arguments = ["--asks", "4", "--feasible", "0.1", "--draws", "200", *table, "--json"]
    asks = document(run("search_large.py", arguments, environment, tmp_path))["asks"]
    assert asks.keys() == {"large", "table"}
    for row in asks.values():
        median, low, high = row["4"]["seconds"]
        assert 0 < low <= median <= high
        assert row["4"]["learning"] > 0
