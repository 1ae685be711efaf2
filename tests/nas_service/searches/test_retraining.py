"""`nas retrain`: repeats of finalists are stored one by one and compared."""

import json
import shutil
from contextlib import closing
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from nas_service.cli.main import main
from nas_service.errors import Interrupted, SpecError, StudyError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.searches import retraining
from nas_service.searches.creation import check, create
from nas_service.searches.results import read
from nas_service.searches.retraining import choose_finalists, comparisons, repeat_seed
from nas_service.searches.session import open_search
from nas_service.store.store import Store
from nas_service.study.loading import parse_spec
from nas_service.worker.worker import Worker

TREE = {
    "name": "x",
    "seed": 2,
    "space": {
        "operations": "light3", "channels": [4, 8], "head_pool": 2, "hidden": 64, "time_steps": 3,
    },
    "data": {"name": "digits", "train_samples": 384, "validation_samples": 128},
    "network": {"dropout": 0.2},
    "training": {"epochs": 2, "until": 1, "inherit": True, "batch_size": 16},
    "search": {"trainings": 2, "sampler": "random"},
    "objectives": [
        {"metric": "accuracy", "direction": "maximize"},
        {"metric": "parameters", "direction": "minimize", "reference": 40000},
    ],
    "constraints": [{"metric": "parameters", "at_most": 40000}],
}  # fmt: skip


def spec(**changes):
    return parse_spec(json.dumps(TREE | changes), "x")


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A folder with the store of a study, two candidates of which are trained; to be copied."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("searched")
    evaluator = Evaluator.open(spec(), Path())
    with closing(Store(f"sqlite:///{folder}/nas.db", create=True)) as store:
        create(store, check(spec()), evaluator.data_digest)
        Worker(open_search(store, "x"), evaluator, lambda text: None).run()
    return folder


class Place:
    """A copy of that study."""

    def __init__(self, searched, folder):
        shutil.copytree(searched, folder)
        self.url = f"sqlite:///{folder}/nas.db"
        self.search = open_search(Store(self.url, write=True), "x")
        self.evaluator = Evaluator.open(spec(), Path())
        self.best = read(self.search).best(2)

    def train(self, seeds, check_interrupt=lambda: None):
        lines = []
        retraining.train(
            self.search, self.evaluator, self.best, seeds, check_interrupt, lines.append
        )
        return lines

    @property
    def kept(self):
        return self.search.store.repeats(self.search.id).all()

    def weights(self):
        files = sorted(self.search.store.artifacts.glob("x/*.repeat*.safetensors"))
        return {f.name: {n: t.numpy().tobytes() for n, t in load_file(f).items()} for f in files}

    def close(self):
        self.search.store.close()


@pytest.fixture
def place(searched, tmp_path):
    made = Place(searched, tmp_path / "one")
    yield made
    made.close()


def facts(place):
    return {key: (r.evaluation.accuracy, r.evaluation.seed) for key, r in place.kept.items()}


def test_a_killed_retraining_continues(place, searched, tmp_path):
    """Killed within a training and between two of them; ends with the same weights."""
    assert len(place.best) == 2
    calls = iter(range(72))  # 48 batches to a training of two epochs

    def killed():
        if next(calls, None) is None:
            raise Interrupted("now")

    with pytest.raises(Interrupted):
        place.train(1, killed)
    assert len(place.kept) == 1
    assert len(place.train(1)) == 1
    assert place.train(1) == []
    assert len(place.train(2)) == 2  # another seed: only what is new

    other = Place(searched, tmp_path / "other")
    other.train(2)
    assert facts(place) == facts(other)
    assert place.weights() == other.weights()
    assert not list(place.search.store.artifacts.glob("x/*.repeat*.training.safetensors"))
    other.close()


def test_repeats_are_full_trainings_with_their_own_seeds(place):
    place.train(2)
    result = [r.evaluation for r in place.kept.values()]
    assert {e.fidelity for e in result} == {2}  # the study ends at 1
    assert {e.inherited for e in result} == {0.0}
    assert len({e.seed for e in result}) == 4
    assert all(0.01 < e.spike_rate < 0.9 for e in result)
    assert all(e.accuracy > 0.25 for e in result)
    assert all(len(w) for w in place.weights().values())
    assert len(place.weights()) == 4
    assert facts(place).keys() == {(c.digest, n) for c in place.best for n in (0, 1)}
    digest = place.best[0].digest
    assert place.kept[digest, 1].evaluation.seed == repeat_seed(2, digest, 1)
    assert repeat_seed(1, digest, 1) != repeat_seed(2, digest, 1)


def test_test_images_are_read_after_the_last_training(place):
    place.train(2)
    assert [r.test_accuracy for r in place.kept.values()] == [None] * 4
    gone = sorted(place.search.store.artifacts.glob("x/*.repeat1.safetensors"))[0]
    gone.unlink()
    args = (place.search, place.evaluator, place.best, 2)
    assert list(retraining.measure_test(*args)) == [gone]
    result = retraining.read(*args)
    assert sorted(len(f.test_accuracies) for f in result.finalists) == [1, 2]
    for f in result.finalists:
        assert f.within == 2
        assert len(f.accuracies) == 2
        for repeat in f.trained:
            weights = place.search.weights(f.candidate.digest)
            at = weights.with_suffix(f".repeat{f.repeats.index(repeat)}.safetensors")
            if at.is_file():
                there = place.evaluator.test_accuracy(repeat.evaluation.architecture, at)
                assert repeat.test_accuracy == there


def test_choice_of_finalists(place):
    result = read(place.search)
    assert choose_finalists(result) == result.front
    assert choose_finalists(result, top=2) == place.best
    trials = [c.trial for c in reversed(place.best)]
    assert [c.trial for c in choose_finalists(result, trials=trials)] == trials
    with pytest.raises(StudyError, match="trial 99 has measured nothing"):
        choose_finalists(result, trials=[99])


def test_searches_without_training_have_nothing_to_repeat():
    free = {"objectives": [{"metric": "parameters", "direction": "minimize"}]}
    with pytest.raises(SpecError, match="no training to repeat"):
        retraining.in_full(spec(training={"epochs": 0}, **free))


def test_verdicts_by_hand():
    """One finalist differs from two similar ones; the fourth has one value and is not tested."""
    far, near, nearer = (0.95, 0.951, 0.952), (0.80, 0.81, 0.82), (0.79, 0.80, 0.81)
    result = comparisons([(7, far), (3, near), (5, nearer), (1, (0.7,))], 0.001)
    assert [c.verdict for c in result] == [
        "7 > 3",
        "7 > 5",
        *["no significant difference"] * 4,
    ]
    assert [c.p is None for c in result] == [False, False, True, False, True, True]
    assert result[3].difference.value == pytest.approx(0.01)  # t = 1.22, p = .288, the last tested
    assert result[3].p == pytest.approx(0.288, abs=1e-3)


def test_one_image_more_in_every_repeat_is_not_significant():
    result = comparisons([(0, (0.95, 0.95, 0.95)), (1, (0.94, 0.94, 0.94))], 0.01)
    assert result[0].verdict == "no significant difference"


def nas(url, *words):
    return CliRunner().invoke(main, [*words, "--storage", url], env={"COLUMNS": "160"})


def test_workers_train_each_repeat_once_and_the_table_shows_verdicts(place):
    trials = ",".join(str(c.trial) for c in place.best)
    words = ("retrain", "x", "--trial-numbers", trials, "--seeds", "2", "--workers", "2")
    done = nas(place.url, *words, "--json")
    assert done.exit_code == 0, done.stderr
    assert sum(line.startswith("trial ") for line in done.stderr.splitlines()) == 4
    document = json.loads(done.stdout)
    assert (document["study"], document["epochs"], document["seeds"]) == ("x", 2, 2)
    assert {f["trial"] for f in document["finalists"]} == {c.trial for c in place.best}
    for f in document["finalists"]:
        assert f["accuracy"]["value"] == pytest.approx(sum(f["accuracies"]) / 2)
        assert all(0 <= x <= 1 for x in f["test_accuracies"])
        assert f["accuracy"]["low"] < f["accuracy"]["value"] < f["accuracy"]["high"]
    assert len(document["comparisons"]) == 1

    again = nas(place.url, *words)
    assert again.exit_code == 0, again.stderr
    assert "accuracy" not in again.stderr
    assert "2 of 2" in again.stdout
    verdict = document["comparisons"][0]["verdict"]
    assert verdict in again.stdout
    wrong = nas(place.url, "retrain", "x", "--front", "--top", "2")
    assert (wrong.exit_code, "one of --front" in wrong.stderr) == (2, True)
