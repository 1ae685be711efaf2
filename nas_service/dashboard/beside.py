"""Our own pages and those of optuna-dashboard side by side, with links from each to the other."""

import re
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

OWN = re.compile(r"/|/compare|/page\.(css|js)|/studies(/.*)?", re.DOTALL)
STOCK_PAGE = re.compile(r"/dashboard(/.*)?", re.DOTALL)
END = b"</body>"
LINK = (
    b'<a href="/" style="position:fixed;right:16px;top:16px;z-index:9999;padding:5px 12px;'
    b"border-radius:6px;border:1px solid #9aa5b0;background:#fff;color:#1b2733;"
    b'font:14px system-ui,sans-serif;text-decoration:none">All studies</a>'
)


def is_own(path: str) -> bool:
    """True for the path of one of our pages; all others are optuna-dashboard's."""
    return OWN.fullmatch(path) is not None


def beside(own: WSGIApplication, stock: WSGIApplication) -> WSGIApplication:
    """Our own pages at their paths, and optuna-dashboard, with a link to them, at all others.

    Args:
        own: Our pages.
        stock: optuna-dashboard.

    Returns:
        Both as one application.
    """

    def chosen(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO") or "/"
        if is_own(path):
            return own(environ, start_response)
        if STOCK_PAGE.fullmatch(path):
            return _linked(stock, environ, start_response)
        return stock(environ, start_response)

    return chosen


def _linked(
    stock: WSGIApplication, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    """The answer of optuna-dashboard, a page with a link to our pages at its end."""

    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start(status: str, headers: list[tuple[str, str]], *_: Any) -> Callable[[bytes], object]:
        started.append((status, headers))
        return lambda _: None

    chunks = stock(environ, start)
    body = b"".join(chunks).replace(END, LINK + END, 1)
    getattr(chunks, "close", lambda: None)()
    status, headers = started[-1]
    missing = len(LINK) if status.startswith("200") and not body else 0  # of a request for HEAD
    start_response(status, [(name, _length(name, v, body, missing)) for name, v in headers])
    return [body] if body else []


def _length(name: str, value: str, body: bytes, missing: int) -> str:
    """A header's value; that of the length is the length of the page with its link."""
    if name.lower() != "content-length":
        return value
    return str(len(body) or int(value) + missing)
