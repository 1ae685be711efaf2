"""One study in its store, opened: its specification, its trials, and trainings to be continued."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import TrialState

from nas_service.errors import SpecError, StudyError
from nas_service.store.database import store_errors
from nas_service.store.store import Store
from nas_service.store.trial_queue import TrialQueue
from nas_service.study.loading import parse_spec, with_until
from nas_service.study.plugin_records import PluginRecord, demand, read_records, stand_in
from nas_service.study.spec import StudySpec

CONTINUES = "continues"  # attribute of a trial: the number of the trial that it continues
UNTIL = "until"  # attribute of such a trial: the epoch it trains to, if not the study's last
PLUGINS = "plugins"  # attribute of a study: records of those that it uses
DIGEST = "digest"  # attribute of a trial whose candidate is known


@dataclass(frozen=True, eq=False)
class Search:
    """A study in its store, with all that a worker needs but the data."""

    store: Store
    spec: StudySpec
    id: int
    study: optuna.Study
    plugins: tuple[PluginRecord, ...] = ()  # that it uses

    @property
    def name(self) -> str:
        """The study's name, unique in its store."""
        return self.spec.name

    @property
    def missing_plugins(self) -> tuple[PluginRecord, ...]:
        """Those that this process has not loaded; it can read results alone."""
        return tuple(record for record in self.plugins if not record.is_loaded)

    def weights(self, digest: str) -> Path:
        """The file of a candidate's trained weights, whether it is there or not."""
        return self.store.artifacts / self.name / f"{digest}.safetensors"


def open_search(store: Store, name: str, *, to_read: bool = False) -> Search:
    """Opens a study with the specification in its store, which all workers share.

    The study has Optuna's own sampler until a worker gives it the one that proposes.

    Args:
        store: The store.
        name: Of the study.
        to_read: Its results are read alone, which needs none of its plug-ins.

    Returns:
        The open study.

    Raises:
        StoreError: The store cannot be used.
        StudyError: There is no such study, another program or release made it, or it needs a
            plug-in that is not loaded.
    """
    with store_errors(store.url):
        row = store.studies.get(name)
        study = optuna.load_study(study_name=name, storage=store.optuna)
        plugins = _records(study.user_attrs.get(PLUGINS), name)
    spec = parse_spec(row.spec, f"study {name!r}", stored=True)
    search = Search(store, spec, row.id, study, plugins)
    if not to_read:
        demand_plugins(search)
    return search


def _records(stored: object, name: str) -> tuple[PluginRecord, ...]:
    """What a study records of its plug-ins; its results are readable from now on."""
    try:
        records = read_records(stored)
        stand_in(records)
    except SpecError as error:
        raise StudyError(f"study {name!r} {error}") from None
    return tuple(records)


def demand_plugins(search: Search) -> None:
    """Refuses to work on a study whose plug-ins are not loaded, or are other versions.

    Raises:
        StudyError: Names the plug-in, its hash and how to give it.
    """
    try:
        demand(search.plugins)
    except SpecError as error:
        raise StudyError(f"study {search.name!r} {error}") from None


def check_data(search: Search, data_digest: str) -> None:
    """Compares the data of this machine with those that the study began with.

    Args:
        search: The study.
        data_digest: `Evaluator.data_digest` of the data of this machine.

    Raises:
        StudyError: They differ.
    """
    recorded = search.store.studies.get(search.name).data_digest
    if recorded != data_digest:
        raise StudyError(
            f"study {search.name!r} began with other images (digest {recorded}, on this machine "
            f"{data_digest}): results could not be compared"
        )


def extend_epochs(search: Search, until: int) -> Search:
    """Lets the study's trainings end at epoch `until` from now on; `queue` continues old ones.

    Args:
        search: The study.
        until: The epoch.

    Returns:
        The study with its new specification.

    Raises:
        StudyError: `until` lies before the study's last epoch, or another process changed the
            study at the same time.
    """
    last = search.spec.training.last
    if until < last:
        raise StudyError(
            f"study {search.name!r} already trains to epoch {last}: until = {until} is earlier, "
            f"{last} or more is possible"
        )
    return search if until == last else _with_spec(search, with_until(search.spec, until))


def adopt_limits(search: Search, spec: StudySpec) -> Search:
    """Gives the study the limits of another specification of the same search.

    Args:
        search: The study.
        spec: The specification with the new limits.

    Returns:
        The study with its new specification.

    Raises:
        StudyError: Another process changed the study at the same time.
    """
    return _with_spec(search, search.spec.with_limits_of(spec))


def _with_spec(search: Search, spec: StudySpec) -> Search:
    if spec == search.spec:
        return search
    text = spec.model_dump_json()
    before = search.store.studies.get(search.name).spec
    if not search.store.studies.change_spec(search.id, before, text):
        raise StudyError(f"study {search.name!r} was changed at the same time: try again")
    search.study.set_user_attr("spec", text)
    return open_search(search.store, search.name)


def queue(search: Search, digests: Iterable[str]) -> None:
    """Enqueues known candidates, which the next workers train to the study's last epoch.

    Each becomes a new trial with the parameters of the one that it continues, whose values in
    Optuna stay as they were reported.

    Args:
        search: The study.
        digests: Of the candidates; one that is already in evaluation is skipped.
    """
    trials = TrialQueue(search.store, search.id)
    pending = search.store.leases(search.id).unfinished()
    archive = search.store.archive(search.id).entries()
    for digest in (d for d in digests if d not in pending):
        number, _ = continuation(search, archive[digest].trial, {DIGEST: digest})
        trials.enqueue(number, digest)


def continuation(search: Search, origin: int, attributes: dict[str, str | int]) -> tuple[int, int]:
    """Creates a running trial with the parameters of an earlier one.

    Args:
        search: The study.
        origin: Number of the earlier trial.
        attributes: Of the new trial, beside the number of the earlier one.

    Returns:
        The new trial's number, and its id in Optuna's storage.
    """
    earlier = search.study.get_trials(deepcopy=False)[origin]
    storage = search.study._storage
    template = optuna.trial.create_trial(
        state=TrialState.RUNNING,
        params=earlier.params,
        distributions=earlier.distributions,
        user_attrs={CONTINUES: origin, **attributes},
    )
    trial_id = storage.create_new_trial(search.study._study_id, template_trial=template)
    return storage.get_trial_number_from_id(trial_id), trial_id
