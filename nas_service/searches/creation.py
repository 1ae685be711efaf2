"""A study checked, created, opened, and told to go on."""

import logging
import warnings
from collections.abc import Container, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import optuna
from optuna.trial import TrialState

from nas_service.data import source_of
from nas_service.errors import SpecError, StudyError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.evaluation.screening import profile_of
from nas_service.samplers import sampler_of
from nas_service.snn.deployed import EXACT
from nas_service.snn.quantization import Rounding
from nas_service.spaces.architecture import GLOBAL
from nas_service.spaces.operations import OPERATIONS, operations_of
from nas_service.spaces.task import Task
from nas_service.store.database import said
from nas_service.store.store import Store
from nas_service.study.spec import StudySpec, parse_spec

CONTINUES = "continues"  # attribute of a trial: the number of the one that it goes on with
UNTIL = "until"  # attribute of such a trial: the epoch it goes on to, if not the study's last
DIGEST = "digest"  # attribute of a trial whose candidate is known
CHECKED_CHIPS = 1000  # combinations of searched chip settings that are tried before a search
ENUMERABLE = 4096  # genotypes: a space up to this size is known to be exhausted when it is

log = logging.getLogger(__name__)


def check(spec: StudySpec) -> tuple[str, ...]:
    """What a study file alone cannot know: names, chip, and sizes that fit the images.

    Returns notes on what is left out of the candidates that the search begins with.
    """
    from nas_service.searches.initial_trials import resolve

    task = source_of(spec.data).task
    sampler_of(spec)
    space = spec.build_space()
    for chip in islice(space.chips(), CHECKED_CHIPS):
        profile_of(spec, chip)
    for key, values in space.chip:  # of a larger product at least every value
        for value in values:
            profile_of(spec, ((key, value),))
    _check_sizes(spec, task)
    if spec.quantization.scoring == "int8":
        _check_whole_sums(spec, task)
    return resolve(spec).notes


def _check_sizes(spec: StudySpec, task: Task) -> None:
    s = spec.space
    try:
        side = task.last_side(s.cells, s.stem_stride)
        for head_pool in s.head_pool:
            task.head_side(s.cells, head_pool, s.stem_stride)
    except SpecError as error:
        raise SpecError(f"space.{error}") from None
    if {GLOBAL, side} <= set(s.head_pool):
        raise SpecError(f"space.head_pool: 'global' is {side} here, which stands there as well")


def _check_whole_sums(spec: StudySpec, task: Task) -> None:
    """SpecError where a deployed candidate could add up more than float32 adds exactly."""
    s = spec.space
    limit = Rounding(max(s.weight_bits)).limit
    weighted = [OPERATIONS[name] for name in operations_of(s.operations)]
    taps = max([o.kernel**2 for o in weighted if o.kind == "conv"], default=1)
    widths = [max(c) for c in s.channels if isinstance(c, tuple)]
    first = [c for c in s.channels if isinstance(c, int)]
    widths = widths or [max(first) * 2**k for k in range(s.cells)]
    inputs = {f"cell{k}": w * taps for k, w in enumerate(widths)}
    inputs |= {f"reduction{k}": w * 9 for k, w in enumerate(widths[:-1])}
    inputs["hidden"] = widths[-1] * task.last_side(s.cells, s.stem_stride) ** 2
    inputs["readout"] = max(s.hidden)
    for name, spikes in inputs.items():
        if spikes * limit >= EXACT:
            raise SpecError(
                f"quantization.scoring = 'int8': {name} may add up {spikes} weights of {limit}, "
                f"{spikes * limit} in all, and exact sums are below {EXACT}: fewer channels or "
                "bits are needed, or scoring = 'fp32'"
            )


@dataclass(frozen=True, eq=False)
class Search:
    """A study in its store, with all that a worker needs but the data."""

    store: Store
    spec: StudySpec
    id: int
    study: optuna.Study

    @property
    def name(self) -> str:
        return self.spec.name

    def weights(self, digest: str) -> Path:
        """Where a candidate's trained weights are kept."""
        return self.store.artifacts / self.name / f"{digest}.safetensors"


def create(store: Store, spec: StudySpec, data_digest: str) -> Search:
    """The study made, or opened if it is there and asks for the same search."""
    from nas_service.searches.initial_trials import resolve

    check(spec)
    if _foreign(store, spec):
        raise StudyError(
            f"study {spec.name!r} in {store.shown} was not made by this service: give this one a "
            "--name of its own"
        )
    first = None if store.has_study(spec.name) else resolve(spec, store)
    directions = [objective.direction for objective in spec.objectives]
    study = optuna.create_study(
        storage=store.optuna, study_name=spec.name, directions=directions, load_if_exists=True
    )
    if study.metric_names is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([objective.metric for objective in spec.objectives])
    text = spec.model_dump_json()
    if first is not None:
        for note in first.notes:
            log.warning("%s", note)
        trainings = spec.search.trainings
        store.add_study(study._study_id, text, data_digest, trainings, first.parameters)
    found = open_search(store, spec.name)
    if changed := found.spec.differences(spec):
        raise StudyError(
            f"study {spec.name!r} is in the store with another {', '.join(changed)}: "
            "give this one a --name of its own"
        )
    if "spec" not in study.user_attrs:
        study.set_user_attr("spec", text)
    return found


def _foreign(store: Store, spec: StudySpec) -> bool:
    """True for another program's study; one of ours whose maker was lost has no trials yet."""
    if spec.name not in store.names() or store.has_study(spec.name):
        return False
    study = optuna.load_study(study_name=spec.name, storage=store.optuna)
    asked = [objective.direction for objective in spec.objectives]
    alike = [direction.name.lower() for direction in study.directions] == asked
    return bool(study.get_trials(deepcopy=False)) or not alike


def grow(search: Search, until: int) -> Search:
    """The study, its trainings ending at epoch `until` from now on; StudyError for an earlier one.

    Nothing is trained by this: `queue` says what is to go on.
    """
    last = search.spec.training.last
    if until < last:
        raise StudyError(
            f"study {search.name!r} trains to epoch {last} by now: until = {until} leads back, "
            f"{last} or more is possible"
        )
    if until == last:
        return search
    text = search.spec.further(until).model_dump_json()
    if not search.store.change_spec(search.id, search.store.study(search.name).spec, text):
        raise StudyError(f"study {search.name!r} was changed at the same time: try again")
    search.study.set_user_attr("spec", text)
    return open_search(search.store, search.name)


def set_limits(search: Search, spec: StudySpec) -> Search:
    """The study with the limits of another specification of the same search."""
    changed = search.spec.with_budget(spec)
    if changed == search.spec:
        return search
    text = changed.model_dump_json()
    if not search.store.change_spec(search.id, search.store.study(search.name).spec, text):
        raise StudyError(f"study {search.name!r} was changed at the same time: try again")
    search.study.set_user_attr("spec", text)
    return open_search(search.store, search.name)


def queue(search: Search, digests: Iterable[str]) -> None:
    """Leaves known candidates to the next workers, which train them to the study's last epoch.

    Each becomes a new trial with the parameters of the one that it continues, whose values in
    Optuna stay what they were told.
    """
    pending = search.store.pending(search.id)
    archive = search.store.archived(search.id)
    for digest in (d for d in digests if d not in pending):
        number, _ = continuation(search, archive[digest].trial, {DIGEST: digest})
        search.store.leave(search.id, number, digest)


def continuation(search: Search, origin: int, facts: dict[str, str | int]) -> tuple[int, int]:
    """A new running trial with the parameters of an earlier one: its number and Optuna's id."""
    earlier = search.study.get_trials(deepcopy=False)[origin]
    storage = search.study._storage
    again = optuna.trial.create_trial(
        state=TrialState.RUNNING,
        params=earlier.params,
        distributions=earlier.distributions,
        user_attrs={CONTINUES: origin, **facts},
    )
    made = storage.create_new_trial(search.study._study_id, template_trial=again)
    return storage.get_trial_number_from_id(made), made


def open_search(store: Store, name: str) -> Search:
    """A study as its store has it: every worker runs the same specification."""
    with said(store.url):
        row = store.study(name)
    spec = parse_spec(row.spec, f"study {name!r}")
    sampler = sampler_of(spec)
    with said(store.url):
        study = optuna.load_study(study_name=name, storage=store.optuna, sampler=sampler)
    return Search(store, spec, row.id, study)


def check_data(search: Search, bench: Evaluator) -> None:
    """StudyError if the data here are not those the study was begun with."""
    recorded = search.store.study(search.name).data_digest
    if recorded != bench.data_digest:
        raise StudyError(
            f"study {search.name!r} was begun on other images (digest {recorded}, here "
            f"{bench.data_digest}): results would not compare"
        )


def all_digests(spec: StudySpec) -> set[str]:
    """Those of a small space; of a larger one none."""
    space = spec.build_space()
    return {a.digest for a in space} if space.size <= ENUMERABLE else set()


def exhausted(digests: set[str], known: Container[str]) -> str:
    """That all candidates of a small space are known, where they are; else empty."""
    if not digests or not all(digest in known for digest in digests):
        return ""
    return f"space exhausted: all {len(digests)} different candidates are known"
