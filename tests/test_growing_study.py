"""A study whose `until` is raised: its front is trained further, as in one training."""

import json
import re
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from nas_service import api
from nas_service.cli.main import main
from nas_service.errors import Interrupted, SpecError, StudyError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.searches.creation import check, create
from nas_service.searches.results import read
from nas_service.searches.session import extend_epochs, open_search, queue
from nas_service.snn.checkpoint import CheckpointFile
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.store.trial_queue import TrialQueue
from nas_service.study.loading import parse_spec
from nas_service.worker.worker import Worker

pytestmark = pytest.mark.training
CELL = Cell(("conv3x3", "zeroize", "skip", "zeroize", "skip", "conv1x1"))
SMALL = Architecture((CELL, CELL), 4, 4, 16, 2, 8)
TREE = {
    "name": "x",
    "space": {"channels": [4, 8], "head_pool": 4, "hidden": 16, "time_steps": 2},
    "data": {"name": "digits", "train_samples": 256, "validation_samples": 128},
    "network": {"dropout": 0.2},
    "training": {"epochs": 3},
    "search": {"trainings": 2, "sampler": "nsga2"},
    "objectives": [
        {"metric": "accuracy", "direction": "maximize"},
        {"metric": "parameters", "direction": "minimize", "reference": 10000},
    ],
}


def spec(**training):
    return parse_spec(json.dumps(TREE | {"training": TREE["training"] | training}), "x")


def evaluator_of(**training):
    return Evaluator.open(spec(**training), Path())


def facts(evaluation):
    """All measured values except the duration."""
    return replace(evaluation, seconds=0.0)


def weights(path):
    return {name: tensor.numpy().tobytes() for name, tensor in load_file(path).items()}


def test_a_continued_training_equals_an_uninterrupted_one(tmp_path):
    """From 1 to 2 to 3 epochs, with dropout; the whole training is scored on the way as well."""
    path, steps = tmp_path / "a.safetensors", []
    result = evaluator_of(until=1).train(evaluator_of().screen(SMALL, 5), path)
    for until in (2, 3):
        evaluator = evaluator_of(until=until)
        assert evaluator.ended_early(result)
        steps.append(result)
        result = evaluator.resume_training(result, path)
        uninterrupted = evaluator_of(until=until, rungs=list(range(1, until)))
        expected = uninterrupted.train(uninterrupted.screen(SMALL, 5), tmp_path / "b.safetensors")
        assert facts(result) == facts(expected)
        assert weights(path) == weights(tmp_path / "b.safetensors")
        assert result.seconds > steps[-1].seconds
        (tmp_path / "b.training.safetensors").unlink(missing_ok=True)
    assert not evaluator.ended_early(result)
    assert [n for n, _ in result.curve] == [1, 2, 3]
    assert dict(result.curve)[1] == steps[0].accuracy
    assert 0.01 < result.spike_rate < 0.9


def test_scoring_at_rungs_does_not_change_a_training(tmp_path):
    """Batch norm statistics and dropout masks are those of a training without rungs."""
    files = []
    for rungs in ((), (1, 2)):
        evaluator = evaluator_of(rungs=rungs)
        files.append(tmp_path / f"{len(rungs)}.safetensors")
        evaluator.train(evaluator.screen(SMALL, 5), files[-1])
    assert weights(files[0]) == weights(files[1])


def worker(store, evaluator, log=print):
    return Worker(open_search(store, "x"), evaluator, log)


def test_a_study_grows_and_its_values_in_optuna_stay(store):
    torch.set_num_threads(1)
    evaluator = evaluator_of(until=1)
    search = create(store, check(spec(until=1)), evaluator.data_digest)
    output: list[str] = []
    running_worker = worker(store, evaluator, output.append)
    assert running_worker.run() == "budget spent: 2 trainings"
    before = read(search)
    table = CliRunner().invoke(main, ["front", "x", "--storage", str(store.url)]).output
    (heading,) = [line for line in table.splitlines() if line.startswith("trial ")]
    assert "epochs" in heading.split()
    store.archive(search.id).set_test_accuracy(before.front[0].digest, 0.5)
    reported = {t.number: t.values for t in search.study.trials}

    search = extend_epochs(create(store, check(spec(until=3)), evaluator.data_digest), 3)
    assert search.spec.training.last == 3
    early = read(search).unfinished()
    assert [c.digest for c in early] == [c.digest for c in before.front]
    queue(search, [c.digest for c in early])
    queue(search, [c.digest for c in early])  # those that wait are not queued twice
    assert running_worker.run() == "budget spent: 2 trainings"  # begun before the study grew
    assert len([x for x in output if "continued" in x]) == len(early), output

    after = read(search)
    assert after.counts["trained"] == 2
    assert after.counts["continued"] == len(early)
    assert after.unfinished() == ()
    assert not search.study.get_trials(states=(optuna.trial.TrialState.RUNNING,))
    trials = {t.number: t for t in search.study.trials}
    assert {n: trials[n].values for n in reported} == reported, "reported values stay"
    for c in after.candidates:
        if c.outcome == "continued":
            origin = trials[c.trial].user_attrs["continues"]
            assert trials[c.trial].params == trials[origin].params
            assert trials[origin].user_attrs["epochs"] == 1
            assert trials[c.trial].user_attrs["epochs"] == 3
            assert trials[c.trial].values[0] == c.metrics["accuracy"]
            assert any(k.endswith(":generation") for k in trials[c.trial].system_attrs), "NSGA-II"
    assert after.front
    words = ["show", "x", str(after.front[0].trial), "--storage", str(store.url)]
    shown = CliRunner().invoke(main, words).output
    assert re.search(r"accuracy by epochs: [\d.]+ % after 1, [\d.]+ % after 3", shown), shown
    for c in after.front:
        result = after.evaluation(c)
        assert (c.metrics["epochs"], result.fidelity, c.test_accuracy) == (3, 3, None)
        uninterrupted = evaluator_of()
        expected = uninterrupted.train(uninterrupted.screen(result.architecture, result.seed))
        assert facts(replace(result, curve=())) == facts(replace(expected, curve=()))


def test_an_interrupted_continuation_resumes_at_its_last_epoch(store, tmp_path, monkeypatch):
    evaluator = evaluator_of(until=1)
    search = create(store, check(spec(until=1)), evaluator.data_digest)
    worker(store, evaluator).run()
    (chosen, *_) = read(search).front
    search = extend_epochs(search, 3)
    queue(search, [chosen.digest])
    epochs, save = [], CheckpointFile.save

    def interrupted_after_2(self, network, optimizer, generator, epoch):
        save(self, network, optimizer, generator, epoch)
        epochs.append(epoch)
        if epochs == [2]:
            raise Interrupted("killed")

    monkeypatch.setattr(CheckpointFile, "save", interrupted_after_2)
    with pytest.raises(Interrupted):
        worker(store, evaluator_of(until=3)).run()
    assert read(search).evaluation(chosen).fidelity == 1, "the earlier result is kept"
    worker(store, evaluator_of(until=3)).run()
    assert epochs == [2, 3]
    result = read(search).evaluation(chosen)
    uninterrupted = evaluator_of(rungs=(1,))
    expected = uninterrupted.train(uninterrupted.screen(result.architecture, result.seed))
    assert facts(result) == facts(expected)


def test_a_result_that_was_not_archived_is_not_trained_again(store, monkeypatch):
    """Interrupted between the last epoch and the archive: only the archiving is repeated."""
    evaluator, epochs, save = evaluator_of(), [], CheckpointFile.save
    search = create(store, check(spec()), evaluator.data_digest)
    files = search.weights("x").parent
    archive = TrialQueue.archive_result

    def counted(self, network, optimizer, generator, epoch):
        save(self, network, optimizer, generator, epoch)
        epochs.append((self.path.name, epoch))

    def ended(*_, **__):
        monkeypatch.setattr(TrialQueue, "archive_result", archive)
        raise Interrupted("killed")

    monkeypatch.setattr(CheckpointFile, "save", counted)
    monkeypatch.setattr(TrialQueue, "archive_result", ended)
    with pytest.raises(Interrupted):
        worker(store, evaluator).run()
    assert len(list(files.glob("*.training.safetensors"))) == 1
    worker(store, evaluator).run(max_trials=1)
    assert (
        len(epochs) == len(set(epochs)) == 2 * 3
    )  # of the spooled result's training and a new one
    assert read(search).candidates[0].metrics["epochs"] == 3
    assert list(files.glob("*.training.safetensors")) == []


def test_a_study_only_grows(store):
    search = create(store, check(spec(until=2)), digest := evaluator_of().data_digest)
    with pytest.raises(StudyError, match="until = 1 is earlier, 2 or more"):
        api.prepare(spec(until=1), lambda: store, Path())
    with pytest.raises(SpecError, match="until = 4: at most epochs = 3"):
        extend_epochs(search, 4)
    assert open_search(store, "x").spec == search.spec
    with pytest.raises(StudyError, match=r"other values: training\.epochs = 3, not 4"):
        create(store, check(spec(until=2, epochs=4)), digest)
    assert not store.studies.change_spec(search.id, "another text", "{}")
    grown, _ = api.prepare(spec(), lambda: store, Path())
    assert (grown.spec.training.last, grown.spec.training.until) == (3, 3)
    assert json.loads(grown.study.user_attrs["spec"])["training"]["until"] == 3


def test_other_images_cannot_extend_a_study(store):
    create(store, check(spec(until=1)), "of other images")
    with pytest.raises(StudyError, match="began with other images"):
        api.prepare(spec(until=2), lambda: store, Path())
    assert open_search(store, "x").spec.training.last == 1


def test_a_study_that_is_created_again_leaves_its_front_to_the_workers(store):
    """By `nas create` with a larger `until`: workers anywhere take it up."""
    evaluator = evaluator_of(until=1)
    create(store, check(spec(until=1)), evaluator.data_digest)
    worker(store, evaluator).run()
    search, _ = api.prepare(spec(until=2), lambda: store, Path())
    queued = api.resume_training(read(search))
    assert queued == [c.digest for c in read(search).front]
    assert store.leases(search.id).unfinished() == set(queued)
    assert api.resume_training(read(search)) == queued, "still to be done, and not queued again"
    pending = [t for t, state in store.leases(search.id).outcomes().items() if state == "pending"]
    assert len(pending) == len(queued)
