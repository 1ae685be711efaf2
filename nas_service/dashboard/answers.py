"""What the dashboard's own pages answer: pages, files, and errors in one sentence."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from nas_service.errors import NasError
from nas_service.text import (
    metric,
    metric_label,
    metric_number,
    metric_unit,
    number,
    percent,
    printable,
    signed,
)

HTML, JSON, TEXT = "text/html; charset=utf-8", "application/json", "text/plain; charset=utf-8"
POLICY = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; form-action 'self'"
)


class NotThere(NasError):
    """A page about something that the store does not have."""


@dataclass(frozen=True)
class Request:
    """What a page needs of a request: its numbers in the path, and its query."""

    path: str
    numbers: tuple[int, ...] = ()  # in the path, in their order
    query: Mapping[str, str] = field(default_factory=dict)
    tag: str = ""  # of the answer, by which the page asks whether it has changed

    @property
    def root(self) -> str:
        """The way from this page to the overview, so that links work under any prefix."""
        return "../" * (self.path.count("/") - 1) or "./"


@dataclass(frozen=True)
class Answer:
    """One answer to a request."""

    body: bytes
    kind: str = HTML
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


def page(
    request: Request, template: str, status: HTTPStatus = HTTPStatus.OK, **values: Any
) -> Answer:
    """A page from one of the templates, which escape whatever they print.

    Args:
        request: What was asked for.
        template: Name of the file.
        status: Of the answer.
        values: What the template shows.

    Returns:
        The page.
    """
    text = (
        _environment().get_template(template).render(root=request.root, tag=request.tag, **values)
    )
    return Answer(text.encode(errors="replace"), status=status)


def attachment(body: bytes, name: str, kind: str = JSON) -> Answer:
    """A file to be saved under a name."""
    return Answer(
        body, kind, headers={"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("nas_service.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    environment.filters |= {
        "label": metric_label,
        "measured": lambda value, name: metric(name, value),
        "number": number,
        "percent": percent,
        "signed": signed,
        "unit": metric_unit,
        "value": lambda value, name: metric_number(name, value),
    }
    return environment
