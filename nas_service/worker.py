"""A study opened, and one worker's life: claim, ask, screen, train, archive, tell."""

import logging
import threading
import time
import warnings
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import optuna
from optuna.trial import FixedTrial, Trial, TrialState

from nas_service.budgets import profile_of
from nas_service.data import source_of
from nas_service.errors import Interrupted, SpecError, StudyError, TooManyFailures
from nas_service.evaluation import Bench, violations
from nas_service.halving import promote_by
from nas_service.metrics import MEASURED, Evaluation, measure, told
from nas_service.owners import owner_name
from nas_service.samplers import GENERATIONS, derived_seed, sampler_of
from nas_service.samplers.cells import score_by
from nas_service.snn.deployed import EXACT
from nas_service.snn.quantization import Rounding
from nas_service.spaces.architecture import GLOBAL
from nas_service.spaces.operations import OPERATIONS, operations_of
from nas_service.spaces.task import Task
from nas_service.store import CONTINUED, Lease, LEASE_s, Promotion, Store
from nas_service.study import StudySpec, parse_spec

TRAINABLE = "trainable"  # constraint of ours beside the study's: 1 where nothing could be trained
CONTINUES = "continues"  # attribute of a trial: the number of the one that it goes on with
UNTIL = "until"  # attribute of such a trial: the epoch it goes on to, if not the study's last
DIGEST = "digest"  # attribute of a trial whose candidate is known
REPAIRS = "repairs"  # the same: the number of the one that was rejected
CHECKED_CHIPS = 1000  # combinations of searched chip settings that are tried before a search
ENUMERABLE = 4096  # genotypes: a space up to this size is known to be exhausted when it is
REASON = 2000  # characters kept in a trial
WAIT_s = 0.3

log = logging.getLogger(__name__)


def check(spec: StudySpec) -> tuple[str, ...]:
    """What a study file alone cannot know: names, chip, and sizes that fit the images.

    Returns notes on what is left out of the candidates that the search begins with.
    """
    from nas_service.starts import resolve  # which reads studies

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
    from nas_service.starts import resolve  # which reads studies

    check(spec)
    if spec.name in store.names() and not store.has_study(spec.name):
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
    row = store.study(name)
    spec = parse_spec(row.spec, f"study {name!r}")
    sampler = sampler_of(spec)
    study = optuna.load_study(study_name=name, storage=store.optuna, sampler=sampler)
    return Search(store, spec, row.id, study)


def check_data(search: Search, bench: Bench) -> None:
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


class Worker:
    """One process that works on one study until it ends, or is asked to."""

    def __init__(self, search: Search, bench: Bench, report: Callable[[str], None]) -> None:
        self.search, self.bench, self.report = search, bench, report
        self.owner = owner_name()
        self.asked_to_end = threading.Event()
        self._lease: Lease | None = None
        space = search.spec.build_space()
        score_by(search.study.sampler, bench)
        self._starts = search.store.starts(search.id)
        self._all = {a.digest for a in space} if space.size <= ENUMERABLE else None

    def run(self, max_trials: int | None = None, max_seconds: float | None = None) -> str:
        """Works until the study ends; returns why. Raises Interrupted when asked to end."""
        end = time.monotonic() + max_seconds if max_seconds else None
        beat = threading.Thread(target=self._heartbeat, daemon=True)
        beat.start()
        done = 0
        while max_trials is None or done < max_trials:
            if end and time.monotonic() > end:
                return f"{max_seconds:g} seconds over"
            self._pause()
            self._settle()
            claimed = self._claim()
            if isinstance(claimed, str):
                return claimed
            if claimed is None:
                self.asked_to_end.wait(WAIT_s)
                continue
            self._work(claimed)
            done += 1
        return f"{max_trials} trials done"

    def _pause(self) -> None:
        if self.asked_to_end.is_set():
            raise Interrupted("interrupted: the trial in hand was released; run again to continue")

    def _claim(self) -> Lease | str | None:
        self._take_up_changes()
        s, limits = self.search, self.search.spec.search
        running = s.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if running:
            s.store.adopt(s.id, {t.number: t.user_attrs.get(DIGEST) for t in running})
        budget = s.store.study(s.name).trainings
        proposals = budget * limits.proposals_per_training
        claimed = s.store.claim(
            s.id,
            self.owner,
            proposals,
            limits.max_attempts,
            limits.max_failures,
            limits.seconds,
            self._stalled() or self._exhausted(),
            promote_by(s.spec),
        )
        if isinstance(claimed, str) and claimed.startswith("too many"):
            raise TooManyFailures(f"study {s.name!r}: {claimed}")
        return claimed

    def _stalled(self) -> str:
        from nas_service.results import at_first_step, stalled  # which reads studies

        s = self.search
        return stalled(s.spec, at_first_step(s)) if s.spec.search.stall else ""

    def _take_up_changes(self) -> None:
        """Trainings of a study that has grown end later from now on."""
        s = self.search
        spec = parse_spec(s.store.study(s.name).spec, f"study {s.name!r}")
        if spec != s.spec:
            self.search, self.bench = replace(s, spec=spec), replace(self.bench, spec=spec)

    def _exhausted(self) -> str:
        if not self._all:
            return ""
        return exhausted(self._all, self.search.store.archived(self.search.id))

    def _work(self, lease: Lease) -> None:
        s = self.search
        trial = self._trial(lease)
        lease = s.store.bind(lease, trial.number) if lease.trial is None else lease
        self._lease = lease
        try:
            self._evaluate(lease, trial)
        except Interrupted:
            s.store.release(s.id, lease, self.owner)
            raise
        except Exception as error:
            log.exception("trial %d failed", trial.number)
            reason = f"{type(error).__name__}: {error}"
            s.store.fail(s.id, lease, reason)
            self.report(f"trial {trial.number} failed: {reason[:200]}")
        finally:
            self._lease = None
        self._settle()

    def _trial(self, lease: Lease) -> Trial:
        """A new trial, or the one whose worker was lost; what it drew already stays drawn.

        The first trials draw what the study begins with, by their numbers, so each of these is
        one trial whoever asks and whoever is lost.
        """
        study = self.search.study
        if lease.promotion is not None:
            trial = self._promoted(lease.promotion)
        elif lease.trial is None:
            trial = study.ask()
        else:
            frozen = next(t for t in study.get_trials(deepcopy=False) if t.number == lease.trial)
            trial = Trial(study, frozen._trial_id)
        if REPAIRS in trial.user_attrs:
            _ = trial.relative_params  # without, it has no generation
        place = self._place(trial)
        return trial if place is None else self._fixed(trial, self._starts[place])

    def _promoted(self, p: Promotion) -> Trial:
        """A new trial of a candidate that goes on."""
        facts: dict[str, str | int] = {DIGEST: p.digest, UNTIL: p.until}
        _, made = continuation(self.search, p.standing.trial, facts)
        return Trial(self.search.study, made)

    def _place(self, trial: Trial) -> int | None:
        """Which of the starts a trial is; those that stand for another are not counted."""
        if not self._starts or not _own(trial.user_attrs):
            return None
        earlier = self.search.study.get_trials(deepcopy=False)[: trial.number]
        place = sum(_own(t.user_attrs) for t in earlier)
        return place if place < len(self._starts) else None

    def _fixed(self, trial: Trial, parameters: dict[str, int | str]) -> Trial:
        """The trial, to draw these; its number in a generation comes from what it would draw."""
        storage = self.search.study._storage
        storage.set_trial_system_attr(trial._trial_id, "fixed_params", parameters)
        fixed = Trial(self.search.study, trial._trial_id)
        _ = fixed.relative_params
        return fixed

    def _evaluate(self, lease: Lease, trial: Trial) -> None:
        s = self.search
        architecture, bench = s.spec.build_space().draw(trial), self._bench_of(trial)
        digest = architecture.digest
        if (known := s.store.known(s.id, digest)) is not None:
            alone = s.store.begin_training(s.id, lease, digest)
            if not (alone and bench.ended_early(known)):
                return self._tell(lease.id, trial.number, digest)
            if s.spec.search.sampler in GENERATIONS:
                _ = trial.relative_params  # without, a trial that drew nothing has none
            found = bench.train_on(known, s.weights(digest), self._pause)
            return self._archive(lease, bench, found)
        screened = bench.screen(architecture, derived_seed(s.spec.seed, trial.number))
        if screened.reason:
            self._archive(lease, bench, screened)
        elif s.store.begin_training(s.id, lease, digest):
            self._archive(lease, bench, bench.train(screened, s.weights(digest), self._pause))

    def _bench_of(self, trial: Trial) -> Bench:
        """The bench whose trainings end where this trial's does."""
        attributes, steps = trial.user_attrs, self.search.spec.steps
        if CONTINUES in attributes:
            return self.bench.to(attributes.get(UNTIL, steps[-1]))
        return self.bench.to(steps[0])

    def _archive(self, lease: Lease, bench: Bench, evaluation: Evaluation) -> None:
        s = self.search
        stepwise = s.spec.search.halving is not None
        if not s.store.archive_result(s.id, lease, self.owner, evaluation, stepwise):
            self.report(f"trial {lease.trial}: result came late, another worker has the trial")
        elif evaluation.outcome in ("trained", "diverged"):
            bench.forget(evaluation, s.weights(evaluation.architecture.digest))

    def _settle(self) -> None:
        """Tells Optuna every result it does not know yet, whoever's it was."""
        s = self.search
        for lease_id, number, digest, reason in s.store.unsettled(s.id, self.owner):
            if reason is None:
                self._tell(lease_id, number, digest)
            else:
                trial = s.study.get_trials(deepcopy=False)[number]
                if not trial.state.is_finished():
                    s.study.tell(number, state=TrialState.FAIL, skip_if_finished=True)
                s.store.settle_failure(lease_id)

    def _tell(self, lease_id: int, number: int, digest: str) -> None:
        s = self.search
        evaluation = s.store.known(s.id, digest)
        assert evaluation is not None, digest  # noqa: S101  archived before it is told
        origin = s.store.archived(s.id)[digest].trial
        outcome: str = evaluation.outcome if origin == number else "cached"
        outcome = CONTINUED if s.store.outcome(lease_id) == CONTINUED else outcome
        if outcome == "rejected" and s.spec.search.repair and evaluation.repair:
            self._propose(evaluation.repair, number)
        tell(s.study, s.spec, number, evaluation, outcome)
        s.store.finish(lease_id, outcome)
        self.report(line(s.spec, number, evaluation, outcome))

    def _propose(self, parameters: dict[str, int | str], rejected: int) -> None:
        """Leaves a repair to whoever asks next, before the trial it stands for is told: a worker
        that is lost in between leaves it once."""
        s = self.search
        digest = s.spec.build_space().draw(FixedTrial(parameters)).digest
        if digest not in s.store.pending(s.id) and s.store.known(s.id, digest) is None:
            s.study.enqueue_trial(parameters, {REPAIRS: rejected}, skip_if_exists=True)

    def _heartbeat(self) -> None:
        """Renews the lease in hand; a store that is away for a while only delays it."""
        while not self.asked_to_end.wait(LEASE_s / 4):
            lease = self._lease
            try:
                if lease is not None:
                    self.search.store.renew(lease, self.owner)
                    if self.search.spec.search.seconds is not None:
                        self.search.store.beat(self.search.id)
            except Exception as error:  # the next beat may succeed
                log.warning("lease not renewed: %s", type(error).__name__)


def _own(attributes: Container[str]) -> bool:
    """True for a trial that was drawn, not left by another one."""
    return CONTINUES not in attributes and REPAIRS not in attributes


def tell(
    study: optuna.Study, spec: StudySpec, number: int, evaluation: Evaluation, outcome: str
) -> None:
    """Writes a result into Optuna's trial, once: attributes, constraints, values, in this order.

    Every trial has all constraints in the same order, all finite; what was not trained is told
    with its real costs and its fallbacks, so that samplers learn the border.
    """
    frozen = study.get_trials(deepcopy=False)[number]
    if frozen.state.is_finished():
        return
    trial = Trial(study, frozen._trial_id)
    attributes: dict[str, str | float] = {
        "outcome": outcome,
        "digest": evaluation.architecture.digest,
    }
    attributes |= {name: round(value, 6) for name, value in measure(evaluation).items()}
    if evaluation.reason:
        attributes["reason"] = evaluation.reason[:REASON]
    for key, value in attributes.items():
        trial.set_user_attr(key, value)
    for key, violation in constraint_values(spec, evaluation).items():
        if key not in frozen.constraints:
            trial.set_constraint(key, violation)
    values = told(evaluation)
    study.tell(number, [values[o.metric] for o in spec.objectives], skip_if_finished=True)


def constraint_values(spec: StudySpec, evaluation: Evaluation) -> dict[str, float]:
    """The study's violations and ours: a candidate that could not be trained is never feasible."""
    found = violations(spec, evaluation)
    within = evaluation.measured or any(v > 0 for v in found.values())
    found[TRAINABLE] = -1.0 if within and evaluation.outcome != "diverged" else 1.0
    return found


def line(spec: StudySpec, number: int, evaluation: Evaluation, outcome: str) -> str:
    """One plain line about a finished trial."""
    values = measure(evaluation)
    shown = [f"{o.metric} {values[o.metric]:.4g}" for o in spec.objectives if o.metric in values]
    over = [f"{k} +{100 * v:.3g} %" for k, v in violations(spec, evaluation).items() if v > 0]
    measured = outcome in MEASURED or (evaluation.measured and outcome in ("cached", CONTINUED))
    judged = "feasible" if measured and not over else ", ".join(over)
    seconds = f" in {evaluation.seconds:.1f} s" if outcome in MEASURED else ""
    verdict = evaluation.reason if evaluation.outcome == "rejected" else judged or evaluation.reason
    if evaluation.trained and (len(spec.steps) > 1 or evaluation.fidelity < spec.training.last):
        shown.append(f"after {evaluation.fidelity} of {spec.training.last} epochs")
    return f"trial {number:4d}  {outcome:8s}{seconds}  {', '.join(shown)}  {verdict}"
