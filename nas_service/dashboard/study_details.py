"""GET /api/studies/ID of optuna-dashboard, answered by us: with our front, and fast.

optuna-dashboard itself computes the best trials from the values alone, and serializes all trials
of a study at each request, 41 MB for 5,000 trials. Here each finished trial is serialized once,
and what is sent is compressed.
"""

import gzip
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from types import ModuleType
from typing import Any

from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial

from nas_service.dashboard.trials import DashboardStorage, with_utc

RULE = "/api/studies/<study_id:int>"
NEEDED: dict[str, tuple[str, ...]] = {  # what we use of optuna-dashboard, by module
    "_app": ("create_app",),
    "_bottle_util": ("json_api_view", "response"),
    "_custom_plot_data": ("get_plotly_graph_objects",),
    "_inmemory_cache": ("InMemoryCache", "get_cached_extra_study_property"),
    "_serializer": ("serialize_distribution", "serialize_frozen_trial", "serialize_study_detail"),
    "_storage": ("datetime",),
}
PREFERENTIAL = "preference:is_preferential"  # attribute of studies whose trials people compare
SHOWN = ("dashboard:", "artifacts:")  # prefixes of a study's attributes that its trials show
DIGITS = 9  # of the number of trials that a page has already
KEPT = 4  # studies whose trials stay in memory as text
SMALL_B = 1000  # an answer below is not compressed
FAST = 1  # level of compression

_scanning = threading.Lock()


class Distributions:
    """Serialized distributions; those that our storage reads are shared by all trials."""

    def __init__(self, serialize: Callable[[Any], Any]) -> None:
        self._serialize = serialize
        self._known: dict[int, tuple[Any, Any]] = {}  # by identity: 1 and True are equal choices

    def __call__(self, distribution: Any) -> Any:
        """As optuna-dashboard serializes the distribution."""
        known = self._known.get(id(distribution))
        if known is None or known[0] is not distribution:
            if len(self._known) >= 10_000:
                self._known.clear()
            known = self._known[id(distribution)] = distribution, self._serialize(distribution)
        return known[1]


class StudyDetails:
    """Answers to the requests for one study with its trials.

    Args:
        storage: The studies.
        modules: Those of NEEDED, by name.
        stock: optuna-dashboard's own answer.
    """

    def __init__(
        self,
        storage: DashboardStorage,
        modules: Mapping[str, ModuleType],
        stock: Callable[[int], Any],
    ) -> None:
        self._storage, self._modules, self._stock = storage, modules, stock
        self._cache = modules["_inmemory_cache"].InMemoryCache()
        self._texts: OrderedDict[int, tuple[Any, dict[int, tuple[FrozenTrial, str]]]]
        self._texts, self._lock = OrderedDict(), threading.Lock()

    def answer(self, study_id: int) -> Any:
        """The answer to the request that bottle handles, for the trials after its `after`.

        Args:
            study_id: Of the study.

        Returns:
            The body, or the document of an error.
        """
        request, response = (getattr(self._modules["bottle"], n) for n in ("request", "response"))
        after = request.params.get("after", "0")
        if not after.isdecimal() or len(after) > DIGITS:
            response.status = HTTPStatus.BAD_REQUEST.value
            return {"reason": "`after` should be larger or equal 0."}
        study = next((s for s in self._storage.get_all_studies() if s._study_id == study_id), None)
        if study is None:
            response.status = HTTPStatus.NOT_FOUND.value
            return {"reason": f"study_id={study_id} is not found"}
        if study.system_attrs.get(PREFERENTIAL):
            return self._stock(study_id)
        with self._lock:  # so that requests of several pages do the work once
            body = self._document(study, int(after)).encode()
        response.set_header("Vary", "Accept-Encoding")
        if len(body) < SMALL_B or "gzip" not in request.get_header("Accept-Encoding", ""):
            return body
        response.set_header("Content-Encoding", "gzip")
        return gzip.compress(body, FAST)

    def _document(self, study: FrozenStudy, after: int) -> str:
        trials = self._storage.get_all_trials(study._study_id, deepcopy=False)
        best = self._storage.best_trials(study._study_id, trials)
        shared = scan(self._modules["_inmemory_cache"], self._cache, study._study_id, trials)
        graphs = self._modules["_custom_plot_data"].get_plotly_graph_objects(study.system_attrs)
        serialize = self._modules["_serializer"].serialize_study_detail
        document = serialize(study, [], [], *shared, graphs, [])
        lists = {"trials": trials[after:], "best_trials": best}
        rest = {key: value for key, value in document.items() if key not in lists}
        parts = [json.dumps(rest)[1:-1]]
        parts += [f'"{key}": [{", ".join(self._of(study, t))}]' for key, t in lists.items()]
        return f"{{{', '.join(parts)}}}"

    def _of(self, study: FrozenStudy, trials: Iterable[FrozenTrial]) -> Iterable[str]:
        """The JSON of each trial; a finished one is serialized once."""
        known = self._known(study)
        for trial in trials:
            earlier = known.get(trial.number)
            if earlier is None or earlier[0] is not trial:
                earlier = trial, self._text(study, trial)
                if trial.state.is_finished():
                    known[trial.number] = earlier
            yield earlier[1]

    def _known(self, study: FrozenStudy) -> dict[int, tuple[FrozenTrial, str]]:
        """Texts of a study's trials, of which none is left where notes or artifacts changed."""
        shown = {k: v for k, v in study.system_attrs.items() if k.startswith(SHOWN)}
        if self._texts.get(study._study_id, (None,))[0] != shown:
            self._texts[study._study_id] = shown, {}
        self._texts.move_to_end(study._study_id)
        while len(self._texts) > KEPT:
            self._texts.popitem(last=False)
        return self._texts[study._study_id][1]

    def _text(self, study: FrozenStudy, trial: FrozenTrial) -> str:
        serialize = self._modules["_serializer"].serialize_frozen_trial
        return json.dumps(serialize(study._study_id, with_utc(trial), study.system_attrs))


def install(app: Any, storage: DashboardStorage, modules: Mapping[str, ModuleType]) -> None:
    """Lets StudyDetails answer the requests for a study.

    Args:
        app: optuna-dashboard's application.
        storage: The studies.
        modules: Those of NEEDED and bottle, by name.

    Raises:
        LookupError: The application has no such route.
    """
    known = {(route.rule, route.method): route.callback for route in app.routes}
    details = StudyDetails(storage, modules, known[RULE, "GET"])
    app.route(RULE, "GET", callback=modules["_bottle_util"].json_api_view(details.answer))


def scan(
    module: ModuleType, cache: Any, study_id: int, trials: Sequence[FrozenTrial]
) -> tuple[Any, ...]:
    """The properties that the finished trials of a study share; each trial is scanned once.

    optuna-dashboard itself scans a finished study from end to end at each poll, because its cursor
    moves over unfinished trials only. Unfinished trials are left out: a waiting trial has no
    parameters yet, and one such trial would hide the parameters of all trials from the plots.

    Args:
        module: optuna-dashboard's `_inmemory_cache`.
        cache: Its cache, which remembers what was scanned.
        study_id: Of the study.
        trials: Of the study.

    Returns:
        Both search spaces, the user attributes, and whether any trial has intermediate values.
    """
    known = cache._cached_extra_study_property_cache
    finished = [trial for trial in trials if trial.state.is_finished()]
    others = [trial for trial in trials if not trial.state.is_finished()]
    first = finished[0] if finished else None
    with _scanning:
        if getattr(known.get(study_id), "first", None) is not first:
            known.pop(study_id, None)  # the study is another one, or an early trial finished late
        *common, with_steps = module.get_cached_extra_study_property(cache, study_id, finished)
        known[study_id].first = first
        known[study_id]._cursor = others[0].number if others else len(trials)
    return *common, with_steps or any(trial.intermediate_values for trial in others)
