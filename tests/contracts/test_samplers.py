"""What every sampler promises: the same draws from the same history, others for other trials."""

import optuna
import pytest

from nas_service.errors import SpecError
from nas_service.samplers import SAMPLERS, SeededSampler, derived_seed
from nas_service.spaces.cell_space import CellSpace
from nas_service.spaces.operations import PRESETS

SPACE = CellSpace(PRESETS["snasnet5"], 2, (4, 8, 12), (1, 2, 4), (16, 32), (2, 3), (4, 8))


def history(name, seed, trials=30, restart_at=()):
    """Architectures of a study whose process is replaced before some trials."""
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(
        storage=storage, directions=["minimize", "minimize"], sampler=SeededSampler(name, seed)
    )
    found = []
    for n in range(trials):
        if n in restart_at:
            study = optuna.load_study(
                study_name=study.study_name, storage=storage, sampler=SeededSampler(name, seed)
            )
        trial = study.ask()
        a = SPACE.draw(trial)
        found.append(a)
        convs = sum(op.startswith("conv") for c in a.cells for op in c.operations)
        trial.set_constraint("convs", convs / 6 - 1)
        study.tell(trial, [a.channels, -convs])
    return found


@pytest.fixture(params=sorted(SAMPLERS))
def name(request):
    return request.param


SLOW = {"gp": 13}  # trials, of which three are beyond its draws by chance


def test_restarts_change_nothing(name):
    trials = SLOW.get(name, 30)
    restarts = (1, 7, trials - 2, trials - 1)
    assert history(name, 1, trials) == history(name, 1, trials, restart_at=restarts)


def test_other_seeds_draw_otherwise(name):
    assert history(name, 1, trials=5) != history(name, 2, trials=5)


def test_trials_do_not_repeat(name):
    trials = SLOW.get(name, 30)
    assert len(set(history(name, 3, trials))) >= 2 * trials / 3


def test_derived_seeds_differ():
    seeds = {derived_seed(s, n) for s in range(20) for n in range(200)}
    assert len(seeds) >= 3999
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_unknown_sampler_lists_the_known():
    with pytest.raises(SpecError, match="gp, nsga2, nsga3, random, tpe"):
        SeededSampler("cmaes", 0)
