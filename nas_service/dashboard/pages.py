"""The dashboard's own pages as a WSGI application: which page answers which request."""

import hashlib
import logging
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import NamedTuple
from urllib.parse import parse_qsl
from wsgiref.types import StartResponse, WSGIEnvironment

from hw_models import HardwareError
from nas_service.dashboard import candidate, comparison, overview, study, what_if
from nas_service.dashboard.answers import POLICY, Answer, NotThere, Request, page
from nas_service.dashboard.studies import Memory, Studies
from nas_service.errors import NasError, SpecError, StoreError
from nas_service.store.store import Store

NUMBER = r"([0-9]{1,9})"
STUDY = rf"/studies/{NUMBER}"
TRIAL = rf"{STUDY}/trials/{NUMBER}"
FIELDS, LONGEST = 40, 4000  # of a query: parameters, and characters in all
FILES = {
    "/page.css": ("text/css; charset=utf-8", ("report/page.css", "dashboard/templates/page.css")),
    "/page.js": ("text/javascript; charset=utf-8", ("dashboard/templates/page.js",)),
}
FAILED = "this page failed; the output of `nas dashboard` says why"

log = logging.getLogger(__name__)


class Route(NamedTuple):
    """A page: its path, what it shows, and the studies that it depends on."""

    path: str
    show: Callable[[Studies, Request], Answer]
    studies: Callable[[Studies, Request], Sequence[int]] = lambda _, request: request.numbers[:1]


ROUTES = (
    Route("/", overview.show, overview.studies_of),
    Route("/compare", comparison.show, comparison.studies_of),
    Route(STUDY, study.show),
    Route(f"{STUDY}/what-if", what_if.show),
    Route(TRIAL, candidate.show),
    Route(f"{TRIAL}/architecture.json", candidate.architecture),
    Route(f"{TRIAL}/evaluation.json", candidate.evaluation),
    Route(f"{TRIAL}/hardware.html", candidate.hardware),
)


class Pages:
    """The pages over one store."""

    def __init__(self, store: Store) -> None:
        self._studies, self._answers = Studies(store), Memory()
        self._edition = secrets.token_hex(4)  # after a restart every page may be another one

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answers one request for a path of `is_own`."""
        path = environ.get("PATH_INFO") or "/"
        known = environ.get("HTTP_IF_NONE_MATCH", "")
        answer = self._answer(path, environ.get("QUERY_STRING", ""), known)
        headers = {
            "Content-Type": answer.kind,
            "Content-Security-Policy": POLICY,
            "Cache-Control": "no-cache",
            **answer.headers,
        }
        if answer.status != HTTPStatus.NOT_MODIFIED:
            headers["Content-Length"] = str(len(answer.body))
        start_response(f"{answer.status.value} {answer.status.phrase}", list(headers.items()))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def _answer(self, path: str, query: str, known: str) -> Answer:
        if path in FILES:
            return _file(path)
        try:
            route, request = _routed(path, query)
            tag = self._tag(route, request, query)
            if known == tag:
                return Answer(b"", status=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
            tagged = replace(request, tag=tag)
            answer = self._answers.get(tag, lambda: route.show(self._studies, tagged))
        except (NasError, HardwareError) as error:
            return _refusal(path, _status(error), str(error))
        except Exception:
            log.exception("the page %r failed", path)
            return _refusal(path, HTTPStatus.INTERNAL_SERVER_ERROR, FAILED)
        return replace(answer, headers={**answer.headers, "ETag": tag})

    def _tag(self, route: Route, request: Request, query: str) -> str:
        """A name of the answer, which is another one once a study that it shows has changed."""
        shown = [(n, self._studies.revision(n)) for n in route.studies(self._studies, request)]
        facts = repr((self._edition, request.path, query, shown))
        return f'"{hashlib.sha256(facts.encode(errors="replace")).hexdigest()[:24]}"'


def _routed(path: str, query: str) -> tuple[Route, Request]:
    """The page of a path, and the request for it.

    Raises:
        NotThere: No page has this path.
        SpecError: The query is too long, or has a parameter twice.
    """
    for route in ROUTES:
        if match := re.fullmatch(route.path, path):
            return route, Request(path, tuple(map(int, match.groups())), _parsed(query))
    raise NotThere("there is no such page")


def _parsed(query: str) -> dict[str, str]:
    """The parameters of a query that are not empty."""
    if len(query) > LONGEST:
        raise SpecError(f"the address has {len(query)} characters, at most {LONGEST} are read")
    try:
        pairs = parse_qsl(query, max_num_fields=FIELDS, errors="strict")
    except ValueError:
        text = f"the address has more than {FIELDS} parameters, or bytes that are no text"
        raise SpecError(text) from None
    parameters = dict(pairs)
    if len(parameters) < len(pairs):
        raise SpecError("a parameter of the address is given twice")
    return parameters


def _status(error: Exception) -> HTTPStatus:
    if isinstance(error, NotThere):
        return HTTPStatus.NOT_FOUND
    if isinstance(error, StoreError):
        return HTTPStatus.SERVICE_UNAVAILABLE
    bad = isinstance(error, SpecError | HardwareError)
    return HTTPStatus.BAD_REQUEST if bad else HTTPStatus.CONFLICT


def _refusal(path: str, status: HTTPStatus, message: str) -> Answer:
    request = Request(path)
    return page(request, "error.html", status, message=message, title=status.phrase)


@cache
def _file(path: str) -> Answer:
    kind, parts = FILES[path]
    texts = (files("nas_service").joinpath(part).read_text("utf-8") for part in parts)
    return Answer("\n".join(texts).encode(), kind)
