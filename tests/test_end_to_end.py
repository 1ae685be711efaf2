"""The whole search with real worker processes: killed, interrupted, resumed, exhausted."""

import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
import tiny

STUDY = f"""{tiny.SPACE}
[data]
name = "digits"
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


class Place:
    """A folder with a study file and a store, and the command to work in it."""

    def __init__(self, folder: Path, **values: object) -> None:
        self.folder = folder
        self.write(**values)

    def write(self, **values: object) -> None:
        default = {"epochs": 1, "rate": 0.01, "sampler": "tpe", "trainings": 4, "energy": 0.8}
        (self.folder / "tiny.toml").write_text(STUDY.format(**(default | values)))

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "nas_service", *words],
            cwd=self.folder,
            env={**os.environ, "NAS_STORAGE": f"sqlite:///{self.folder}/nas.db", "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def nas(self, *words: str) -> tuple[int, str, str]:
        process = self.start(*words)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    def json(self, *words: str) -> dict:
        code, out, err = self.nas(*words, "--json")
        assert code in (0, 3), err
        return json.loads(out)

    def rows(self, query: str, *values: object) -> list[tuple]:
        try:
            with sqlite3.connect(self.folder / "nas.db", timeout=30) as db:
                return db.execute(query, values).fetchall()
        except sqlite3.OperationalError:
            return []

    def wait_for(self, query: str, seconds: float = 90) -> list[tuple]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if rows := self.rows(query):
                return rows
            time.sleep(0.05)
        raise AssertionError(f"nothing for {query}")


TRAINING = "select owner from nas_leases where state = 'training'"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def no_trial_is_left_running(place: Place) -> None:
    states = place.rows("select state, count(*) from trials group by state")
    assert {state for state, _ in states} <= {"COMPLETE"}


def test_search_front_report_and_second_run(place):
    code, out, err = place.nas("run", "tiny.toml", "--workers", "2")
    assert code == 0, err
    document = place.json("front", "tiny")
    counts = document["counts"]
    assert counts["trained"] == 4
    assert counts["complete"] == counts["trained"] + counts["rejected"] + counts["cached"]
    assert document["front"]
    for candidate in document["front"]:
        assert candidate["trained"]
        assert all(v <= 0 for v in candidate["violations"].values())
        assert candidate["metrics"]["energy_uJ"] <= 0.8
        assert 0 <= candidate["test_accuracy"] <= 1
    assert (place.folder / "reports" / "tiny.html").stat().st_size > 5000
    assert str(document["front"][0]["trial"]) in out
    no_trial_is_left_running(place)

    evaluations = place.rows("select digest, evaluation from nas_archive order by digest")
    code, _, err = place.nas("run", "tiny.toml", "--workers", "1")
    assert code == 0, err
    assert place.rows("select digest, evaluation from nas_archive order by digest") == evaluations

    whole = place.json("show", "tiny", str(document["front"][0]["trial"]))
    energy = whole["hardware"]["energy_J"]["values"]
    assert sum(map(sum, energy)) * 1e6 == pytest.approx(whole["metrics"]["energy_uJ"])
    status = place.json("status", "tiny")
    assert (status["budget"], status["workers"]) == (4, 0)
    code, out, _ = place.nas("studies", "--json")
    assert [s["study"] for s in json.loads(out)] == ["tiny"]

    code, _, err = place.nas("resume", "tiny", "--trials", "5", "--workers", "1")
    assert code == 0, err
    assert place.json("status", "tiny")["counts"]["trained"] == 5


def test_killed_worker_loses_nothing(tmp_path):
    place = Place(tmp_path, epochs=8, trainings=3)
    assert place.nas("create", "tiny.toml")[0] == 0
    worker = place.start("worker", "--study", "tiny")
    place.wait_for(TRAINING)
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    (number,) = place.rows("select trial from nas_leases where state = 'training'")[0]
    code, _, err = place.nas("run", "tiny.toml", "--workers", "2")
    assert code == 0, err
    assert place.json("status", "tiny")["counts"]["trained"] == 3
    digests = place.rows("select digest from nas_archive where outcome = 'trained'")
    assert len(digests) == len(set(digests)) == 3
    again = place.rows("select attempt, outcome from nas_leases where trial = ?", number)
    assert again == [(2, "trained")]
    no_trial_is_left_running(place)


def test_run_replaces_a_killed_worker(tmp_path):
    place = Place(tmp_path, epochs=8, trainings=2)
    run = place.start("run", "tiny.toml", "--workers", "1")
    ((owner,),) = place.wait_for(TRAINING)
    os.kill(int(owner.split("/")[2]), signal.SIGKILL)
    _, err = run.communicate(timeout=300)
    assert run.returncode == 0, err
    assert "killed (SIGKILL)" in err
    assert place.json("status", "tiny")["counts"]["trained"] == 2


def test_interrupted_run_continues(tmp_path):
    place = Place(tmp_path, epochs=10, trainings=2)
    run = place.start("run", "tiny.toml", "--workers", "1")
    place.wait_for(TRAINING)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    ((number,),) = place.rows("select trial from nas_leases where state = 'waiting'")
    assert place.rows("select count(*) from nas_leases where state not in ('waiting', 'told')") == [
        (0,)
    ]
    code, _, err = place.nas("run", "tiny.toml", "--workers", "1")
    assert code == 0, err
    again = place.rows("select attempt, outcome from nas_leases where trial = ?", number)
    assert again == [(2, "trained")]  # the first was released


def test_nothing_feasible_ends_with_nearest_misses(tmp_path):
    place = Place(tmp_path, energy=0.001, trainings=1)
    code, out, err = place.nas("run", "tiny.toml", "--workers", "1")
    assert code == 3
    assert "proposals at their limit: 50 proposed, 0 trained" in err
    assert "nearest misses" in out
    document = place.json("front", "tiny")
    assert document["front"] == []
    assert document["counts"]["rejected"] + document["counts"]["cached"] == 50
    assert document["nearest_misses"][0]["violations"]["energy_uJ"] > 1


def test_diverged_training_is_a_result_and_never_on_the_front(tmp_path):
    place = Place(tmp_path, rate=1e9, epochs=2, trainings=2)
    code, _, err = place.nas("run", "tiny.toml", "--workers", "1")
    assert code == 3, err
    counts = place.json("front", "tiny")["counts"]
    assert (counts["trained"], counts["diverged"], counts["failed"]) == (2, 2, 0)
    study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{tmp_path}/nas.db")
    assert study.best_trials == []
    assert {len(t.constraints) for t in study.trials} == {3}


def test_tiny_space_ends_when_it_is_exhausted(tmp_path):
    """Skip and zeroize alone: two functions, through (1 to 4 copies) or not at all."""
    place = Place(tmp_path, trainings=40, energy=1)
    text = (tmp_path / "tiny.toml").read_text().replace("[space]", "[space]\ncells = 1")
    for before, after in [
        ('"light3"', '["zeroize", "skip"]'),
        ("[4, 8]\nhead", "[4]\nhead"),
        ("[2, 4]", "[4]"),
        ("[16, 32]", "[16]"),
        ("[2, 3]", "[2]"),
        ("weight_bits = [4, 8]", "weight_bits = [4]"),
    ]:
        assert before in text
        text = text.replace(before, after)
    (tmp_path / "tiny.toml").write_text(text)
    code, _, err = place.nas("run", "tiny.toml", "--workers", "2")
    assert code == 0, err
    assert "space exhausted: all 5 different candidates are known" in err
    assert place.json("status", "tiny")["counts"]["trained"] == 4


def test_same_seed_and_one_worker_give_the_same_study(tmp_path):
    documents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        place = Place(tmp_path / name)
        assert place.nas("run", "tiny.toml", "--workers", "1")[0] == 0
        documents.append(place.json("front", "tiny"))
    assert documents[0] == documents[1]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run", "none.toml"), 2, "none.toml"),
        (("front", "absent"), 4, "no such file"),
        (("run", "tiny.toml", "--storage", "mysql://host/db"), 4, "SQLite or PostgreSQL"),
        (("run", "tiny.toml", "--storage", "postgresql://u:secret@h/d"), 2, "command line"),
        (("create", "tiny.toml", "--name", "../up"), 2, "name '../up'"),
    ],
)
def test_bad_input_touches_nothing(place, words, code, said):
    got, out, err = place.nas(*words)
    assert got == code, err
    assert said in err
    assert "Traceback" not in err
    assert "secret" not in out + err
    assert not (place.folder / "nas.db").exists()


def test_unreachable_database(place):
    got, _, err = place.nas("create", "tiny.toml", "--storage", "postgresql://127.0.0.1:1/none")
    assert got == 4
    assert "Traceback" not in err


def test_changed_study_is_refused(place):
    assert place.nas("create", "tiny.toml")[0] == 0
    place.write(epochs=2)
    code, _, err = place.nas("run", "tiny.toml")
    assert code == 2
    assert "training.epochs" in err
    assert place.rows("select count(*) from nas_leases") == [(0,)]


def test_chip_settings_are_searched_and_budgets_have_a_confidence(tmp_path):
    """The chip is drawn with the network, costed, simulated, stored and shown."""
    place = Place(tmp_path, trainings=2)
    study = tmp_path / "tiny.toml"
    text = study.read_text().replace("at_most = 0.8", "at_most = 3.0\nconfidence = 0.9")
    text = text.replace("at_most = 4.0", "at_most = 30.0").replace(
        'metric = "accuracy"', 'metric = "accuracy_on_chip"'
    )
    chip = 'space = { crossbar_size = [32, 64], adc_bits = [4, 6], mapping = ["im2col"] }'
    study.write_text(text.replace("[search]", f"[hardware]\nchips = 2\n{chip}\n[search]"))
    code, _, err = place.nas("run", "tiny.toml", "--workers", "1")
    assert code == 0, err
    for candidate in place.json("front", "tiny")["front"]:
        drawn = candidate["architecture"]["chip"]
        assert drawn["crossbar_size"] in (32, 64)
        assert drawn["mapping"] == "im2col"
        metrics = candidate["metrics"]
        assert metrics["energy_uJ@0.9"] > metrics["energy_uJ"]
        over = metrics["energy_uJ@0.9"] / 3.0 - 1
        assert candidate["violations"]["energy_uJ"] == pytest.approx(over)
        shown = place.nas("show", "tiny", str(candidate["trial"]))
        assert shown[0] == 0, shown
    assert "crossbar size" in (tmp_path / "reports" / "tiny.html").read_text()


def test_a_search_without_training_ends_with_a_front(tmp_path):
    """Proxies and costs alone: nothing is trained, and every page knows what to show."""
    place = Place(tmp_path, epochs=0, trainings=6)
    text = (tmp_path / "tiny.toml").read_text()
    objective = '[proxies]\nnames = ["sahd", "depth"]\nsamples = 32\n[[objectives]]\n'
    objective += 'metric = "proxy_sahd"\ndirection = "maximize"\nreference = -1000\nideal = 2000\n'
    free = text.replace('[[objectives]]\nmetric = "accuracy"\ndirection = "maximize"\n', objective)
    (tmp_path / "tiny.toml").write_text(free)
    code, out, err = place.nas("run", "tiny.toml", "--workers", "2")
    assert code == 0, err
    assert "scored" in out + err
    found = place.json("front", "tiny")
    assert found["counts"]["trained"] == 6
    assert found["front"]
    for candidate in found["front"]:
        assert candidate["outcome"] == "scored"
        assert "accuracy" not in candidate["metrics"]
        assert candidate["metrics"]["proxy_depth"] >= 0
    assert not list(tmp_path.glob("**/*.safetensors")), "nothing was trained, nothing is kept"
    for words in (("status", "tiny"), ("show", "tiny", str(found["front"][0]["trial"]))):
        assert place.nas(*words)[0] == 0
    assert place.nas("report", "tiny", "-o", "page.html")[0] == 0
    assert "proxy sahd" in (tmp_path / "page.html").read_text()


def write_recordings(folder: Path) -> None:
    """N-MNIST's files: a row of the digit's own, from its left to its right in 3.4 ms."""
    for part, count in (("Train", 12), ("Test", 4)):
        for digit, i in itertools.product(range(10), range(count)):
            path = folder / "N-MNIST" / part / str(digit) / f"{i:05d}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            events = [(x, 3 * digit + i % 3, 100 * x) for x in range(34)]
            path.write_bytes(b"".join(bytes([x, y, 128, *divmod(t, 256)]) for x, y, t in events))


def test_recordings_of_events_are_searched_over_their_time_steps(tmp_path):
    """Every candidate sees the recordings in as many frames as it has steps, feedback and all."""
    write_recordings(tmp_path / "data")
    place = Place(tmp_path, epochs=10, trainings=6, sampler="random", energy=8)
    text = (tmp_path / "tiny.toml").read_text().replace('"digits"', '"n_mnist"')
    text = text.replace("head_pool = [2, 4]", "head_pool = [3, 6]").replace("[2, 3]", "[2, 5]")
    space = '[space]\nmode = "backward"\nstem_stride = 3\n'
    sizes = '"n_mnist"\nvalidation_samples = 40\n'
    text = text.replace("[space]\n", space).replace('"n_mnist"\n', sizes)
    text = text.replace("epochs = 10\n", "epochs = 10\nbatch_size = 16\n")
    (tmp_path / "tiny.toml").write_text(text.replace("at_most = 4.0", "at_most = 40.0"))
    code, _, err = place.nas("run", "tiny.toml", "--workers", "2", "--data", "data")
    assert code == 0, err
    found = place.json("front", "tiny")
    assert found["counts"]["trained"] == 6
    assert all(0 <= candidate["test_accuracy"] <= 1 for candidate in found["front"])
    rows = place.rows("select evaluation from nas_archive where outcome = 'trained'")
    trained = [json.loads(row) for (row,) in rows]
    for evaluation in trained:
        steps = {len(rates) for rates in evaluation["spike_rates"].values()}
        assert steps == {evaluation["architecture"]["time_steps"]}
    assert {e["architecture"]["time_steps"] for e in trained} == {2, 5}
    assert any(":" in text for e in trained for text in map(str, e["architecture"]["cells"]))
    best = max(evaluation["accuracy"] for evaluation in trained)
    assert best > 0.25, "ten rows are ten digits: chance is 0.1"


def test_what_only_a_training_measures_is_refused_without_one(tmp_path):
    place = Place(tmp_path, epochs=0)
    code, _, err = place.nas("check", "tiny.toml")
    assert code == 2
    assert "accuracy: training.epochs = 0 measures none" in err


def test_files_of_a_study_grow_on_the_command_line(tmp_path):
    """Run to 1 epoch, by the same file to 2 of 3 with a worker killed, and resumed to 3."""
    place = Place(tmp_path, trainings=2)
    archive = "select evaluation, test_accuracy from nas_archive where outcome = 'trained'"
    study = tmp_path / "tiny.toml"
    text = study.read_text().replace("epochs = 1", "epochs = 3\nuntil = {}")
    study.write_text(text.format(1))
    assert place.nas("run", "tiny.toml", "--workers", "1")[0] == 0
    assert {json.loads(e)["fidelity"] for e, _ in place.rows(archive)} == {1}

    study.write_text(text.format(2))
    run = place.start("run", "tiny.toml", "--workers", "1")
    ((owner,),) = place.wait_for("select owner from nas_leases where state = 'training'")
    os.kill(int(owner.split("/")[2]), signal.SIGKILL)
    out, err = run.communicate(timeout=300)
    assert run.returncode == 0, err
    assert "continued" in err
    second = [(json.loads(e)["fidelity"], test) for e, test in place.rows(archive)]
    assert all(0 <= test <= 1 for epochs, test in second if epochs == 2)
    assert max(epochs for epochs, _ in second) == 2

    words = ("resume", "tiny", "--until", "3", "--top", "9", "--workers", "1")
    code, out, err = place.nas(*words)
    assert code == 0, err
    third = [json.loads(e) for e, _ in place.rows(archive)]
    assert {e["fidelity"] for e in third} == {3}, "all of them were among the best"
    assert {e["curve"][-1][0] for e in third} == {3}
    assert "2 trained" in out
    no_trial_is_left_running(place)
