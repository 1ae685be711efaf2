"""Telemetry of a worker, where it is switched on: logs as JSON lines, figures for Prometheus.

Switched off, all of it does nothing, except that a name that does not exist is an error.
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

from nas_service.errors import NasError, SpecError, not_installed, pick

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    import prometheus_client

LogFormat = Literal["text", "json"]
LOG_FORMATS = ("text", "json")
LOOPBACK = "127.0.0.1"
TEXT = "%(name)s: %(message)s"
FIELDS = ("study", "trial", "worker")  # of a log record, or of the worker when it was logged
PREFIX = "nas_"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Instrument:
    """A figure: what it measures, by which labels, and the upper bounds of a histogram."""

    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


COUNTERS: dict[str, Instrument] = {
    "trials": Instrument("Trials that have ended, by outcome", ("outcome",)),
    "child_failures": Instrument(
        "Trainings without a result, by kind (docs/workers.md)", ("kind",)
    ),
    "leases_lost": Instrument("Leases that this worker has lost"),
    "database_retries": Instrument(
        "Transactions repeated because the database was unreachable or busy"
    ),
    "late_results": Instrument("Results of trials that another worker had taken over"),
}
HISTOGRAMS: dict[str, Instrument] = {
    "training_seconds": Instrument(
        "Wall-clock time of a training and its scoring",
        bounds=(1, 3, 10, 30, 60, 180, 600, 1800, 3600, 10800, 36000, 86400),
    ),
    "ask_seconds": Instrument(
        "Time in which the sampler proposes a candidate",
        bounds=(0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
    ),
}
GAUGES: dict[str, Instrument] = {
    "up": Instrument("1 while the worker runs"),
    "lease_age_seconds": Instrument(
        "Time since the current lease was last renewed; 0 without a lease"
    ),
}


class JsonLines(logging.Formatter):
    """One JSON object for each log record, with the fields `about` in all of them."""

    def __init__(self, about: Mapping[str, str | int]) -> None:
        super().__init__()
        self.about = about

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        own = {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self.about,
            **own,
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


def log_as(form: LogFormat, about: Mapping[str, str | int], level: str = "warning") -> None:
    """Logs this process to stderr, with warnings and uncaught errors.

    Args:
        form: "text" or "json".
        about: Fields of every record in JSON.
        level: The least level that is logged.
    """
    import optuna

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(about) if form == "json" else logging.Formatter(TEXT))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    optuna.logging.disable_default_handler()  # it writes local times without their zone
    optuna.logging.enable_propagation()
    if form == "json":
        logging.captureWarnings(True)
        sys.excepthook = _logged


def _logged(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    log.critical("the process ends with an error", exc_info=(kind, error, where))


@dataclass
class Telemetry:
    """A worker's figures, which are recorded from the call of `serve` on.

    >>> telemetry = Telemetry()
    >>> telemetry.count("trials", outcome="trained")
    >>> with telemetry.timed("ask_seconds"):
    ...     pass
    """

    about: dict[str, str | int] = field(default_factory=dict)  # study, trial, worker
    _served: "_Served | None" = None

    def set_fields(self, **fields: str | int | None) -> None:
        """Sets fields of all later log records; None removes one.

        Raises:
            SpecError: A field that log records do not have.
        """
        for name, value in fields.items():
            if name not in FIELDS:
                raise SpecError(f"field {name!r} of a log: one of {FIELDS} is needed")
            self.about.pop(name, None)
            if value is not None:
                self.about[name] = value

    def count(self, counter: str, times: int = 1, **labels: str) -> None:
        """Adds to a counter.

        Args:
            counter: Name of one of COUNTERS.
            times: What to add.
            labels: A value for each label of the counter.

        Raises:
            SpecError: There is no such counter, or it has other labels.
        """
        _check(COUNTERS, counter, labels)
        if self._served is not None:
            instrument = self._served.counters[counter]
            (instrument.labels(**labels) if labels else instrument).inc(times)

    def observe(self, histogram: str, seconds: float) -> None:
        """Adds one duration to a histogram.

        Args:
            histogram: Name of one of HISTOGRAMS.
            seconds: The duration.

        Raises:
            SpecError: There is no such histogram.
        """
        _check(HISTOGRAMS, histogram, {})
        if self._served is not None:
            self._served.histograms[histogram].observe(seconds)

    @contextmanager
    def timed(self, histogram: str) -> Iterator[None]:
        """Observes the duration of the block, unless it raises."""
        start = time.perf_counter()
        yield
        self.observe(histogram, time.perf_counter() - start)

    def gauge(self, gauge: str, value: float | Callable[[], float]) -> None:
        """Sets a gauge.

        Args:
            gauge: Name of one of GAUGES.
            value: The value, or a function that returns it and is called at each reading.

        Raises:
            SpecError: There is no such gauge.
        """
        _check(GAUGES, gauge, {})
        if self._served is None:
            return
        if callable(value):
            self._served.gauges[gauge].set_function(value)
        else:
            self._served.gauges[gauge].set(value)

    def serve(self, port: int, host: str = LOOPBACK) -> str:
        """Serves the figures over HTTP, without a login, and returns their URL.

        Args:
            port: The port; 0 for any free one.
            host: The address to listen at.

        Returns:
            The URL, with the port that was taken.

        Raises:
            NasError: The package prometheus_client is missing, or the port is taken.
        """
        self._served = _Served.at(port, host, {k: str(v) for k, v in self.about.items()})
        self.gauge("up", 1)
        return self._served.url

    def close(self) -> None:
        """Stops serving figures."""
        if self._served is not None:
            self._served.close()
            self._served = None


def _check(known: Mapping[str, Instrument], name: str, labels: Mapping[str, str]) -> None:
    instrument = pick(known, name, "figure")
    if set(labels) != set(instrument.labels):
        needed = sorted(instrument.labels)
        raise SpecError(f"{name}: labels {sorted(labels)}, {needed} are needed")


@dataclass(frozen=True)
class _Served:
    """Instruments of prometheus_client, and the HTTP server that shows them."""

    server: "WSGIServer"
    url: str
    counters: dict[str, "prometheus_client.Counter"]
    histograms: dict[str, "prometheus_client.Histogram"]
    gauges: dict[str, "prometheus_client.Gauge"]

    @classmethod
    def at(cls, port: int, host: str, about: dict[str, str]) -> "_Served":
        """Starts the server."""
        try:
            import prometheus_client as p
        except ModuleNotFoundError:
            raise not_installed("prometheus_client", "metrics") from None
        registry = p.CollectorRegistry()
        p.Info(f"{PREFIX}worker", "Study and name of the worker", registry=registry).info(about)
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
        """Ends the server."""
        self.server.shutdown()
        self.server.server_close()
