"""What every sampler fulfils: the same draws from the same history, different ones otherwise."""

import json

import optuna
import pytest

from nas_service import samplers
from nas_service.errors import SpecError
from nas_service.samplers import SAMPLERS, SamplerEntry, derived_seed, sampler_of
from nas_service.study.loading import parse_spec

SPACE = {
    "operations": ["zeroize", "skip", "conv1x1", "conv3x3"],
    "channels": [4, 8],
    "head_pool": 2,
    "hidden": [16, 32],
    "time_steps": [2, 3],
    "weight_bits": 8,
}
CHEAP = {"metric": "parameters", "at_most": 9000}
OBJECTIVE = {"metric": "accuracy", "direction": "maximize", "reference": 0.2, "ideal": 1.0}


def spec_of(sampler, seed=1, search=(), training=()):
    study = {
        "name": "contract",
        "seed": seed,
        "space": SPACE,
        "data": {"name": "digits"},
        "training": {"epochs": 4, **dict(training)},
        "search": {"sampler": sampler, "trainings": 30, **dict(search)},
        "objectives": [OBJECTIVE],
        "constraints": [CHEAP],
    }
    return parse_spec(json.dumps(study), "a test")


def proposed(spec, trials, restart_at=()):
    """Architectures of a study whose process is replaced before some trials."""
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(direction="maximize", storage=storage, sampler=sampler_of(spec))
    space, architectures = spec.build_space(), []
    for n in range(trials):
        if n in restart_at:
            study = optuna.load_study(
                study_name=study.study_name, storage=storage, sampler=sampler_of(spec)
            )
        trial = study.ask()
        architecture = space.draw(trial)
        architectures.append(architecture)
        convs = sum(op.startswith("conv") for c in architecture.cells for op in c.operations)
        trial.set_user_attr("accuracy", convs / 12)
        trial.set_user_attr("outcome", "trained")
        trial.set_constraint("parameters", convs / 6 - 1)
        study.tell(trial, convs / 12)
    return architectures


@pytest.fixture(params=SAMPLERS)
def name(request):
    return request.param


TRIALS = {"gp": 13, "tpe": 13, "nsga2": 23, "nsga3": 23}  # three beyond the random start


def test_restarts_change_nothing(name):
    trials = TRIALS.get(name, 8)
    restarts = (1, 4, trials - 2, trials - 1)
    spec = spec_of(name)
    assert proposed(spec, trials) == proposed(spec, trials, restart_at=restarts)


def test_other_seeds_propose_other_candidates(name):
    assert proposed(spec_of(name), 4) != proposed(spec_of(name, seed=2), 4)


def test_trials_rarely_repeat(name):
    trials = TRIALS.get(name, 12)
    assert len(set(proposed(spec_of(name, seed=3), trials))) >= 2 * trials / 3


CAPABILITIES = {
    "learns_from_other_studies": ("warm_start_from", ["another"], {}),
    "successive_halving": ("reduction_factor", 2, {"rungs": [2]}),
    "orders_constraints": ("constraint_order", ["parameters"], {}),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_a_setting_needs_its_capability(name, capability):
    key, value, training = CAPABILITIES[capability]
    spec = spec_of(name, search={key: value}, training=training)
    if getattr(SAMPLERS[name], capability):
        assert isinstance(sampler_of(spec), optuna.samplers.BaseSampler)
    else:
        with pytest.raises(SpecError, match=f"search.{key}: sampler '{name}'"):
            sampler_of(spec)


def test_one_entry_adds_a_sampler(monkeypatch):
    """The new sampler runs a study, and settings it has no capability for are refused."""
    entry = SamplerEntry(lambda spec, _: optuna.samplers.TPESampler(seed=spec.seed))
    monkeypatch.setitem(samplers.SAMPLERS, "plain_tpe", entry)
    assert len(set(proposed(spec_of("plain_tpe"), 8))) > 4
    with pytest.raises(SpecError, match="sampler 'plain_tpe' learns from no other study"):
        sampler_of(spec_of("plain_tpe", search={"warm_start_from": ["another"]}))


def test_derived_seeds_differ():
    seeds = {derived_seed(s, n) for s in range(20) for n in range(200)}
    assert len(seeds) >= 3999
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_an_unknown_sampler_lists_the_known():
    known = ", ".join(sorted(SAMPLERS))
    with pytest.raises(SpecError, match=f"unknown sampler 'cmaes' .known: {known}"):
        sampler_of(spec_of("cmaes"))
