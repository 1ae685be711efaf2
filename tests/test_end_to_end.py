"""Whole searches by the command line: finished, exhausted, killed, interrupted, resumed.

The command runs in the test's process wherever processes are not the point.
"""

import itertools
import json
import os
import shutil
import signal
from pathlib import Path

import optuna
import pytest
import tiny
from nas_command import Folder

pytestmark = pytest.mark.training
STUDY = f"""{tiny.SPACE}
[data]
name = "digits"
train_samples = 256
validation_samples = 128
[training]
epochs = {{epochs}}
learning_rate = {{rate}}
[search]
sampler = "{{sampler}}"
trainings = {{trainings}}
{tiny.ACCURATE}
[[objectives]]
metric = "energy_uJ"
direction = "minimize"
reference = 1.0
[[constraints]]
metric = "energy_uJ"
at_most = {{energy}}
[[constraints]]
metric = "area_mm2"
at_most = 4.0
"""


class StudyFolder(Folder):
    """A folder with the study file and perhaps a store."""

    def __init__(self, path: Path, **values: object) -> None:
        super().__init__(path)
        self.write(**values)

    def write(self, **values: object) -> None:
        default = {"epochs": 1, "rate": 0.01, "sampler": "tpe", "trainings": 4, "energy": 0.8}
        (self.path / "tiny.toml").write_text(STUDY.format(**(default | values)))

    def replace(self, *changes: tuple[str, str]) -> None:
        """Changes the study file's text."""
        text = (self.path / "tiny.toml").read_text()
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        (self.path / "tiny.toml").write_text(text)


TRAINING = "select worker, trial from nas_leases where state = 'training'"
EVALUATIONS = "select digest, evaluation from nas_archive order by digest"


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path)


@pytest.fixture(scope="module")
def finished_search(tmp_path_factory):
    """A folder whose study has been run to its end, and what the run printed; only to be read."""
    folder = StudyFolder(tmp_path_factory.mktemp("finished"))
    code, out, err = folder.nas("run", "tiny.toml")
    assert code == 0, err
    return folder, out


@pytest.fixture
def finished_copy(finished_search, tmp_path):
    """A copy of that folder, to be changed."""
    shutil.copytree(finished_search[0].path, tmp_path, dirs_exist_ok=True)
    return StudyFolder(tmp_path)


def assert_no_trial_is_running(folder: Folder) -> None:
    states = folder.rows("select state, count(*) from trials group by state")
    assert {state for state, _ in states} <= {"COMPLETE"}


def test_a_search_ends_with_a_front_and_a_report(finished_search):
    folder, out = finished_search
    document = folder.json("front", "tiny")
    counts = document["counts"]
    assert counts["trained"] == 4
    assert counts["complete"] == counts["trained"] + counts["rejected"] + counts["cached"]
    assert document["front"]
    for candidate in document["front"]:
        assert candidate["trained"]
        assert all(v <= 0 for v in candidate["violations"].values())
        assert candidate["metrics"]["energy_uJ"] <= 0.8
        assert 0 <= candidate["test_accuracy"] <= 1
    assert (folder.path / "reports" / "tiny.html").stat().st_size > 5000
    assert str(document["front"][0]["trial"]) in out
    assert_no_trial_is_running(folder)


def test_reading_commands_describe_a_finished_search(finished_search):
    folder, _ = finished_search
    best = folder.json("front", "tiny")["front"][0]
    shown = folder.json("show", "tiny", str(best["trial"]))
    energy = shown["hardware"]["energy_J"]["values"]
    assert sum(map(sum, energy)) * 1e6 == pytest.approx(shown["metrics"]["energy_uJ"])
    status = folder.json("status", "tiny")
    assert (status["budget"], status["workers"]) == (4, 0)
    _, out, _ = folder.nas("studies", "--json")
    assert [s["study"] for s in json.loads(out)] == ["tiny"]


def test_a_second_run_repeats_nothing_and_resume_adds_trainings(finished_copy):
    evaluations = finished_copy.rows(EVALUATIONS)
    code, _, err = finished_copy.nas("run", "tiny.toml")
    assert code == 0, err
    assert finished_copy.rows(EVALUATIONS) == evaluations

    code, _, err = finished_copy.nas("resume", "tiny", "--trainings", "5")
    assert code == 0, err
    assert finished_copy.json("status", "tiny")["counts"]["trained"] == 5


def test_same_seed_and_one_worker_give_the_same_study(finished_search, folder):
    assert folder.nas("run", "tiny.toml")[0] == 0
    assert folder.json("front", "tiny") == finished_search[0].json("front", "tiny")


@pytest.mark.process
def test_run_replaces_a_killed_worker_and_loses_nothing(tmp_path):
    folder = StudyFolder(tmp_path, epochs=12, trainings=2)
    folder.replace(("at_most = 4.0", "at_most = 40.0"))  # nearly every proposal is trained
    run = folder.start("run", "tiny.toml", "--workers", "1")
    (owner, number), *_ = folder.wait_for(TRAINING)
    os.kill(int(owner.split("/")[2]), signal.SIGKILL)
    _, err = run.communicate(timeout=300)
    assert run.returncode == 0, err
    assert "killed (SIGKILL)" in err
    assert folder.json("status", "tiny")["counts"]["trained"] == 2
    digests = folder.rows("select digest from nas_archive where outcome = 'trained'")
    assert len(digests) == len(set(digests)) == 2
    again = folder.rows("select attempt, outcome from nas_leases where trial = ?", number)
    assert again == [(2, "trained")]
    assert_no_trial_is_running(folder)


@pytest.mark.process
def test_an_interrupted_run_continues(tmp_path):
    folder = StudyFolder(tmp_path, epochs=12, trainings=1)
    folder.replace(("at_most = 4.0", "at_most = 40.0"))  # nearly every proposal is trained
    run = folder.start("run", "tiny.toml", "--workers", "1")
    folder.wait_for(TRAINING)
    run.send_signal(signal.SIGHUP)  # as a terminal that is closed
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert err.endswith("nas: interrupted by SIGHUP: run the same command again to continue\n")
    ((number,),) = folder.rows("select trial from nas_leases where state = 'pending'")
    others = "select count(*) from nas_leases where state not in ('pending', 'reported')"
    assert folder.rows(others) == [(0,)]
    code, _, err = folder.nas("run", "tiny.toml")
    assert code == 0, err
    again = folder.rows("select attempt, outcome from nas_leases where trial = ?", number)
    assert again == [(2, "trained")]  # the first was released


def test_nothing_feasible_ends_with_nearest_misses(tmp_path):
    folder = StudyFolder(tmp_path, energy=0.001, trainings=1)
    folder.replace(("trainings = 1\n", "trainings = 1\nproposals_per_training = 20\n"))
    code, out, err = folder.nas("run", "tiny.toml")
    assert code == 3
    assert "proposals at their limit: 20 proposed, 0 trained" in err
    assert "budgets: energy_uJ <= 0.001 (least seen 0.0" in err
    assert "nearest misses" in out
    assert "budgets that bind: energy_uJ <= 0.001 (none of " in out
    assert "smallest loosening: energy_uJ <= 0.0" in out
    document = folder.json("front", "tiny")
    assert document["infeasible"]["binding"][0]["metric"] == "energy_uJ"
    assert document["infeasible"]["candidates"] >= 18  # different ones
    assert document["front"] == []
    assert document["counts"]["rejected"] + document["counts"]["cached"] == 20
    assert document["nearest_misses"][0]["violations"]["energy_uJ"] > 1


def test_diverged_training_is_a_result_and_never_on_the_front(tmp_path):
    folder = StudyFolder(tmp_path, rate=1e9, epochs=2, trainings=2)
    code, _, err = folder.nas("run", "tiny.toml")
    assert code == 3, err
    counts = folder.json("front", "tiny")["counts"]
    assert (counts["trained"], counts["diverged"], counts["failed"]) == (2, 2, 0)
    study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{tmp_path}/nas.db")
    assert study.best_trials == []
    assert {len(t.constraints) for t in study.trials} == {3}


def test_tiny_space_ends_when_it_is_exhausted(tmp_path):
    """Skip and zeroize alone: two functions, through (1 to 4 copies) or not at all."""
    folder = StudyFolder(tmp_path, trainings=40, energy=1)
    folder.replace(
        ("[space]", "[space]\ncells = 1"),
        ('"light3"', '["zeroize", "skip"]'),
        ("[4, 8]\nhead", "[4]\nhead"),
        ("[2, 4]", "[4]"),
        ("[16, 32]", "[16]"),
        ("[2, 3]", "[2]"),
        ("weight_bits = [4, 8]", "weight_bits = [4]"),
    )
    code, _, err = folder.nas("run", "tiny.toml")
    assert code == 0, err
    assert "space exhausted: all 5 different candidates are known" in err
    assert folder.json("status", "tiny")["counts"]["trained"] == 4


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("run", "none.toml"), 2, "none.toml"),
        (("front", "absent"), 4, "no such file"),
        (("run", "tiny.toml", "--storage", "mysql://host/db"), 4, "SQLite or PostgreSQL"),
        (("run", "tiny.toml", "--storage", "postgresql://u:secret@h/d"), 2, "command line"),
        (("create", "tiny.toml", "--name", "../up"), 2, "name '../up'"),
    ],
)
def test_bad_input_touches_nothing(folder, arguments, code, message):
    actual, out, err = folder.nas(*arguments)
    assert actual == code, err
    assert message in err
    assert "Traceback" not in err
    assert "secret" not in out + err
    assert not (folder.path / "nas.db").exists()


def test_unreachable_database(folder):
    code, _, err = folder.nas("create", "tiny.toml", "--storage", "postgresql://127.0.0.1:1/none")
    assert code == 4
    assert "Traceback" not in err


def test_changed_study_is_refused(folder):
    assert folder.nas("create", "tiny.toml")[0] == 0
    folder.write(epochs=2)
    code, _, err = folder.nas("run", "tiny.toml")
    assert code == 2
    assert "training.epochs" in err
    assert folder.rows("select count(*) from nas_leases") == [(0,)]


def test_chip_settings_are_searched_and_budgets_have_a_confidence(tmp_path):
    """The chip is drawn with the network, costed, simulated, stored and shown."""
    folder = StudyFolder(tmp_path, trainings=2)
    chip = 'search_space = { crossbar_size = [32, 64], adc_bits = [4, 6], mapping = ["im2col"] }'
    folder.replace(
        ("at_most = 0.8", "at_most = 3.0\nconfidence = 0.9"),
        ("at_most = 4.0", "at_most = 30.0"),
        ('metric = "accuracy"', 'metric = "accuracy_on_chip"'),
        ("[search]", f"[hardware]\nmonte_carlo_chips = 2\n{chip}\n[search]"),
    )
    code, _, err = folder.nas("run", "tiny.toml")
    assert code == 0, err
    for candidate in folder.json("front", "tiny")["front"]:
        drawn = candidate["architecture"]["chip"]
        assert drawn["crossbar_size"] in (32, 64)
        assert drawn["mapping"] == "im2col"
        metrics = candidate["metrics"]
        assert metrics["energy_uJ@0.9"] > metrics["energy_uJ"]
        over = metrics["energy_uJ@0.9"] / 3.0 - 1
        assert candidate["violations"]["energy_uJ"] == pytest.approx(over)
        shown = folder.nas("show", "tiny", str(candidate["trial"]))
        assert shown[0] == 0, shown
    assert "crossbar size" in (tmp_path / "reports" / "tiny.html").read_text()


def test_a_search_without_training_ends_with_a_front(tmp_path):
    """Proxies and costs alone: nothing is trained, and every page knows what to show."""
    folder = StudyFolder(tmp_path, epochs=0, trainings=6)
    objective = '[proxies]\nnames = ["sahd", "depth"]\nsamples = 32\n[[objectives]]\n'
    objective += 'metric = "proxy_sahd"\ndirection = "maximize"\nreference = -1000\nideal = 2000\n'
    folder.replace(('[[objectives]]\nmetric = "accuracy"\ndirection = "maximize"\n', objective))
    code, out, err = folder.nas("run", "tiny.toml")
    assert code == 0, err
    assert "scored" in out + err
    document = folder.json("front", "tiny")
    assert document["counts"]["trained"] == 6
    assert document["front"]
    for candidate in document["front"]:
        assert candidate["outcome"] == "scored"
        assert "accuracy" not in candidate["metrics"]
        assert candidate["metrics"]["proxy_depth"] >= 0
    assert not list(tmp_path.glob("**/*.safetensors")), "nothing was trained, nothing is kept"
    best = str(document["front"][0]["trial"])
    for arguments in (("status", "tiny"), ("show", "tiny", best)):
        assert folder.nas(*arguments)[0] == 0
    assert folder.nas("report", "tiny", "-o", "page.html")[0] == 0
    assert "proxy sahd" in (tmp_path / "page.html").read_text()


def write_recordings(folder: Path) -> None:
    """N-MNIST's files: a row of the digit's own, from its left to its right in 3.4 ms."""
    for part, count in (("Train", 12), ("Test", 4)):
        for digit, i in itertools.product(range(10), range(count)):
            path = folder / "N-MNIST" / part / str(digit) / f"{i:05d}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            events = [(x, 3 * digit + i % 3, 100 * x) for x in range(34)]
            path.write_bytes(b"".join(bytes([x, y, 128, *divmod(t, 256)]) for x, y, t in events))


def test_time_steps_of_event_recordings_are_searched(tmp_path):
    """Every candidate sees the recordings in as many frames as it has steps, feedback and all."""
    write_recordings(tmp_path / "data")
    folder = StudyFolder(tmp_path, epochs=7, trainings=4, sampler="random", energy=8)
    folder.replace(
        ('"digits"\ntrain_samples = 256\nvalidation_samples = 128', '"n_mnist"'),
        ("head_pool = [2, 4]", "head_pool = [3, 6]"),
        ("[2, 3]", "[2, 5]"),
        ("[space]\n", '[space]\nmode = "backward"\nstem_stride = 3\n'),
        ('"n_mnist"\n', '"n_mnist"\nvalidation_samples = 40\n'),
        ("epochs = 7\n", "epochs = 7\nbatch_size = 16\n"),
        ("at_most = 4.0", "at_most = 40.0"),
    )
    code, _, err = folder.nas("run", "tiny.toml", "--data", "data")
    assert code == 0, err
    document = folder.json("front", "tiny")
    assert document["counts"]["trained"] == 4
    assert all(0 <= candidate["test_accuracy"] <= 1 for candidate in document["front"])
    rows = folder.rows("select evaluation from nas_archive where outcome = 'trained'")
    trained = [json.loads(row) for (row,) in rows]
    for evaluation in trained:
        steps = {len(rates) for rates in evaluation["spike_rates"].values()}
        assert steps == {evaluation["architecture"]["time_steps"]}
    assert {e["architecture"]["time_steps"] for e in trained} == {2, 5}
    assert any(":" in text for e in trained for text in map(str, e["architecture"]["cells"]))
    best = max(evaluation["accuracy"] for evaluation in trained)
    assert best > 0.25, "ten rows are ten digits: chance is 0.1"


def test_training_metrics_are_refused_without_training(tmp_path):
    folder = StudyFolder(tmp_path, epochs=0)
    code, _, err = folder.nas("check", "tiny.toml")
    assert code == 2
    assert "accuracy: training.epochs = 0 measures none" in err


@pytest.mark.process
def test_until_extends_a_study_on_the_command_line(tmp_path):
    """Run to 1 epoch, by the same file to 2 of 3 with a worker killed, and resumed to 3."""
    folder = StudyFolder(tmp_path, trainings=2)
    archive = "select evaluation, test_accuracy from nas_archive where outcome = 'trained'"
    folder.replace(("epochs = 1", "epochs = 3\nuntil = 1"))
    assert folder.nas("run", "tiny.toml")[0] == 0
    assert {json.loads(e)["fidelity"] for e, _ in folder.rows(archive)} == {1}

    folder.replace(("until = 1", "until = 2"))
    assert folder.nas("create", "tiny.toml")[0] == 0
    worker = folder.start("worker", "--study", "tiny")
    folder.wait_for(TRAINING)
    worker.kill()
    worker.communicate()
    code, _, err = folder.nas("run", "tiny.toml")
    assert code == 0, err
    assert "continued" in err
    second = [(json.loads(e)["fidelity"], test) for e, test in folder.rows(archive)]
    assert all(0 <= test <= 1 for epochs, test in second if epochs == 2)
    assert max(epochs for epochs, _ in second) == 2

    code, out, err = folder.nas("resume", "tiny", "--until", "3", "--top", "9")
    assert code == 0, err
    third = [json.loads(e) for e, _ in folder.rows(archive)]
    assert {e["fidelity"] for e in third} == {3}, "all of them were among the best"
    assert {e["curve"][-1][0] for e in third} == {3}
    assert "2 trained" in out
    assert_no_trial_is_running(folder)
