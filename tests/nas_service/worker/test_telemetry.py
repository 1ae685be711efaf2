"""Logs and figures, parsed as programs parse them."""

import json
import logging
import subprocess
import sys
import urllib.request
from datetime import datetime

import click
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from nas_service.cli.common import options
from nas_service.errors import NasError, SpecError
from nas_service.worker.telemetry import COUNTERS, GAUGES, HISTOGRAMS, JsonLines, Telemetry


@pytest.fixture
def telemetry():
    made = Telemetry({"study": "digits", "worker": "host/1"})
    made.serve(0)
    yield made
    made.close()


def scraped(telemetry):
    """Every sample that the port serves, by name and labels."""
    url = telemetry._served.url
    assert url.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(url) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = [sample for family in families for sample in family.samples]
    return {(s.name, *sorted(s.labels.items())): s.value for s in samples}


def test_figures_are_served(telemetry):
    telemetry.count("trials", outcome="trained")
    telemetry.count("trials", 2, outcome="rejected")
    telemetry.count("child_failures", kind="oom")
    telemetry.count("leases_lost")
    telemetry.observe("training_seconds", 20.0)
    telemetry.observe("training_seconds", 40.0)
    with telemetry.timed("ask_seconds"):
        pass
    ages = iter([3.0, 4.0])
    telemetry.gauge("lease_age_seconds", lambda: next(ages))
    result = scraped(telemetry)
    assert result["nas_trials_total", ("outcome", "trained")] == 1
    assert result["nas_trials_total", ("outcome", "rejected")] == 2
    assert result["nas_child_failures_total", ("kind", "oom")] == 1
    assert result[("nas_leases_lost_total",)] == 1
    assert result[("nas_late_results_total",)] == 0
    assert result[("nas_training_seconds_sum",)] == 60
    assert result["nas_training_seconds_bucket", ("le", "30.0")] == 1
    assert result["nas_training_seconds_bucket", ("le", "+Inf")] == 2
    assert result[("nas_ask_seconds_count",)] == 1
    assert result[("nas_up",)] == 1
    assert result[("nas_lease_age_seconds",)] == 3
    assert result["nas_worker_info", ("study", "digits"), ("worker", "host/1")] == 1
    telemetry.gauge("up", 0)
    again = scraped(telemetry)
    assert (again[("nas_up",)], again[("nas_lease_age_seconds",)]) == (0, 4)


def test_a_block_that_raises_is_not_timed(telemetry):
    with pytest.raises(OSError, match="away"), telemetry.timed("ask_seconds"):
        raise OSError("away")
    assert scraped(telemetry)[("nas_ask_seconds_count",)] == 0


@pytest.mark.parametrize("served", [False, True])
def test_unknown_names_are_errors_served_or_not(served):
    telemetry = Telemetry()
    if served:
        telemetry.serve(0)
    with pytest.raises(SpecError, match="did you mean 'trials'"):
        telemetry.count("trial", outcome="trained")
    with pytest.raises(SpecError, match="outcome"):
        telemetry.count("trials", result="trained")
    with pytest.raises(SpecError, match="unknown figure 'ask'"):
        telemetry.observe("ask", 1.0)
    with pytest.raises(SpecError, match="unknown figure"):
        telemetry.gauge("trials", 1.0)
    with pytest.raises(SpecError, match="field 'shoe'"):
        telemetry.set_fields(shoe=1)
    telemetry.close()


def test_nothing_is_recorded_unless_served():
    telemetry = Telemetry()
    telemetry.count("trials", outcome="trained")
    telemetry.observe("ask_seconds", 1.0)
    telemetry.gauge("up", lambda: 1 / 0)
    telemetry.serve(0)
    assert ("nas_trials_total", ("outcome", "trained")) not in scraped(telemetry)
    assert scraped(telemetry)[("nas_ask_seconds_count",)] == 0
    telemetry.close()


def test_every_figure_has_a_help_text():
    names = [*COUNTERS, *HISTOGRAMS, *GAUGES]
    assert len(set(names)) == len(names)
    for name, metric in {**COUNTERS, **HISTOGRAMS, **GAUGES}.items():
        assert metric.help, name
        assert list(metric.bounds) == sorted(set(metric.bounds)), name
        assert bool(metric.bounds) == (name in HISTOGRAMS)


def test_a_taken_port_is_named(telemetry):
    with pytest.raises(NasError, match=r"no server at 127.0.0.1:\d+ \(Address already in use\)"):
        Telemetry().serve(telemetry._served.server.server_port)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(NasError, match=r"nas-service\[metrics\]"):
        Telemetry().serve(0)


# --- logs


def formatted(about, **record):
    return json.loads(JsonLines(about).format(logging.makeLogRecord(record)))


def test_a_record_is_a_json_object():
    result = formatted(
        {"study": "x", "trial": 3},
        name="nas_service.worker.worker",
        levelname="WARNING",
        msg="lease of %d\n lost",
        args=(7,),
        created=1.5,
        trial=4,
    )
    assert result == {
        "time": "1970-01-01T00:00:01.500+00:00",
        "level": "warning",
        "logger": "nas_service.worker.worker",
        "message": "lease of 7\n lost",
        "study": "x",
        "trial": 4,
    }


def test_a_traceback_is_a_field():
    try:
        raise ValueError("seven")
    except ValueError:
        result = formatted({}, msg="failed", exc_info=sys.exc_info())
    assert result["exception"].splitlines()[-1] == "ValueError: seven"


def test_fields_hold_until_they_are_removed():
    telemetry = Telemetry({"study": "x"})
    form = JsonLines(telemetry.about)
    record = logging.makeLogRecord({"msg": "m"})
    telemetry.set_fields(trial=3)
    assert json.loads(form.format(record))["trial"] == 3
    telemetry.set_fields(trial=None)
    assert "trial" not in json.loads(form.format(record))


PROCESS = """
import logging, warnings
from nas_service.worker.telemetry import Telemetry, log_as
telemetry = Telemetry({"study": "x", "worker": "w"})
log_as("json", telemetry.about, "info")
logging.getLogger("ours").info("one")
logging.getLogger("ours").debug("too fine")
telemetry.set_fields(trial=5)
warnings.warn("two")
import optuna
optuna.logging.get_logger("optuna.study").warning("three")
raise OSError("four")
"""


@pytest.mark.process
def test_a_process_logs_only_json_lines():
    done = subprocess.run([sys.executable, "-c", PROCESS], capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["level"] for line in lines] == ["info", "warning", "warning", "critical"]
    assert lines[0]["message"] == "one"
    assert "two" in lines[1]["message"]
    assert lines[2]["logger"] == "optuna.study"
    assert lines[3]["exception"].endswith("OSError: four")
    assert all((line["study"], line["worker"]) == ("x", "w") for line in lines)
    assert [line.get("trial") for line in lines] == [None, 5, 5, 5]
    assert all(datetime.fromisoformat(line["time"]).utcoffset() is not None for line in lines)
    assert done.returncode == 1
    assert done.stdout == ""


# --- options


def test_options_of_a_command():
    @click.command()
    @options("log_format", "log_level", "metrics_port", "metrics_host")
    def command(**given):
        print(json.dumps(given))

    def ran(*words):
        return CliRunner().invoke(command, words)

    assert json.loads(ran().output) == {
        "log_format": "text",
        "log_level": "warning",
        "metrics_port": None,
        "metrics_host": "127.0.0.1",
    }
    result = json.loads(ran("--log-format", "json", "--metrics-port", "9100").output)
    assert (result["log_format"], result["metrics_port"]) == ("json", 9100)
    assert ran("--log-format", "xml").exit_code == 2
    assert ran("--metrics-port", "70000").exit_code == 2
