"""Complete searches by successive halving: promotions, fronts, ends, extension."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from halving_studies import TREE, archive, opened, run, spec

from nas_service import api, report
from nas_service.cli.main import main
from nas_service.evaluation.evaluator import Evaluator
from nas_service.samplers.greybox.pareto import dominated_share
from nas_service.searches.results import read
from nas_service.searches.stopping import at_first_rung, end_reason, stalled
from nas_service.study.loading import parse_spec
from nas_service.study.sections import EarlyStop
from nas_service.worker.worker import Worker

pytestmark = pytest.mark.training

ETA, STEPS = 2, (1, 2, 4)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished study with some candidates over the budget, and its worker's log."""
    torch.set_num_threads(1)
    made, output = opened(tmp_path_factory.mktemp("finished")), []
    tight = {"constraints": [{"metric": "energy_uJ", "at_most": 0.5}]}
    search, why = run(made, parse_spec(json.dumps(TREE | tight), "x"), output.append)
    assert why == "budget spent: 8 trainings" == end_reason(search)
    yield search, output
    made.close()


def reported_values(search):
    """Trials as Optuna has them."""
    return [(t.number, t.params, t.values, t.user_attrs) for t in search.study.trials]


def best_of(spec, rows):
    """Digests by rank, by the definition: all pairs compared, volumes by inclusion."""

    def excess(m):
        return sum(max(0.0, v) for v in spec.known_violations(m).values())

    def dominates(p, q):
        return p != q and all(a <= b for a, b in zip(p, q, strict=True))

    left = {d: spec.scaled(m) for d, m in rows.items() if not excess(m)}
    result = []
    while left:
        best = [d for d, p in left.items() if not any(dominates(q, p) for q in left.values())]
        chosen = []
        while len(chosen) < len(best):
            kept = [left[d] for d in chosen]
            rest = [d for d in best if d not in chosen]
            gains = [dominated_share([*kept, left[d]]) - dominated_share(kept) for d in rest]
            assert max(gains) > 1e-12, "crowding distances are for the tests of ranks"
            chosen.append(rest[gains.index(max(gains))])
        result += chosen
        left = {d: p for d, p in left.items() if d not in chosen}
    return result + sorted((d for d, m in rows.items() if excess(m)), key=lambda d: excess(rows[d]))


def test_promoted_candidates_are_those_of_the_definition(finished):
    """Trial after trial, from what was known before it."""
    search, store = finished[0], finished[0].store
    at = {n: {} for n in STEPS}  # digest -> metrics, as they came
    rung_results = {
        (s.digest, s.epochs): s.metrics for s in store.archive(search.id).rung_results()
    }
    farthest, begun, went = {}, 0, Counter()
    for trial in search.study.trials:
        expected = None
        for rung, step in ((2, 4), (1, 2)):
            ranked = best_of(search.spec, at[rung])
            promotable = [d for d in ranked[: len(ranked) // ETA] if farthest[d] < step]
            expected = expected or (promotable and (promotable[0], step)) or None
        digest, epochs = trial.user_attrs["digest"], trial.user_attrs.get("epochs", 0)
        if expected is None:
            assert "continues" not in trial.user_attrs
        else:
            assert (digest, epochs) == expected
            origin = search.study.trials[trial.user_attrs["continues"]]
            assert origin.params == trial.params
            assert origin.values != trial.values
        if epochs and trial.user_attrs["outcome"] != "cached":
            at[int(epochs)][digest] = rung_results[digest, int(epochs)]
            farthest[digest] = int(epochs)
            begun += epochs == 1
            went[int(epochs)] += 1
    assert begun == 8
    assert went[1] > went[2] >= 4
    assert went[2] > went[4] >= 2
    rates = [m["spike_rate"] for m in rung_results.values()]
    assert all(0.01 < rate < 0.9 for rate in rates)


def test_a_promoted_training_equals_an_uninterrupted_one(store, tmp_path):
    search, _ = run(store, spec(search={"trainings": 4}))
    for step in STEPS:
        result = next(e for e in archive(store, search).values() if e.fidelity == step)
        uninterrupted = Evaluator.open(
            spec(training={"until": step, "rungs": []}, search={"reduction_factor": None}), Path()
        )
        fresh = uninterrupted.train(
            uninterrupted.screen(result.architecture, result.seed), tmp_path / "w.safetensors"
        )
        assert replace(fresh, seconds=0.0, curve=()) == replace(result, curve=())
        kept = search.weights(result.architecture.digest)
        assert kept.read_bytes() == (tmp_path / "w.safetensors").read_bytes()
        (tmp_path / "w.training.safetensors").unlink(missing_ok=True)
        assert kept.with_suffix(".training.safetensors").is_file() == (step < 4)
    assert [n for n, _ in result.curve] == [1, 2, 4]


@pytest.mark.parametrize("sampler", ["nsga2", "greybox"])
def test_one_worker_is_reproducible(tmp_path, sampler):
    """And every sampler lives with candidates that come again, farther trained."""
    torch.set_num_threads(1)
    result = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        store = opened(tmp_path / name)
        search, _ = run(store, spec(search={"sampler": sampler, "trainings": 3}))
        assert read(search).counts["continued"] >= 2
        result.append((reported_values(search), archive(store, search)))
        store.close()
    assert result[0] == result[1]


def test_an_unfinished_front_is_marked(store):
    search, evaluator = api.prepare(spec(), lambda: store, Path())
    Worker(search, evaluator, lambda text: None).run(1)
    assert "not full: 1 of 1 feasible candidates, after 1 of 4 epochs" in nas(store, "front")
    assert json.loads(nas(store, "front", "--json"))["full"] is False
    assert "not full: 1 of 1" in report.render(read(search))


def test_the_front_is_of_full_trainings_and_marked_so(finished):
    search, output = finished
    store, result = search.store, read(search)
    assert result.front
    assert {c.metrics["epochs"] for c in result.front} == {4}
    assert (result.front_is_final, result.front_epochs) == (True, 4)
    count = sum(c.metrics.get("epochs") == 4 for c in result.feasible)
    note = (
        f"of the {count} of {len(result.feasible)} feasible candidates that are trained to epoch 4"
    )
    assert note in nas(store, "front")
    assert note in report.render(result)
    points = [result.spec.scaled(c.metrics) for c in result.same_epoch]
    assert result.hypervolume == dominated_share(points) > 0
    assert result.unfinished() == (), "halving decides which candidates are continued"
    assert len(result.unfinished(99)) == len(result.feasible) - count
    status = json.loads(nas(store, "status", "--json"))
    reached = Counter(s.epochs for s in store.archive(search.id).rung_results())
    assert status["rungs"] == {str(n): reached[n] for n in STEPS}
    spent = reached[1] + reached[2] + 2 * reached[4]
    assert status["epochs"] == {"trained": spent, "in_full": 4 * reached[1]}
    counts = f"{reached[1]} after epoch 1, {reached[2]} after epoch 2"
    assert counts in nas(store, "status")
    assert any("continued" in text and "after 4 of 4 epochs" in text for text in output)


def nas(store, command, *words):
    return CliRunner().invoke(main, [command, "x", "--storage", str(store.url), *words]).output


def test_few_candidates_still_give_a_front_of_full_trainings(store):
    search, why = run(store, spec(search={"trainings": 2, "reduction_factor": 4}))
    assert why == "budget spent: 2 trainings"
    result = read(search)
    assert result.counts["trained"] == 2
    assert result.front_is_final
    assert len(result.front) == 1


def test_diverged_and_failed_promotions_are_final(store, monkeypatch):
    """The first promoted candidate diverges, the second lacks its data; others are promoted."""
    trained, went = Evaluator.resume_training, []

    def worse(self, earlier, weights, check_interrupt=lambda: None):
        went.append(earlier.architecture.digest)
        if len(went) == 1:
            return replace(earlier, outcome="diverged", accuracy=None, reason="loss nan")
        if len(went) == 2:
            raise ValueError("gone")
        return trained(self, earlier, weights, check_interrupt)

    monkeypatch.setattr(Evaluator, "resume_training", worse)
    search, _ = run(store, spec())
    counts = read(search).counts
    assert (counts["trained"], counts["failed"]) == (8, 1)
    assert went.count(went[0]) == went.count(went[1]) == 1
    assert read(search).front_is_final
    states = Counter(t.state.name for t in search.study.trials)
    assert (states["FAIL"], states["RUNNING"]) == (1, 0)


def test_a_stall_is_judged_at_the_first_rung(finished):
    """Where all candidates can be compared: the volume of the last ones there, by hand."""
    search, _ = finished
    rows = sorted(at_first_rung(search), key=lambda r: r.trial)
    assert {r.metrics["epochs"] for r in rows if r.outcome == "trained"} == {1}
    begun = [r for r in rows if r.outcome == "trained"]
    feasible = [r for r in begun if search.spec.is_feasible(r.metrics)]
    now = dominated_share([search.spec.scaled(r.metrics) for r in feasible])
    growing = 0
    for last in range(1, 7):
        earlier = [r for r in feasible if r in begun[:-last]]
        before = dominated_share([search.spec.scaled(r.metrics) for r in earlier])
        gain = now / before - 1 if before else 0.0
        growing += gain > 0.01
        for limit in (gain + 0.01, gain - 0.01):
            stall = EarlyStop(patience=last, min_gain=max(0.0, limit))
            halving = search.spec.search.model_copy(update={"early_stop": stall})
            there = search.spec.model_copy(update={"search": halving})
            assert bool(stalled(there, rows)) == (bool(before) and gain - stall.min_gain < 1e-9)
    assert growing


def test_the_time_limit_ends_promotions_too(store):
    search, why = run(store, spec(search={"seconds": 0.001}))
    assert why.startswith("time is up: ")
    assert read(search).counts["continued"] == 0
    assert not read(search).front_is_final
    assert end_reason(search) == why
    run(store, spec(search={"trainings": 2}))
    assert read(search).front_is_final


def test_an_extended_study_trains_its_front_further(store):
    search, _ = run(store, spec(training={"until": 3}, search={"trainings": 3}))
    before = read(search)
    assert (before.front_epochs, before.front_is_final) == (3, True)
    grown, why = run(store, spec(search={"trainings": 3}))
    assert why == "budget spent: 3 trainings"
    after = read(grown)
    assert (after.front_epochs, after.front_is_final) == (4, True)
    assert after.counts["trained"] == 3
    result = after.evaluation(after.front[0])
    assert [n for n, _ in result.curve] == [1, 2, 3, 4]


def test_limits_count_no_promotion_as_a_proposal(store):
    search, why = run(store, spec(search={"proposals_per_training": 1, "trainings": 4}))
    begun = sum("continues" not in t.user_attrs for t in search.study.trials)
    assert begun <= 4 < len(search.study.trials)
    assert why in ("budget spent: 4 trainings", "proposals at their limit: 4 proposed, 3 trained")


def test_weights_are_inherited_at_rungs_too(store):
    search, _ = run(store, spec(training={"inherit": True}, search={"trainings": 3}))
    result = archive(store, search).values()
    assert max(e.inherited for e in result) > 0
    assert read(search).front_is_final
