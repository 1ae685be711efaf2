"""The example of docs/: its members keep the contracts of ours, and a study uses all of them."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import plugin_files
import pytest
import torch
from nas_command import Folder
from plugin_files import EXAMPLE

import nas_service
from hw_models import load_profile
from nas_service.data import DATASETS
from nas_service.data.batches import batch
from nas_service.errors import SpecError
from nas_service.metrics import HARDWARE_METRICS, METRICS
from nas_service.searches.session import PLUGINS
from nas_service.snn.proxies.scoring import score
from nas_service.store.store import Store
from nas_service.study import plugins
from nas_service.study.member_checks import sample_evaluation
from nas_service.worker.training_process import job

STUDY = """
name = "stripes"
[space]
operations = ["zeroize", "skip", "sepconv5x5"]
cells = 1
channels = 4
head_pool = 2
hidden = 16
time_steps = 2
[data]
name = "stripes"
train_samples = 60
validation_samples = 30
[training]
epochs = 1
[proxies]
names = ["edge_count"]
[hardware]
profile = "fast_chip"
[search]
sampler = "explorer"
initial = ["extremes"]
trainings = 2
[[objectives]]
metric = "accuracy"
direction = "maximize"
[[objectives]]
metric = "energy_area_uJ_mm2"
direction = "minimize"
reference = 100
[[constraints]]
metric = "busiest_layer"
at_most = 0.9
"""
UNUSED = """
from nas_service.metrics import METRICS, Metric
METRICS["accuracy_per_uJ"] = Metric(
    lambda e: e.accuracy and e.accuracy / e.hardware_metrics["energy_uJ"],
    "1/uJ", lambda e: 0.0, trained=True,
)
"""
READING = ("status", "front", "show 1", "report", "studies", "studies --prune")
WORKING = ("resume", "worker --study", "replay 1", "retrain --front", "recost --set clock=300",
           "export 1 --format card", "front --test", "run study.toml")  # fmt: skip


@pytest.fixture
def _loaded():
    with plugin_files.own_tables():
        plugins.load(EXAMPLE)
        yield


def contracts(module):
    """The tests of a file of this folder."""
    path = Path(__file__).with_name(f"{module}.py")
    specification = importlib.util.spec_from_file_location(f"plugin_{module}", path)
    loaded = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    return loaded


@pytest.mark.usefixtures("_loaded")
def test_the_operation_keeps_the_contract_of_ours(tmp_path):
    tests, name = contracts("test_operations"), "sepconv5x5"
    tests.test_keeps_the_shape(name, (6, 4, 5, 5))
    tests.test_holds_the_weights_it_declares(name)
    tests.test_gradients_reach_the_input(name)
    tests.test_costs_follow_from_the_network(name, True)
    tests.test_more_channels_never_cost_less(name)
    tests.test_rates_are_measured_in_every_layer(name)
    tests.test_an_ideal_simulated_chip_is_the_digital_network(name)
    tests.test_a_deployed_network_scores_alike_in_int8(name)
    tests.test_sums_of_a_deployed_network_keep_the_bound_of_its_operation(name)
    tests.test_memory_of_a_training_is_bounded_alike_for_one_and_many(name)
    tests.test_weights_are_shared_between_networks_of_the_operation(name, tmp_path)
    tests.test_initial_trials_order_operations_by_their_weights(name)
    tests.test_a_model_of_accuracy_distinguishes_it_from_no_operation(name)


@pytest.mark.usefixtures("_loaded")
def test_the_metrics_keep_the_contract_of_ours():
    tests, name = contracts("test_metrics"), "energy_area_uJ_mm2"
    assert name in HARDWARE_METRICS
    tests.test_a_hardware_metric_is_one_number_on_every_path(name)
    tests.test_declared_growth_with_the_spike_rate_is_real(name)
    tests.test_a_metric_with_an_interval_is_bounded_at_a_confidence(name)
    for each in (name, "busiest_layer", "proxy_edge_count"):
        tests.test_every_metric_can_be_an_objective_and_a_constraint(each)
    assert METRICS["busiest_layer"].value(sample_evaluation()) == 0.5


@pytest.mark.usefixtures("_loaded")
def test_the_proxy_keeps_the_contract_of_ours():
    tests, name = contracts("test_proxies"), "edge_count"
    tests.test_score_repeats_and_leaves_the_network_alone(name)
    tests.test_dead_networks_are_flagged_and_rank_last(name, (tests.DEAD, tests.LIVE))
    assert score(name, tests.network(tests.LIVE), tests.images(6)).value == 6


@pytest.mark.usefixtures("_loaded")
def test_the_chip_keeps_the_contract_of_ours():
    tests, chip = contracts("test_chips"), load_profile("fast_chip")
    tests.test_every_setting_has_a_value_and_a_digest(chip)
    tests.test_every_estimate_is_finite_and_its_parts_sum_to_the_totals(chip)
    tests.test_networks_run_on_simulated_chips(chip)
    assert chip.values["clock"] == 500
    assert chip.digest != load_profile("corrected").digest


@pytest.mark.usefixtures("_loaded")
def test_the_sampler_keeps_the_contract_of_ours():
    tests = contracts("test_samplers")
    tests.test_restarts_change_nothing("explorer")
    tests.test_other_seeds_propose_other_candidates("explorer")


@pytest.mark.usefixtures("_loaded")
def test_the_data_set_has_equally_many_images_of_each_class():
    source = DATASETS["stripes"]
    train, test = source.read_train(Path()), source.read_test(Path())
    assert np.bincount(train.labels).tolist() == [100, 100, 100]
    assert batch(test, slice(4))[0].shape == (4, 1, 8, 8)
    assert train.digest == source.read_train(Path()).digest != test.digest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a finished study that uses every member, only to be read.

    Its worker had loaded one more plug-in, whose metric no study names.
    """
    folder = Folder(tmp_path_factory.mktemp("study"))
    (folder.path / "study.toml").write_text(STUDY)
    (folder.path / "unused.py").write_text(UNUSED)
    words = ("run", "study.toml", "--plugin", str(EXAMPLE), "--plugin", "unused.py")
    with plugin_files.own_tables():
        code, _, err = folder.nas(*words)
    assert code in (0, 3), err
    return folder


@pytest.fixture
def nas(folder):
    """The command in a process that has loaded no plug-in."""
    with plugin_files.own_tables():
        yield lambda words, *more: folder.nas(*words.split(), *more)


def with_study(words):
    """The words with the study's name where it belongs."""
    verb, *rest = words.split()
    if verb == "run" or words == "studies":
        return words
    return " ".join([words, "stripes"] if rest[-1:] in (["--study"], ["--prune"]) else
                    [verb, "stripes", *rest])  # fmt: skip


def test_a_study_records_what_it_uses(folder, nas):
    store = Store(folder.environment["NAS_STORAGE"])
    (study,) = (s for s in store.optuna.get_all_studies() if s.study_name == "stripes")
    (record,) = study.user_attrs[PLUGINS]
    store.close()
    assert record["name"] == "plugin_example.py"
    shown = {key: record[key] for key in ("name", "sha256")}
    assert json.loads(nas("status stripes --json")[1])["plugins"] == [shown]
    assert {kind: [*names] for kind, names in record["members"].items()} == {
        "operation": ["sepconv5x5"],
        "hardware metric": ["energy_area_uJ_mm2"],
        "proxy": ["edge_count"],
        "metric": ["busiest_layer", "energy_area_uJ_mm2"],
        "data set": ["stripes"],
        "chip": ["fast_chip"],
        "sampler": ["explorer"],
    }


@pytest.mark.parametrize("words", READING)
def test_results_are_read_without_the_plugin_as_with_it(words, nas):
    words = with_study(words)
    code, out, err = nas(words)
    assert code in (0, 2, 3), err
    assert "nothing to delete" in out or "nothing is deleted" in err or code != 2
    noted = "note: plug-in plugin_example.py (sha256 " in err
    assert noted == (not words.startswith("studies"))
    assert (code, out) == nas(words, "--plugin", str(EXAMPLE))[:2]
    assert ("busiest" in out) == (words.split()[0] in ("front", "show"))


@pytest.mark.parametrize("words", WORKING)
def test_work_is_refused_without_the_plugin_or_with_another_version(words, nas, folder):
    words, other = with_study(words), folder.path / "plugin_example.py"
    code, _, err = nas(words)
    assert code == 2, err
    *_, last = err.splitlines()
    if words.startswith("run"):
        assert "unknown metric 'busiest_layer'" in last
    else:
        assert last.startswith("nas: study 'stripes' needs plug-in plugin_example.py (sha256 ")
        assert last.endswith(": --plugin FILE or NAS_PLUGIN=FILE gives it")
    other.write_bytes(EXAMPLE.read_bytes() + b"\n")
    code, _, err = nas(words, "--plugin", str(other))
    other.unlink()
    assert code == 2, err
    assert f"and {other} is another version (sha256 " in err.splitlines()[-1]


def test_nothing_of_the_name_that_a_store_holds_is_run(nas, folder, monkeypatch):
    """A file of the recorded name lies where the command runs, and where the store is."""
    marker = folder.path / "ran"
    (folder.path / "plugin_example.py").write_text(f"open({str(marker)!r}, 'w')")
    for words in (*READING, *WORKING):
        nas(with_study(words))
    (folder.path / "plugin_example.py").unlink()
    assert not marker.exists()


def test_a_metric_that_is_stored_and_not_known_is_shown_and_not_costed_anew(nas):
    code, out, err = nas("show stripes 1")
    assert code == 0, err
    assert re.search(r"^accuracy per uJ +\d", out, re.MULTILINE)
    code, out, err = nas("recost stripes --set clock=300 --json", "--plugin", str(EXAMPLE))
    assert code == 0, err
    assert "unknown on the other chip: accuracy_per_uJ" in json.loads(out)["notes"]
    both = ("--plugin", str(EXAMPLE), "--plugin", "unused.py")
    _, out, _ = nas("recost stripes --set clock=300 --json", *both)
    assert "unknown on the other chip: accuracy_per_uJ" in json.loads(out)["notes"]
    code, _, err = nas("recost stripes --budget accuracy_per_uJ=9", *both)
    assert code == 2
    assert "accuracy_per_uJ cannot be costed anew" in err


def test_a_script_says_that_a_plugin_is_missing(nas, folder):
    url = folder.path / "url"
    url.write_text(folder.environment["NAS_STORAGE"])
    url.chmod(0o600)
    words = f"launch slurm stripes --storage-file {url}"
    code, out, err = nas(words)
    assert code == 0, err
    assert "note: study stripes needs plug-in plugin_example.py" in err
    assert "NAS_PLUGIN" not in out
    _, out, err = nas(words, "--plugin", str(EXAMPLE))
    assert "plug-in" not in err
    assert f"export NAS_PLUGIN={EXAMPLE}\n" in out


def test_the_exported_network_is_loaded_without_the_plugin(nas, folder):
    code, _, err = nas("--plugin", str(EXAMPLE), *["export", "stripes", "1", "--format", "npz"])
    assert code == 0, err
    assert "stem.0.parametrizations.weight.original" in np.load(folder.path / "stripes-1.npz")
    code, _, err = nas("export stripes 1 --format safetensors --check", "--plugin", str(EXAMPLE))
    assert code == 0, err


def test_an_exported_network_has_the_facts_of_its_operations(folder):
    with plugin_files.own_tables():
        words = "export stripes 1 --format safetensors -o net"
        assert folder.nas(*words.split(), "--plugin", str(EXAMPLE))[0] == 0
    with plugin_files.own_tables():
        network = nas_service.load(folder.path / "net.safetensors")
        assert plugins.LOADED == []
        names = network.predict(torch.zeros(2, 8, 8, dtype=torch.uint8)).names
    assert names[0] in ("horizontal", "vertical", "diagonal")


def test_a_training_needs_what_its_worker_has_loaded(tmp_path, monkeypatch):
    """Its process reads NAS_PLUGIN, and refuses a file that has been changed since."""
    path = tmp_path / "own.py"
    path.write_bytes(EXAMPLE.read_bytes())
    with plugin_files.own_tables():
        digest = plugins.load(path).digest
    monkeypatch.setenv("NAS_PLUGIN", str(path))
    with plugin_files.own_tables():
        job._load_plugins({"plugins": [digest]})
        assert "stripes" in DATASETS
    path.write_bytes(EXAMPLE.read_bytes() + b"#")
    with plugin_files.own_tables(), pytest.raises(SpecError, match="was changed since the worker"):
        job._load_plugins({"plugins": [digest]})


@pytest.mark.nightly
@pytest.mark.process
def test_worker_processes_and_their_trainings_load_it(tmp_path):
    folder = Folder(tmp_path)
    (tmp_path / "study.toml").write_text(STUDY)
    process = folder.start("run", "study.toml", "--workers", "1", "--plugin", str(EXAMPLE))
    out, err = process.communicate(timeout=120)
    assert process.returncode in (0, 3), err
    assert "2 trained" in out
