"""The sampler on toys: digits from 0 to 3, of which some sum is the cost."""

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution

from nas_service.samplers import greybox
from nas_service.samplers.greybox import (
    Bound,
    DomainKnowledge,
    GreyBoxSampler,
    Objective,
    Observation,
    expected_gain,
)
from nas_service.samplers.greybox.candidate_pool import CandidatePool
from nas_service.samplers.greybox.encoding import Codes
from nas_service.samplers.greybox.gaussian_process import BELIEF, NOISY, Process
from nas_service.samplers.greybox.history import History
from nas_service.samplers.greybox.metric_model import Metric
from nas_service.samplers.greybox.problem import Problem

DIGITS = {f"d{i}": CategoricalDistribution((0, 1, 2, 3)) for i in range(5)}
MANY = {f"d{i}": CategoricalDistribution((0, 1, 2, 3)) for i in range(20)}


def weight(params):
    return float(sum(params.values()))


def error(params):
    """Best at 3 2 1 0 3 ...; the heavier the better on the whole."""
    wanted = (3, 2, 1, 0, 3) * 4
    return sum(abs(wanted[int(name[1:])] - value) for name, value in params.items()) / len(params)


def costs(listed):
    return {"weight": [weight(p) for p in listed]}


def sampler(seed=0, space=DIGITS, at_most=None, **more):
    bounds = [Bound("weight", at_most=at_most)] if at_most is not None else []
    objectives = [Objective("error", reference=2.0), Objective("weight", reference=16.0)]
    return GreyBoxSampler(
        DomainKnowledge(costs), objectives, bounds, distributions=space, seed=seed, **more
    )


def search(trials, make=sampler, space=DIGITS, storage=None, restart_at=()):
    storage = storage or optuna.storages.InMemoryStorage()
    study = optuna.create_study(
        directions=["minimize", "minimize"], sampler=make(), storage=storage
    )
    for n in range(trials):
        if n in restart_at:
            study = optuna.load_study(study_name=study.study_name, storage=storage, sampler=make())
        trial = study.ask(space)
        study.tell(trial, [error(trial.params), weight(trial.params)])
    return study


def proposed(study):
    return [tuple(t.params[name] for name in sorted(t.params)) for t in study.trials]


def test_nothing_is_proposed_twice():
    assert len(set(proposed(search(40)))) == 40


def test_restarts_change_nothing():
    assert proposed(search(12)) == proposed(search(12, restart_at=(1, 5, 6)))
    assert proposed(search(12)) != proposed(search(12, lambda: sampler(seed=1)))


def test_earlier_fits_change_nothing(monkeypatch):
    """Covariances of the first 6, 8, 12, ... trials, remembered or not."""
    monkeypatch.setattr(expected_gain, "FEW_TO_LEARN", 6)
    monkeypatch.setattr(expected_gain, "LEARNED_AGAIN", 1.4)
    fitted = []
    learn = Process._learned
    monkeypatch.setattr(Process, "_learned", lambda p: fitted.append(len(p.residuals)) or learn(p))
    once = search(16)
    assert fitted == [4, 5, 6, 6, 8, 11]
    assert proposed(search(16, restart_at=range(1, 16))) == proposed(once)


def test_columns_are_the_same_candidates():
    def columns(given_columns):  # the choices are 0, 1, 2, 3: each its own place
        return {"weight": sum(given_columns[name] for name in DIGITS)}

    def make():
        objectives = [Objective("error", reference=2.0), Objective("weight", reference=16.0)]
        knowledge = DomainKnowledge(columns, columns=True)
        return GreyBoxSampler(knowledge, objectives, distributions=DIGITS, seed=0)

    assert proposed(search(8, make)) == proposed(search(8))


def test_better_than_chance():
    """The best of 25 among 1024: chance needs about 400 for it."""
    study = search(25, lambda: sampler(at_most=9.0))
    assert min(t.values[0] for t in study.trials) <= 0.2


def test_bounds_are_kept_from_the_first_trial_on():
    study = search(20, lambda: sampler(at_most=4.0))  # 8 % of the space
    assert all(weight(t.params) <= 4 for t in study.trials)


def test_rare_feasible_candidates_are_generated():
    """4^20 candidates, of which less than 1 in 10 000 keep the bound."""
    study = search(8, lambda: sampler(space=MANY, at_most=12.0, startup=2), MANY)
    assert all(weight(t.params) <= 12 for t in study.trials)
    assert len(set(proposed(study))) == 8


def test_the_nearest_is_proposed_where_nothing_keeps_the_bound():
    study = search(3, lambda: sampler(at_most=-1.0))
    assert proposed(study)[0] == (0,) * 5


def test_parallel_workers_propose_distant_candidates():
    study = search(10)
    running = [study.ask(DIGITS) for _ in range(6)]
    assert len({tuple(t.params.values()) for t in running}) == 6
    distances = [
        sum(a.params[n] != b.params[n] for n in DIGITS) for a in running for b in running if a != b
    ]
    assert np.mean(distances) > 1


def test_same_keys_are_one_candidate():
    def key(params):  # the order does not matter
        return tuple(sorted(params.values()))

    def make():
        objectives = [Objective("error"), Objective("weight")]
        return GreyBoxSampler(
            DomainKnowledge(costs, key=key), objectives, distributions=DIGITS, seed=0
        )

    study = search(40, make)  # there are 56 multisets
    assert len({key(t.params) for t in study.trials}) == 40


def test_another_study_helps_from_the_first_trial_on():
    """Seen elsewhere, on another scale: errors ten times as large, and an offset."""
    rng = np.random.default_rng(0)
    rows = rng.integers(4, size=(60, 5)).tolist()
    candidates = [dict(zip(sorted(DIGITS), row, strict=True)) for row in rows]
    warm = [
        Observation(params, {"error": 5 + 10 * error(params)}, "elsewhere") for params in candidates
    ]
    first = [
        search(1, lambda s=seed: sampler(seed=s, warm=lambda study: warm)).trials[0]
        for seed in range(3)
    ]
    cold = [search(1, lambda s=seed: sampler(seed=s)).trials[0] for seed in range(3)]
    assert np.mean([t.values[0] for t in first]) <= 0.5 < np.mean([t.values[0] for t in cold])


def test_another_study_helps_while_there_are_few_trials():
    """Six trials, each helped by the other study: nearer than six without it."""
    rng = np.random.default_rng(1)
    candidates = [
        dict(zip(sorted(DIGITS), r, strict=True)) for r in rng.integers(4, size=(60, 5)).tolist()
    ]
    warm = [
        Observation(params, {"error": 5 + 10 * error(params)}, "elsewhere") for params in candidates
    ]
    helped = [search(6, lambda s=s: sampler(seed=s, warm=lambda study: warm)) for s in range(3)]
    unaided = [search(6, lambda s=s: sampler(seed=s)) for s in range(3)]
    means = [np.mean([t.values[0] for study in x for t in study.trials]) for x in (helped, unaided)]
    assert means[0] < 0.7 * means[1]


def test_candidates_at_a_rung_are_no_full_observations():
    """Rows 0 and 1 on a rung, 0 in full too; the other study's rows count for neither."""
    pool = CandidatePool(Codes(DIGITS), DomainKnowledge(costs))
    rows = [dict.fromkeys(DIGITS, n) for n in range(4)]
    own = [
        Observation(rows[0], {"error": 1.0}, "epoch 1"),
        Observation(rows[1], {"error": 1.0}, "epoch 1"),
    ]
    own += [Observation(rows[0], {"error": 0.5}), Observation(rows[1], {"error": 1.0}, "epoch 2")]
    warm = [
        Observation(rows[2], {"error": 1.0}, "theirs"),
        Observation(rows[3], {"error": 1.0}, "theirs"),
    ]
    problem = Problem((Objective("error"),), (), ("error",))
    history = History.of(problem, pool, own, warm, [], [])
    assert pool.codes.decode(history.begun) == [rows[1]]
    assert History.of(problem, pool, [], warm, [], []).begun.shape == (0, 5)


@pytest.mark.parametrize(
    ("variance", "elsewhere", "belief"),
    [(0.01, False, NOISY), (0.01, True, BELIEF), (0.0, False, BELIEF)],
)
def test_predictions_of_trainings_and_of_exact_values(variance, elsewhere, belief):
    pool = CandidatePool(Codes(DIGITS), DomainKnowledge(costs))
    rows = [dict.fromkeys(DIGITS, 0) | {"d0": n % 4, "d1": n // 4} for n in range(8)]
    own = [Observation(row, {"error": error(row)}) for row in rows]
    warm = [Observation(row, {"error": error(row)}, "theirs") for row in rows if elsewhere]
    problem = Problem((Objective("error"),), (), ("error",), variance)
    observed = History.of(problem, pool, own, warm, [], []).observed
    assert Metric.fit("error", problem, observed).process.belief is belief


def begun_weights(own):
    """Weights of 12 candidates, each observed on a rung, here or elsewhere."""
    rung: list[Observation] = []
    make = sampler(
        observe=lambda trial: [rung[trial.number]] if own else [],
        warm=lambda study: [] if own else list(rung),
    )
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=make)
    for _ in range(15):
        trial = study.ask(DIGITS)
        rung.append(Observation(trial.params, {"error": error(trial.params) / 2}, "epoch 1"))
        study.tell(trial, [error(trial.params) / 2, weight(trial.params)])
    return [weight(t.params) for t in study.trials[3:]]  # after the random ones


def test_candidates_at_a_rung_count_as_known():
    """Nothing is in full: what is on a rung counts as known, so the next is elsewhere on the
    front. Known from another study only, the heaviest gain is sought again and again."""
    assert np.std(begun_weights(own=True)) > 2 * np.std(begun_weights(own=False))


def test_pruned_trials_are_a_separate_context():
    """Values at step 1 are half of those at the end: they rank the same."""
    make = GreyBoxSampler(
        DomainKnowledge(costs), [Objective("error")], distributions=DIGITS, seed=0
    )
    study = optuna.create_study(sampler=make)
    for n in range(16):
        trial = study.ask(DIGITS)
        trial.report(error(trial.params) / 2, step=1)
        if n % 4:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, error(trial.params))
    assert len(set(proposed(study))) == 16
    assert min(error(t.params) for t in study.trials) <= 0.4


def test_a_learned_cost_with_an_estimate():
    """Energy is the weight times a factor that training tells; the budget holds for the product."""

    def make():
        return GreyBoxSampler(
            DomainKnowledge(lambda listed: {"energy": [1 + weight(p) for p in listed]}),
            [Objective("error")],
            [Bound("energy", at_most=20.0)],
            ("energy",),
            distributions=DIGITS,
            seed=0,
        )

    study = optuna.create_study(sampler=make())
    for _ in range(30):
        trial = study.ask(DIGITS)
        trial.set_user_attr("energy", 2.5 * (1 + weight(trial.params)))
        study.tell(trial, error(trial.params))
    late = [t.user_attrs["energy"] for t in study.trials[10:]]
    assert np.mean(np.array(late) <= 20) >= 0.8


def test_unlisted_parameters_use_the_inner_sampler(caplog):
    study = optuna.create_study(sampler=GreyBoxSampler(seed=0))
    with caplog.at_level(logging.WARNING):
        study.optimize(lambda t: t.suggest_float("x", 0, 1) ** 2, n_trials=6)
    assert len([r for r in caplog.records if "inner sampler" in r.message]) == 1


def test_integers_are_modelled_without_declaration():
    """No costs, no objectives, no space given: what a plain study knows."""
    study = optuna.create_study(sampler=GreyBoxSampler(seed=0))
    study.optimize(
        lambda t: (t.suggest_int("x", -50, 50) - 20) ** 2 + t.suggest_int("y", 0, 100, step=10),
        n_trials=40,
    )
    assert study.best_value <= 9


def test_a_bound_has_one_side():
    with pytest.raises(ValueError, match="exactly one"):
        Bound("weight", at_most=1, at_least=0)


def test_ordered_parameters_are_numbers():
    space = {"n": IntDistribution(0, 30), "k": CategoricalDistribution(("a", "b"))}
    make = GreyBoxSampler(DomainKnowledge(), [Objective("value")], distributions=space, seed=0)
    study = optuna.create_study(sampler=make)
    for _ in range(15):
        trial = study.ask(space)
        study.tell(trial, abs(trial.params["n"] - 17) + (trial.params["k"] == "a"))
    assert study.best_value <= 1


def example():
    return (Path(__file__).parents[3] / "docs" / "greybox_example.py").read_text()


def test_the_example_of_the_documentation():
    namespace = {}
    exec(example(), namespace)  # noqa: S102  ours
    best = namespace["study"].best_trials
    assert best
    assert all(t.values[1] <= 5000 and t.params["activation"] == "relu" for t in best)


@pytest.mark.process
def test_the_folder_alone_is_a_package_under_any_name(tmp_path):
    """Copied elsewhere, where nothing else of this project can be loaded, it proposes the same."""
    folder = Path(greybox.__file__).parent
    shutil.copytree(folder, tmp_path / "other", ignore=shutil.ignore_patterns("__pycache__"))
    blocked = "import sys\nsys.modules |= dict.fromkeys(['nas_service', 'hw_models', 'torch'])\n"
    blocked += f"sys.path.insert(0, {str(tmp_path)!r})\n"
    code = example()
    assert "from nas_service.samplers.greybox import" in code
    code = blocked + code.replace("nas_service.samplers.greybox", "other")
    words = [sys.executable, "-I", "-W", "ignore", "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    namespace = {}
    exec(example(), namespace)  # noqa: S102  ours
    assert done.stdout == f"{[t.params for t in namespace['study'].best_trials]}\n"
