"""The first page: every study of the store at a glance, the newest first."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from nas_service.dashboard.answers import Answer, Request, page
from nas_service.dashboard.figures import small_front
from nas_service.dashboard.query import whole_number
from nas_service.dashboard.studies import ShownStudy, Studies
from nas_service.errors import NasError
from nas_service.store.records import StudyName

SHOWN = 12  # studies on one page


@dataclass(frozen=True)
class Card:
    """One study of the page, or why it cannot be shown."""

    named: StudyName
    study: ShownStudy | None = None
    figure: Markup | str = ""
    problem: str = ""


def studies_of(studies: Studies, request: Request) -> Sequence[int]:
    """Numbers of the studies on this page."""
    return [s.id for s in _on_page(studies.listed(), request) if s.is_ours]


def show(studies: Studies, request: Request) -> Answer:
    """The page."""
    listed = studies.listed()
    return page(
        request,
        "overview.html",
        title="Studies",
        cards=[_card(studies, named) for named in _on_page(listed, request)],
        total=len(listed),
        first=_first(request),
        shown=SHOWN,
    )


def _first(request: Request) -> int:
    return whole_number(request.query, "first", 0, 10**6) or 0


def _on_page(listed: Sequence[StudyName], request: Request) -> Sequence[StudyName]:
    first = _first(request)
    return listed[first : first + SHOWN]


def _card(studies: Studies, named: StudyName) -> Card:
    if not named.is_ours:
        return Card(named)
    try:
        study = studies.get(named.id)
    except NasError as error:
        return Card(named, problem=str(error))
    return Card(named, study, small_front(study))
