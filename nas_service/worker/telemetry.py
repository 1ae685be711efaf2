"""What a worker tells machines, where it was asked to: logs as JSON lines, figures for Prometheus.

Without being asked all of it does nothing, but for names that do not exist, which are errors.
"""

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from nas_service.errors import NasError, SpecError, pick

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    import prometheus_client

LogFormat = Literal["text", "json"]
LOG_FORMATS = ("text", "json")
LOOPBACK = "127.0.0.1"
TEXT = "%(name)s: %(message)s"
FIELDS = ("study", "trial", "worker")  # of a record, or of the worker when it was made
PREFIX = "nas_"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Instrument:
    """A figure: what it counts, by which labels; a histogram also up to which bounds."""

    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


COUNTERS: dict[str, Instrument] = {
    "trials": Instrument("Trials that ended, by their outcome", ("outcome",)),
    "child_failures": Instrument(
        "Trainings without a result, by kind (docs/workers.md)", ("kind",)
    ),
    "leases_lost": Instrument("Leases that ran out under this worker"),
    "database_retries": Instrument("Transactions begun again, as the database was away or busy"),
    "late_results": Instrument("Results of trials that another worker had by then"),
}
HISTOGRAMS: dict[str, Instrument] = {
    "training_seconds": Instrument(
        "Trainings with their scoring, wall clock",
        bounds=(1, 3, 10, 30, 60, 180, 600, 1800, 3600, 10800, 36000, 86400),
    ),
    "ask_seconds": Instrument(
        "Asking the sampler for a candidate", bounds=(0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
    ),
}
GAUGES: dict[str, Instrument] = {
    "up": Instrument("1 while the worker is at work, 0 when it is about to end"),
    "lease_age_seconds": Instrument("Since the lease in hand was last renewed; 0 without one"),
}


class JsonLines(logging.Formatter):
    """One JSON object a record; `about` is what holds for all of them."""

    def __init__(self, about: Mapping[str, str | int]) -> None:
        super().__init__()
        self.about = about

    def format(self, record: logging.LogRecord) -> str:
        own = {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        words: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self.about,
            **own,
        }
        if record.exc_info:
            words["exception"] = self.formatException(record.exc_info)
        return json.dumps(words, default=str)


def log_as(form: LogFormat, about: Mapping[str, str | int], level: str = "warning") -> None:
    """This process's log on stderr in that form, warnings and uncaught errors with it."""
    import optuna  # whose log has a handler of its own

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(about) if form == "json" else logging.Formatter(TEXT))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    if form == "json":
        optuna.logging.disable_default_handler()
        optuna.logging.enable_propagation()
        logging.captureWarnings(True)
        sys.excepthook = _logged


def _logged(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    log.critical("the process ends by an error", exc_info=(kind, error, where))


@dataclass
class Telemetry:
    """A worker's figures. Metrics are kept once `serve` was called.

    >>> telemetry = Telemetry()
    >>> telemetry.count("trials", outcome="trained")
    >>> with telemetry.timed("ask_seconds"):
    ...     pass
    """

    about: dict[str, str | int] = field(default_factory=dict)  # study, trial, worker
    _served: "_Served | None" = None

    def tell(self, **fields: str | int | None) -> None:
        """Fields of all records from here on; None takes one away."""
        for name, value in fields.items():
            if name not in FIELDS:
                raise SpecError(f"field {name!r} of a log: one of {FIELDS} is needed")
            self.about.pop(name, None)
            if value is not None:
                self.about[name] = value

    def count(self, counter: str, times: int = 1, **labels: str) -> None:
        _check(COUNTERS, counter, labels)
        if self._served is not None:
            found = self._served.counters[counter]
            (found.labels(**labels) if labels else found).inc(times)

    def observe(self, histogram: str, seconds: float) -> None:
        _check(HISTOGRAMS, histogram, {})
        if self._served is not None:
            self._served.histograms[histogram].observe(seconds)

    @contextmanager
    def timed(self, histogram: str) -> Iterator[None]:
        """What happens within is observed, if it raises nothing."""
        start = time.perf_counter()
        yield
        self.observe(histogram, time.perf_counter() - start)

    def gauge(self, gauge: str, value: float | Callable[[], float]) -> None:
        """A value from here on, or what is asked for it at each reading."""
        _check(GAUGES, gauge, {})
        if self._served is None:
            return
        if callable(value):
            self._served.gauges[gauge].set_function(value)
        else:
            self._served.gauges[gauge].set(value)

    def serve(self, port: int, host: str = LOOPBACK) -> str:
        """Figures from here on at the URL that is returned; any free port for 0.

        There is no login. NasError without the package for it, or where the port is taken.
        """
        self._served = _Served.at(port, host, {k: str(v) for k, v in self.about.items()})
        self.gauge("up", 1)
        return self._served.url

    def close(self) -> None:
        if self._served is not None:
            self._served.close()
            self._served = None


def _check(known: Mapping[str, Instrument], name: str, labels: Mapping[str, str]) -> None:
    found = pick(known, name, "figure")
    if set(labels) != set(found.labels):
        raise SpecError(f"{name}: labels {sorted(labels)}, {sorted(found.labels)} are needed")


@dataclass(frozen=True)
class _Served:
    """Instruments of prometheus_client and the server that shows them."""

    server: "WSGIServer"
    url: str
    counters: dict[str, "prometheus_client.Counter"]
    histograms: dict[str, "prometheus_client.Histogram"]
    gauges: dict[str, "prometheus_client.Gauge"]

    @classmethod
    def at(cls, port: int, host: str, about: dict[str, str]) -> "_Served":
        try:
            import prometheus_client as p
        except ModuleNotFoundError:
            raise NasError(
                "metrics need the package prometheus_client: pip install 'nas-service[metrics]'"
            ) from None
        registry = p.CollectorRegistry()
        p.Info(f"{PREFIX}worker", "Who this is", registry=registry).info(about)
        counters = {
            name: p.Counter(PREFIX + name, i.help, i.labels, registry=registry)
            for name, i in COUNTERS.items()
        }
        histograms = {
            name: p.Histogram(PREFIX + name, i.help, buckets=i.bounds, registry=registry)
            for name, i in HISTOGRAMS.items()
        }
        gauges = {
            name: p.Gauge(PREFIX + name, i.help, registry=registry) for name, i in GAUGES.items()
        }
        try:
            server, _ = p.start_http_server(port, host, registry)
        except OSError as error:
            raise NasError(f"metrics: no server at {host}:{port} ({error.strerror})") from None
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{server.server_port}/metrics"
        return cls(server, url, counters, histograms, gauges)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
