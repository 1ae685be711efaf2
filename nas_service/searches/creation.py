"""A study file checked against what it names, and the study created in a store."""

import json
import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import optuna

from nas_service.data import source_of
from nas_service.data.dataset import Source
from nas_service.errors import SpecError, StudyError
from nas_service.evaluation.screening import profile_of
from nas_service.samplers import sampler_of
from nas_service.searches.initial_trials import InitialTrials, resolve
from nas_service.searches.input_density import record
from nas_service.searches.session import PLUGINS, Search, open_search
from nas_service.spaces.architecture import GLOBAL
from nas_service.spaces.cell_space import CellSpace
from nas_service.spaces.input_density import InputDensity
from nas_service.spaces.operations import OPERATIONS, operations_of
from nas_service.spaces.task import Task
from nas_service.store.store import Store
from nas_service.study.plugin_records import records_of
from nas_service.study.spec import StudySpec

SHOWN = 5  # keys that differ
CHECKED_CHIPS = 1000  # combinations of searched chip settings that are tried before a search

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CheckedStudy:
    """A study file that passed `check`, with what was made of it on the way."""

    spec: StudySpec
    space: CellSpace
    source: Source  # of the data, which are not read yet
    initial: InitialTrials
    plugins: list[dict[str, Any]] = field(default_factory=list)  # records of those that it uses


def check(spec: StudySpec, where: str = "") -> CheckedStudy:
    """Checks what a study file alone cannot know: names, chip, and sizes that fit the images.

    Args:
        spec: The study.
        where: Its file, for errors.

    Returns:
        The study, with what the checks made of it.

    Raises:
        SpecError: Names the key, its value and what would be possible.
    """
    try:
        return _check(spec)
    except SpecError as error:
        raise SpecError(f"{where}: {error}" if where else str(error)) from None


def _check(spec: StudySpec) -> CheckedStudy:
    plugins = [record.to_json() for record in records_of(spec)]
    source, space = source_of(spec.data), spec.build_space()
    sampler_of(spec)
    _check_chips(spec, space)
    _check_sizes(spec, source.task)
    if spec.quantization.scoring == "int8":
        _check_whole_sums(spec, source.task)
    return CheckedStudy(spec, space, source, resolve(spec, space), plugins)


def _check_chips(spec: StudySpec, space: CellSpace) -> None:
    for chip in islice(space.chips(), CHECKED_CHIPS):
        profile_of(spec, chip)
    for key, values in space.chip:  # of a larger product at least every value
        for value in values:
            profile_of(spec, ((key, value),))


def _check_sizes(spec: StudySpec, task: Task) -> None:
    s = spec.space
    try:
        side = task.last_side(s.cells, s.stem_stride)
        for head_pool in s.head_pool:
            task.head_side(s.cells, head_pool, s.stem_stride)
    except SpecError as error:
        raise SpecError(f"space.{error}") from None
    if {GLOBAL, side} <= set(s.head_pool):
        raise SpecError(
            f"space.head_pool: 'global' means {side} for these images, which is listed as well"
        )


def _check_whole_sums(spec: StudySpec, task: Task) -> None:
    """SpecError where a deployed candidate could add up more than float32 adds exactly."""
    from nas_service.snn.deployed import EXACT  # loads torch
    from nas_service.snn.quantization import Rounding

    limit = Rounding(max(spec.space.weight_bits)).limit
    for name, inputs in _most_inputs(spec, task).items():
        if inputs * limit >= EXACT:
            raise SpecError(
                f"quantization.scoring = 'int8': {name} may add up {inputs} weights of {limit}, "
                f"{inputs * limit} in all, and exact sums are below {EXACT}: fewer channels or "
                "bits are needed, or scoring = 'fp32'"
            )


def _most_inputs(spec: StudySpec, task: Task) -> dict[str, int]:
    """The most weights that one neuron of each layer adds up, over all candidates."""
    s = spec.space
    operations = [OPERATIONS[name] for name in operations_of(s.operations)]
    widths = [max(c) for c in s.channels if isinstance(c, tuple)]
    first = [c for c in s.channels if isinstance(c, int)]
    widths = widths or [max(first) * 2**k for k in range(s.cells)]
    inputs = {f"cell{k}": max(o.taps(w) for o in operations) for k, w in enumerate(widths)}
    inputs |= {f"reduction{k}": w * 9 for k, w in enumerate(widths[:-1])}
    inputs["hidden"] = widths[-1] * task.last_side(s.cells, s.stem_stride) ** 2
    return inputs | {"readout": max(s.hidden)}


def create(
    store: Store, checked: CheckedStudy, data_digest: str, density: InputDensity | None = None
) -> Search:
    """Creates the study, or opens it where the store has it and it is the same search.

    Args:
        store: Where the study is kept.
        checked: What `check` returned.
        data_digest: `Evaluator.data_digest` of the data that the study begins with.
        density: Of the bits of these data, which a new study keeps.

    Returns:
        The open study.

    Raises:
        StudyError: Another study of that name is in the store.
    """
    spec = checked.spec
    if _is_foreign(store, spec):
        raise StudyError(
            f"study {spec.name!r} in {store.shown} was not made by this service: give this one a "
            "--name of its own"
        )
    initial = None
    if not store.studies.has(spec.name):
        initial = initial_trials_of(checked, density, store)
    study, text = _in_optuna(store, spec), spec.model_dump_json()
    if initial is not None:
        if density is not None:
            record(study, density, data_digest)
        if checked.plugins and not store.studies.has(spec.name):
            study.set_user_attr(PLUGINS, checked.plugins)
        for note in initial.notes:
            log.warning("%s", note)
        trainings = spec.search.trainings
        store.studies.add(study._study_id, text, data_digest, trainings, initial.parameters)
    search = open_search(store, spec.name)
    if changed := search.spec.differences(spec):
        raise StudyError(
            f"study {spec.name!r} is in the store with other values: {_shown(changed)}; give this "
            "one a --name of its own"
        )
    if "spec" not in study.user_attrs:
        study.set_user_attr("spec", text)
    return search


def _shown(changed: Mapping[str, tuple[Any, Any]]) -> str:
    """Keys with the values in the store and in the file; the first of many."""
    values = [f"{key} = {_text(old)}, not {_text(new)}" for key, (old, new) in changed.items()]
    more = f", and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return ", ".join(values[:SHOWN]) + more


def _text(value: Any) -> str:
    return "none" if value is None else f"{json.dumps(value):.80}"


def _in_optuna(store: Store, spec: StudySpec) -> optuna.Study:
    directions = [objective.direction for objective in spec.objectives]
    study = optuna.create_study(
        storage=store.optuna, study_name=spec.name, directions=directions, load_if_exists=True
    )
    if study.metric_names is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([objective.metric for objective in spec.objectives])
    return study


def initial_trials_of(
    checked: CheckedStudy, density: InputDensity | None, store: Store | None = None
) -> InitialTrials:
    """The first trials, with what `check` could not know of them yet.

    Args:
        checked: What `check` returned.
        density: Of the bits of the study's data, where they are read.
        store: Has the fronts of other studies.

    Returns:
        The first trials.

    Raises:
        SpecError: No candidate keeps the budgets at this density.
        StudyError: The store has no study of a front's name.
    """
    initial = checked.initial
    if not (initial.awaits_store and store) and not (initial.awaits_data and density):
        return initial
    return resolve(checked.spec, checked.space, store, density)


def _is_foreign(store: Store, spec: StudySpec) -> bool:
    """True for another program's study; one of ours whose creator was lost has no trials yet."""
    if spec.name not in store.studies.names() or store.studies.has(spec.name):
        return False
    study = optuna.load_study(study_name=spec.name, storage=store.optuna)
    directions = [objective.direction for objective in spec.objectives]
    alike = [direction.name.lower() for direction in study.directions] == directions
    return bool(study.get_trials(deepcopy=False)) or not alike
