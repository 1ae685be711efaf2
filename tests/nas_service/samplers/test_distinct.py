"""Proposals of every sampler while nothing is feasible: each new, and ever nearer."""

import json

import numpy as np
import optuna
import pytest

from nas_service.evaluation.screening import Budgets
from nas_service.samplers import SAMPLERS, sampler_of
from nas_service.samplers.distinct import HOPELESS, LAST, STUCK
from nas_service.samplers.greybox.sampler import hidden
from nas_service.samplers.nearest import ENQUEUED, NearestUnknown
from nas_service.spaces.batch import batch_of_codes
from nas_service.study.loading import parse_spec
from nas_service.study.rejection import MEMORY, PATH

SMALL = {"operations": ["zeroize", "skip", "conv3x3"], "cells": 1, "channels": [4, 8],
         "head_pool": 2, "hidden": 16, "time_steps": 2}  # fmt: skip
LARGE = SMALL | {"cells": 2, "operations": "snasnet5", "hidden": [16, 32], "weight_bits": [4, 8]}
X = {"x": optuna.distributions.IntDistribution(0, 3)}
TRIALS = {"gp": 11, "nsga2": 42, "nsga3": 42}


def spec_of(sampler, space, area=0.2):
    tree = {
        "name": "stuck",
        "seed": 5,
        "space": space,
        "data": {"name": "digits"},
        "training": {"epochs": 1},
        "hardware": {"profile": "corrected"},
        "search": {"sampler": sampler, "trainings": 10},
        "objectives": [{"metric": "accuracy", "direction": "maximize"}],
        "constraints": [{"metric": "area_mm2", "at_most": area}],
    }
    return parse_spec(json.dumps(tree), "a test")


class Screened:
    """A study whose candidates are screened by their costs and not trained."""

    def __init__(self, spec):
        self.spec, self.budgets, self.space = spec, Budgets.of(spec), spec.build_space()
        self.study = optuna.create_study(direction="maximize", sampler=sampler_of(spec))
        self.known = set()

    def ask(self):
        trial = self.study.ask()
        return trial, self.space.draw(trial)

    def tell(self, trial, architecture):
        """Reports a candidate; returns its total violation."""
        codes = np.array([self.space.codes(architecture)])
        costed = self.budgets.costed(batch_of_codes(self.space, codes))
        violations = self.budgets.violations(costed)
        rejected = max(v[0] for v in violations.values()) > 0
        outcome = "rejected" if rejected else "trained"
        trial.set_user_attr("digest", architecture.digest)
        trial.set_user_attr("outcome", "cached" if architecture.digest in self.known else outcome)
        trial.set_user_attr("accuracy", 0.1)
        for name, values in violations.items():
            if name not in (MEMORY, PATH):
                trial.set_constraint(name, float(values[0]))
        trial.set_constraint("trainable", 1.0 if violations[PATH][0] > 0 else -1.0)
        self.known.add(architecture.digest)
        self.study.tell(trial, 0.1)
        return float(self.budgets.excess(costed)[0])


@pytest.mark.parametrize(
    ("sampler", "space"),
    [*((name, SMALL) for name in SAMPLERS), *((name, LARGE) for name in ("greybox", "neuronas"))],
)
def test_no_candidate_is_proposed_twice_while_nothing_is_feasible(sampler, space):
    screened, trials = Screened(spec_of(sampler, space)), TRIALS.get(sampler, 24)
    trials = trials if space is SMALL else 6
    for _ in range(trials):
        screened.tell(*screened.ask())
    assert len(screened.known) == trials


@pytest.fixture(scope="module")
def rejected():
    """A study of which HOPELESS random candidates are rejected, and their excess."""
    screened = Screened(spec_of("random", LARGE))
    return screened, [screened.tell(*screened.ask()) for _ in range(HOPELESS)]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_walks_to_the_nearest_once_nothing_was_feasible(sampler, rejected):
    history, random_excess = rejected
    screened = Screened(spec_of(sampler, LARGE))
    screened.known = set(history.known)
    screened.study.add_trials(history.study.get_trials())
    proposals = 1 if sampler == "gp" else 4  # of a second each
    excess = [screened.tell(*screened.ask()) for _ in range(proposals)]
    assert len(screened.known) == HOPELESS + proposals
    assert excess[0] <= min(random_excess)
    assert max(excess) < sum(random_excess) / HOPELESS


def test_a_candidate_without_a_path_is_no_nearest():
    """Without operations it costs least, but no budget lets it in."""
    nearest = NearestUnknown(spec_of("random", SMALL, area=0.01))
    batch, order = nearest._whole
    connected = nearest._budgets.costed(batch).connected[order]
    assert 0 < connected.sum() < len(order)
    assert connected[: connected.sum()].all()
    space = nearest._problem.space
    pathless = space.parameters(batch.architecture(space, order[-1]))
    assert nearest._is_nearer(batch.architecture(space, order[0]), pathless)


def test_an_enqueued_candidate_is_known():
    nearest = NearestUnknown(spec_of("random", SMALL))
    batch, order = nearest._whole
    space = nearest._problem.space
    first = space.parameters(batch.architecture(space, order[0]))
    trial = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)
    trial.number = 1
    assert nearest.instead_of(first, trial, [enqueued(first)]) != first
    assert nearest.instead_of(first, trial, [enqueued(first | {"channels": 5})]) == first
    assert nearest.instead_of(first, trial, [enqueued({"channels": 4})]) == first


def enqueued(params):
    waiting = optuna.trial.TrialState.WAITING
    return optuna.trial.create_trial(state=waiting, system_attrs={ENQUEUED: params})


def least_excess(screened):
    numbers = [screened.space.codes(a) for a in screened.space]
    costed = screened.budgets.costed(batch_of_codes(screened.space, np.array(numbers)))
    return screened.budgets.excess(costed).min()


def test_repeats_end_where_energy_alone_binds():
    """Functions that are equal have many genotypes: the sampler of a large space met them again."""
    space = SMALL | {"operations": "light3", "cells": 2, "channels": 4}
    spec = spec_of("greybox", space)
    tree = spec.model_dump(mode="json") | {
        "constraints": [{"metric": "energy_uJ", "at_most": 0.001}]
    }
    screened = Screened(parse_spec(json.dumps(tree), "a test"))
    for _ in range(12):
        screened.tell(*screened.ask())
    assert len(screened.known) >= 11


def test_the_nearest_candidates_come_first():
    screened = Screened(spec_of("greybox", SMALL))
    excess = [screened.tell(*screened.ask()) for _ in range(20)]
    assert excess == sorted(excess)
    assert excess[0] == pytest.approx(least_excess(screened))


def test_a_known_proposal_gives_way_to_the_nearest():
    """Of 128 genotypes random draws repeat many."""
    screened = Screened(spec_of("random", SMALL | {"operations": ["skip", "conv3x3"]}))
    excess = [screened.tell(*screened.ask()) for _ in range(50)]
    assert len(screened.known) == 50
    assert min(excess) == pytest.approx(least_excess(screened))


@pytest.mark.parametrize("sampler", ["greybox", "random", "tpe"])
def test_workers_side_by_side_rarely_propose_alike(sampler):
    """Four trials are made before the first of them reports."""
    screened, proposed = Screened(spec_of(sampler, SMALL)), []
    under_way = [screened.study.ask() for _ in range(4)]
    for _ in range(30):
        trial = under_way.pop(0)
        architecture = screened.space.draw(trial)
        proposed.append(architecture.digest)
        screened.tell(trial, architecture)
        under_way.append(screened.study.ask())
    assert len(set(proposed)) >= 0.9 * len(proposed)


def test_trials_that_are_not_visible_are_taken_to_have_the_nearest():
    """Of five trials the last sees the first, which reported, and the third, which has begun."""
    running = optuna.trial.TrialState.RUNNING
    begun = optuna.trial.create_trial(state=running, params={"x": 1}, distributions=X)
    reported = optuna.trial.create_trial(value=0.1, params={"x": 0}, distributions=X)
    reported.number, begun.number = 0, 2
    assert hidden([reported, begun], 4) == 2
    begun.params = {}
    assert hidden([reported, begun], 4) == 3
    assert hidden([], 0) == 0


@pytest.mark.parametrize("sampler", ["greybox", "random", "tpe"])
def test_a_space_that_is_known_whole_is_repeated(sampler):
    """Nothing else is left to propose: the search ends elsewhere."""
    space = {**SMALL, "operations": ["zeroize", "skip"], "channels": 4}
    screened = Screened(spec_of(sampler, space))
    for _ in range(12):
        screened.tell(*screened.ask())
    assert len(screened.known) == len({a.digest for a in screened.space}) < 12


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_few_feasible_candidates_do_not_end_in_repeats(sampler):
    """Once most of the last trials proposed known candidates, others follow."""
    screened = Screened(spec_of(sampler, SMALL, area=1.99))
    for _ in range(3 * LAST):
        screened.tell(*screened.ask())
    repeats = [t.user_attrs["outcome"] == "cached" for t in screened.study.trials]
    assert sum(repeats[-LAST:]) < STUCK
