"""Pages that load nothing else: a stylesheet, a small script, and a policy that allows these."""

import base64
import hashlib
import re
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nas_service.report.svg import draw
from nas_service.report.svg.scatter import legend
from nas_service.text import exact, metric, metric_label, metric_number, metric_unit, number
from nas_service.text import percent as in_percent

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
FILTERS = {
    "metric": lambda value, name: metric(name, value),
    "metric_number": lambda value, name: metric_number(name, value),
    "metric_label": metric_label,
    "metric_unit": metric_unit,
    "number": number,
    "exact": exact,
    "percent": in_percent,
    "plain": lambda text: CONTROL.sub("?", str(text)),
}


@cache
def part(name: str) -> str:
    """The text of `page.css` or `page.js`."""
    return resources.files("nas_service.report").joinpath(name).read_text(encoding="utf-8")


def policy() -> str:
    """The content security policy of a page: its own style and script, and nothing else."""
    style, script = (_digest(part(name)) for name in ("page.css", "page.js"))
    return f"default-src 'none'; style-src {style}; script-src {script}; base-uri 'none'"


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def pages() -> Environment:
    """The templates of all pages; every text that they are given is escaped."""
    loader = PackageLoader("nas_service", "report")
    made = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(FILTERS)
    made.globals.update(
        policy=policy(),
        style=Markup(part("page.css")),  # noqa: S704  files of this package
        script=Markup(part("page.js")),  # noqa: S704
        draw=draw,
        legend=legend,
    )
    return made
