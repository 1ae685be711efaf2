"""Samplers by name: how each is made, and what a study can ask of it.

A trial's draws depend on the study's seed, its number and the trials before it, and on nothing
that a process remembers: a resumed study proposes what an uninterrupted one would have proposed,
and two workers never draw the same stream. A new sampler is one entry of SAMPLERS.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from optuna.samplers import BaseSampler

from nas_service.errors import SpecError, pick
from nas_service.samplers import seeded
from nas_service.samplers.distinct import DistinctSampler
from nas_service.samplers.seeded import derived_seed
from nas_service.spaces.input_density import ASSUMED, InputDensity
from nas_service.study.spec import StudySpec

__all__ = ["PASSED_OVER", "SAMPLERS", "SamplerEntry", "derived_seed", "sampler_of"]

PASSED_OVER = "passed_over"  # attribute of a trial: budget -> candidates that it ruled out before


@dataclass(frozen=True)
class SamplerEntry:
    """How a sampler is made, and its capabilities.

    Args:
        make: The sampler of a study whose data have this density.
        learns_from_other_studies: It can be warm-started from studies in the same store.
        successive_halving: It can use results of candidates that are not fully trained.
        orders_constraints: It checks budgets before a trial, in an order that a study can set.
        generations: It numbers its trials by generations, which every trial has to record.
        uses_scores: It takes training-free scores of candidates, see `greybox_cells.score_by`.
    """

    make: Callable[[StudySpec, InputDensity], BaseSampler]
    learns_from_other_studies: bool = False
    successive_halving: bool = True
    orders_constraints: bool = False
    generations: bool = False
    uses_scores: bool = False


def sampler_of(spec: StudySpec, density: InputDensity = ASSUMED) -> BaseSampler:
    """The sampler that a study names.

    Args:
        spec: The study.
        density: Of the bits of its data, for samplers that know what candidates cost.

    Returns:
        The sampler, seeded by the study.

    Raises:
        SpecError: An unknown name, or a setting that needs a capability the sampler lacks.
    """
    search = spec.search
    entry = pick(SAMPLERS, search.sampler, "sampler", "search.sampler")
    capabilities = {
        "warm_start_from": ("learns from no other study", entry.learns_from_other_studies),
        "reduction_factor": ("compares finished scores only", entry.successive_halving),
        "constraint_order": ("has no order of checks", entry.orders_constraints),
    }
    for key, (reason, is_capable) in capabilities.items():
        if getattr(search, key) not in (None, ()) and not is_capable:
            raise SpecError(f"search.{key}: sampler {search.sampler!r} {reason}")
    sampler = entry.make(spec, density)
    return DistinctSampler(sampler, spec, density)


def _seeded(make: Callable[[int], BaseSampler]) -> Callable[[StudySpec, InputDensity], BaseSampler]:
    return lambda spec, _: seeded.SeededSampler(make, spec.seed)


def _lazily(module: str, name: str) -> Callable[[StudySpec, InputDensity], BaseSampler]:
    """A sampler that knows what cells cost; its module loads torch, so it is imported late."""

    def make(spec: StudySpec, density: InputDensity) -> BaseSampler:
        sampler: BaseSampler = getattr(import_module(f"{__name__}.{module}"), name)(spec, density)
        return sampler

    return make


SAMPLERS: dict[str, SamplerEntry] = {
    "tpe": SamplerEntry(_seeded(seeded.tpe)),
    "nsga2": SamplerEntry(_seeded(seeded.nsga2), generations=True),
    "nsga3": SamplerEntry(_seeded(seeded.nsga3), generations=True),
    "gp": SamplerEntry(_seeded(seeded.gp)),
    "random": SamplerEntry(_seeded(seeded.uniform)),
    "greybox": SamplerEntry(
        _lazily("greybox_cells", "greybox"),
        learns_from_other_studies=True,
        uses_scores=True,
    ),
    "snasnet": SamplerEntry(_lazily("snasnet", "SNASNet"), successive_halving=False),
    "spikenas": SamplerEntry(_lazily("cell_by_cell", "spikenas"), successive_halving=False),
    "neuronas": SamplerEntry(
        _lazily("cell_by_cell", "neuronas"), successive_halving=False, orders_constraints=True
    ),
}
