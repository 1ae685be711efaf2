"""The what-if page: the front that a study would have on another chip or under other budgets."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from hw_models import HardwareError
from hw_models.parameters import SCHEMA
from hw_models.profile_file import known_profiles, load_profile
from nas_service.dashboard.answers import Answer, Request, page
from nas_service.dashboard.figures import Drawn, fronts
from nas_service.dashboard.query import any_number, whole_number
from nas_service.dashboard.studies import ShownStudy, Studies
from nas_service.dashboard.study import shown_metrics
from nas_service.dashboard.two_fronts import Side, two_fronts
from nas_service.errors import NasError, pick
from nas_service.metrics import METRICS
from nas_service.searches.recosting import Recosted, recost
from nas_service.study.spec import StudySpec
from nas_service.text import exact, metric_label

SETTINGS = {"crossbar_size": "crossbar size", "adc_bits": "converter"}
BUDGET = "budget."  # before the name of a budget, in the page's address
LISTED = 60  # candidates that change


@dataclass(frozen=True)
class Control:
    """A field of the form."""

    name: str
    label: str
    unit: str
    given: str  # what the reader typed; empty where nothing changes
    own: str  # the value that holds without it
    least: str = ""
    most: str = ""


@dataclass(frozen=True)
class Changes:
    """What the reader changes: of the chip, and of the budgets."""

    profile: str | None
    settings: Mapping[str, int]
    budgets: Mapping[str, float]

    @property
    def are_some(self) -> bool:
        """True where anything is changed."""
        return bool(self.profile or self.settings or self.budgets)

    @classmethod
    def of(cls, query: Mapping[str, str], spec: StudySpec) -> "Changes":
        """The changes that a page's address names.

        Raises:
            SpecError: An unknown parameter, an unknown profile, or a value that is no number.
        """
        names = {BUDGET + spec.constraint_name(c) for c in spec.constraints}
        known = {"profile": "", **SETTINGS, **dict.fromkeys(sorted(names), "")}
        for name in query:
            pick(known, name, "parameter", "the address")
        profile = query.get("profile")
        if profile == spec.hardware.profile:
            profile = None
        if profile is not None:  # a name alone: a path would let readers of the page open files
            pick(dict.fromkeys(known_profiles()), profile, "profile", "the address")
        numbers = {name: _setting(query, name) for name in SETTINGS}
        limits = {name: any_number(query, name) for name in names}
        return cls(
            profile,
            {name: value for name, value in numbers.items() if value is not None},
            {n.removeprefix(BUDGET): v for n, v in limits.items() if v is not None},
        )


def _setting(query: Mapping[str, str], name: str) -> int | None:
    quantity = SCHEMA[name]
    return whole_number(query, name, int(quantity.least), int(quantity.most))


def show(studies: Studies, request: Request) -> Answer:
    """The page."""
    study = studies.get(*request.numbers)
    spec, problem, recosted = study.result.spec, "", None
    try:
        changes = Changes.of(request.query, spec)
        if changes.are_some:
            recosted = recost(study.result, changes.profile, changes.settings, changes.budgets)
    except (NasError, HardwareError) as error:
        problem = str(error)
    return page(
        request,
        "what_if.html",
        HTTPStatus.BAD_REQUEST if problem else HTTPStatus.OK,
        title=f"What if · {study.name}",
        study=study,
        spec=spec,
        problem=problem,
        recosted=recosted,
        profiles=_profiles(spec),
        profile=request.query.get("profile", spec.hardware.profile),
        settings=_settings(request.query, spec),
        budgets=_budgets(request.query, spec),
        metrics=shown_metrics(recosted.after if recosted else study.result),
        figures=_figures(study, recosted),
        listed=LISTED,
    )


def _figures(study: ShownStudy, recosted: Recosted | None) -> list[Drawn]:
    """The front before and after, or as it is where nothing is changed."""
    if recosted is None:
        return fronts(study, "trials/")
    before = Side("as searched", recosted.before, "trials/")
    return two_fronts(before, Side("as it would be", recosted.after, "trials/"), moves=True)


def _profiles(spec: StudySpec) -> list[str]:
    """The study's profile, then the others that come with the program."""
    return list(dict.fromkeys([spec.hardware.profile, *known_profiles()]))


def _settings(query: Mapping[str, str], spec: StudySpec) -> list[Control]:
    own = _values(query.get("profile"), spec)
    return [
        Control(
            name,
            label,
            SCHEMA[name].unit,
            query.get(name, ""),
            exact(own[name]) if name in own else "",
            f"{SCHEMA[name].least:g}",
            f"{SCHEMA[name].most:g}",
        )
        for name, label in SETTINGS.items()
    ]


def _values(profile: str | None, spec: StudySpec) -> Mapping[str, Any]:
    """The figures of the chosen chip; none where it cannot be loaded."""
    try:
        if profile is None or profile == spec.hardware.profile:
            return load_profile(spec.hardware.profile).with_values(spec.hardware.overrides).values
        return load_profile(profile).values if profile in known_profiles() else {}
    except HardwareError:
        return {}


def _budgets(query: Mapping[str, str], spec: StudySpec) -> list[Control]:
    controls = []
    for c in spec.constraints:
        name = spec.constraint_name(c)
        limit = c.at_most if c.at_most is not None else c.at_least
        word = "at most" if c.at_most is not None else "at least"
        given = query.get(BUDGET + name, "")
        label, unit = f"{metric_label(c.measure)} {word}", METRICS[c.metric].unit
        controls.append(Control(BUDGET + name, label, unit, given, exact(limit)))
    return controls
