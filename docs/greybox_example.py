"""The sampler `greybox` in a study of Optuna: depth and width of a network, known weights.

Only the error is measured; the weights are known beforehand, and bounded. All arguments are in the
docstrings of `nas_service.samplers.greybox`.
"""

import optuna
from optuna.distributions import CategoricalDistribution, IntDistribution

from nas_service.samplers.greybox import Bound, DomainKnowledge, GreyBoxSampler, Objective

space = {
    "layers": IntDistribution(1, 12),
    "width": CategoricalDistribution((8, 16, 32, 64)),
    "activation": CategoricalDistribution(("relu", "tanh")),
}


def weights(listed):
    """Known costs of many candidates: a list by the name of an objective or a bound."""
    return {"weights": [p["layers"] * p["width"] ** 2 for p in listed]}


def error(p):
    """What an expensive training would measure."""
    return 1 / (p["layers"] * p["width"]) ** 0.5 + 0.1 * (p["activation"] == "tanh")


sampler = GreyBoxSampler(
    DomainKnowledge(weights),
    [Objective("error", reference=0.5), Objective("weights", reference=6000)],
    [Bound("weights", at_most=5000)],
    distributions=space,
    seed=1,
)
study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
for _ in range(20):
    trial = study.ask(space)
    study.tell(trial, [error(trial.params), weights([trial.params])["weights"][0]])
print([trial.params for trial in study.best_trials])
