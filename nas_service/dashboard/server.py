"""Our own pages and optuna-dashboard for our store, as one server: read-only, on this machine.

optuna-dashboard has no login and no read-only mode. So one guard checks every request before it
reaches a route: only GET and HEAD are let through, and only with a loopback name of this machine
as host. The storage that the routes use is read-only as well.
"""

import contextlib
import errno
import importlib
import importlib.metadata
import json
import logging
import socket
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from socketserver import ThreadingMixIn
from types import ModuleType
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment
from wsgiref.util import setup_testing_defaults

import optuna
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import create_trial

from nas_service.dashboard.auth import with_token
from nas_service.dashboard.beside import beside
from nas_service.dashboard.study_details import NEEDED, Distributions, install
from nas_service.dashboard.trials import DashboardStorage, Known
from nas_service.errors import NasError

TESTED = "0.21.0"  # version of optuna-dashboard
LOOPBACK = ("127.0.0.1", "::1", "localhost")
METHODS = ("GET", "HEAD")
IDLE_s = 60  # a connection that is silent for longer is closed
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
CSP = "Content-Security-Policy"
FRAMING = {"frame-ancestors": "'none'", "base-uri": "'none'", "form-action": "'none'"}

KNOWN = [  # value, violation and outcome of trials; only the last one is a result
    (0.0, 1.0, "trained"),
    (0.0, 0.5, "rejected"),
    (1.0, 0.0, "trained"),
]

log = logging.getLogger(__name__)


class DashboardError(NasError):
    """The dashboard cannot start with these arguments. Raised before any request is answered."""


def serve(
    storage: BaseStorage,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    token: str | None = None,
    own: WSGIApplication | None = None,
    known: Known | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serves the dashboard until KeyboardInterrupt.

    Args:
        storage: The storage to show.
        host: Address to listen on. One other than the loopback needs a token, as in a container
            whose port is published on the loopback. Requests must name the loopback in any case.
        port: Port to listen on; 0 takes a free one.
        token: Password of all pages, or None.
        own: Our own pages over the same store; None to serve optuna-dashboard alone.
        known: What this service knows of the studies; None to take them as another program's.
        on_ready: Called with the URL once the port listens.

    Raises:
        DashboardError: The host is another machine, the port is not available, or the installed
            optuna-dashboard does not show studies as it should.
    """
    if host not in LOOPBACK and token is None:
        raise DashboardError(
            f"the dashboard has no login, so it listens only on {', '.join(LOOPBACK)}, "
            f"not on {host!r}, unless --token-file names one; reach it from elsewhere through an "
            "SSH tunnel"
        )
    with _listen("127.0.0.1" if host == "localhost" else host, port) as server:
        app = make_app(storage, port=server.server_port, token=token, own=own, known=known)
        server.set_app(app)
        if on_ready is not None:
            name = f"[{host}]" if ":" in host else host
            on_ready(f"http://{name}:{server.server_port}/")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def make_app(
    storage: BaseStorage,
    *,
    port: int,
    token: str | None = None,
    own: WSGIApplication | None = None,
    known: Known | None = None,
) -> WSGIApplication:
    """The guarded dashboard as a WSGI application.

    Args:
        storage: The storage to show.
        port: Port of this machine at which the application is reached.
        token: Password of all pages, or None.
        own: Our own pages over the same store; None to serve optuna-dashboard alone.
        known: What this service knows of the studies; None to take them as another program's.

    Returns:
        The application, with its checks of host, method and token.

    Raises:
        DashboardError: The installed optuna-dashboard does not show studies as it should.
    """
    modules = _modules()
    _check(modules)
    app = _stock_app(DashboardStorage(storage, known), modules)
    if own is not None:
        app = beside(own, app)
    return _guarded(app if token is None else with_token(token, app), port)


def _modules() -> dict[str, ModuleType]:
    """The modules of optuna-dashboard that we use, by name, and bottle.

    Raises:
        DashboardError: One of them, or one of their functions, is missing.
    """
    try:
        modules = {n: importlib.import_module(f"optuna_dashboard.{n}") for n in NEEDED}
        modules["bottle"] = importlib.import_module("bottle")
    except ImportError as error:
        raise _unknown_dashboard(str(error)) from error
    for module, names in NEEDED.items():
        if missing := [name for name in names if not hasattr(modules[module], name)]:
            raise _unknown_dashboard(f"it has no {', '.join(missing)}")
    serializer = modules["_serializer"]
    if not isinstance(serializer.serialize_distribution, Distributions):
        shared = Distributions(serializer.serialize_distribution)
        serializer.serialize_distribution = shared  # type: ignore[attr-defined]
    modules["_storage"].datetime = _Utc  # type: ignore[attr-defined]
    return modules


def _stock_app(storage: DashboardStorage, modules: Mapping[str, ModuleType]) -> WSGIApplication:
    """optuna-dashboard's application, in which we answer the requests for a study.

    The best trials cannot be corrected in the storage: optuna-dashboard computes the front from the
    values alone, and shows a best trial even if no trial is feasible.
    """
    app: WSGIApplication = modules["_app"].create_app(storage)
    try:
        install(app, storage, modules)
    except LookupError as error:
        raise _unknown_dashboard(f"it has no route {error}") from error
    return app


class _Utc:
    """The clock of the dashboard's cache, which local time would keep for an hour too long when
    clocks are set back."""

    @staticmethod
    def now() -> datetime:
        return datetime.now(UTC)


def _check(modules: Mapping[str, ModuleType]) -> None:
    """Requests small studies with known answers, so that no replaced function fails silently."""
    for objectives, trials, best in ((1, 2, []), (1, 3, [2]), (2, 3, [2])):
        storage, study_id = _example(objectives, KNOWN[:trials])
        try:
            app = _stock_app(DashboardStorage(storage), modules)
            study = _ask(app, f"/api/studies/{study_id}")
            shown_best = [trial["number"] for trial in study["best_trials"]]
            constraints = [trial["constraints"] for trial in study["trials"]]
        except Exception as error:  # an unknown version may raise anything
            raise _unknown_dashboard(repr(error)) from error
        if shown_best != best or constraints != [[c] for _, c, _ in KNOWN[:trials]]:
            raise _unknown_dashboard(f"it shows best trials {shown_best} instead of {best}")


def _example(
    objectives: int, trials: Iterable[tuple[float, float, str]]
) -> tuple[BaseStorage, int]:
    storage = InMemoryStorage()
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # users need not know this study
    try:
        study_id = storage.create_new_study([StudyDirection.MINIMIZE] * objectives, "known")
    finally:
        optuna.logging.set_verbosity(verbosity)
    for value, violation, outcome in trials:
        trial = create_trial(
            values=[value] * objectives,
            constraints={"memory": violation},
            user_attrs={"outcome": outcome},
        )
        storage.create_new_trial(study_id, trial)
    return storage, study_id


def _ask(app: WSGIApplication, path: str) -> Any:
    """The JSON document that the application returns for GET path."""
    environ: WSGIEnvironment = {"PATH_INFO": path}
    setup_testing_defaults(environ)
    return json.loads(b"".join(app(environ, lambda *_: lambda _: None)))


def _unknown_dashboard(reason: str) -> DashboardError:
    try:
        version = importlib.metadata.version("optuna-dashboard")
    except importlib.metadata.PackageNotFoundError:
        version = "(none)"
    return DashboardError(
        f"optuna-dashboard {version} cannot show our studies ({reason}); "
        f"install optuna-dashboard=={TESTED}"
    )


def _guarded(app: WSGIApplication, port: int) -> WSGIApplication:
    """The application, with a check of every request's host and method."""
    names = [f"[{name}]" if ":" in name else name for name in LOOPBACK]
    hosts = {f"{name}:{port}" for name in names} | (set(names) if port == 80 else set())

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # DNS rebinding: another site can let its own name resolve to 127.0.0.1.
        if environ.get("HTTP_HOST", "").lower() not in hosts:
            reason = f"This dashboard answers requests to http://127.0.0.1:{port}/ only."
            return _refuse(environ, start_response, "403 Forbidden", reason)
        if environ["REQUEST_METHOD"] not in METHODS:
            reason = "This dashboard is read-only."
            return _refuse(environ, start_response, "405 Method Not Allowed", reason)
        for key in [key for key in environ if key.startswith("HTTP_X_FORWARDED_")]:
            del environ[key]  # Bottle trusts them and would redirect to any host
        environ.setdefault("HTTP_ACCEPT_ENCODING", "")  # without it, /static fails with 500

        def start(
            status: str, headers: list[tuple[str, str]], *exc_info: Any
        ) -> Callable[[bytes], object]:
            return start_response(status, _secured(headers), *exc_info)

        return app(environ, start)

    return guarded


def _refuse(
    environ: WSGIEnvironment, start_response: StartResponse, status: str, reason: str
) -> list[bytes]:
    body = f"{reason}\n".encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    if status.startswith("405"):
        headers.append(("Allow", ", ".join(METHODS)))
    start_response(status, _secured(headers))
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def _secured(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers without control characters, with ours added; a page's own policy is kept."""
    policy = dict(headers).get(CSP, "default-src 'none'")
    known = {directive.split()[0] for directive in policy.split(";") if directive.strip()}
    added = [f"{name} {value}" for name, value in FRAMING.items() if name not in known]
    ours = {**HEADERS, CSP: "; ".join([policy, *added])}
    kept = [(name, _printable(value)) for name, value in headers if name not in ours]
    return kept + list(ours.items())


def _printable(value: str) -> str:
    return "".join(c for c in value if c >= " " and c != "\x7f")


class _Handler(WSGIRequestHandler):
    timeout = IDLE_s

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("%r", format % args)  # a path may hold control characters


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # an open connection does not delay the exit

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("connection lost", exc_info=True)


def _listen(host: str, port: int) -> _Server:
    try:
        return _Server(host, port)
    except (OSError, OverflowError) as error:
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            reason = "it is in use; choose another port, or 0 for a free one"
        else:
            reason = str(error)
        raise DashboardError(f"cannot listen on port {port} of {host}: {reason}") from error
