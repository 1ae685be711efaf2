"""The command of a worker: one process that works on a study of the store until it ends."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas_service.cli.common import open_store, options
from nas_service.cli.completion import complete_study
from nas_service.cli.number_types import Number, WholeNumber
from nas_service.cli.terminal import print_err
from nas_service.errors import DataError, Interrupted, MachineFault, StoreError, StudyError
from nas_service.store.process_id import worker_name
from nas_service.store.store import LEASE_s
from nas_service.text import printable
from nas_service.worker import end_signals
from nas_service.worker.telemetry import LogFormat, Telemetry, log_as

if TYPE_CHECKING:
    from nas_service.evaluation.evaluator import Evaluator
    from nas_service.searches.session import Search
    from nas_service.worker.training_process import TrainingClient
    from nas_service.worker.worker import Worker


@click.command()
@click.option(
    "--study",
    "name",
    metavar="STUDY",
    required=True,
    shell_complete=complete_study,
    help="Name of the study in the store to work on.",
)
@click.option(
    "--max-trials", type=WholeNumber(1), help="Stop after N trials of this worker.", metavar="N"
)
@click.option(
    "--max-seconds",
    type=Number(1),
    help="Start no trial later than this many seconds after the start.",
)
@click.option(
    "--training-seconds",
    type=Number(0, min_open=True),
    help="Stop a training that takes longer than this many seconds.",
)
@click.option(
    "--device",
    help="Train on this device, such as cuda:0; by default that of NAS_DEVICE, else cpu.",
)
@click.option(
    "--lease",
    "lease_s",
    type=Number(1, 3600),
    default=LEASE_s,
    show_default=True,
    help="Seconds without a sign of life after which other workers may take over a trial.",
)
@click.option(
    "--term-exit",
    type=WholeNumber(0, 255),
    default=0,
    show_default=True,
    help="Exit code after SIGTERM and its like. A Kubernetes Job of nas launch replaces a pod that "
    "exits with another than 0, 2 or 5.",
)
@click.option("--end-with-stdin", "stdin", is_flag=True, hidden=True)
@click.option("--no-end-line", "end_line", flag_value=False, default=True, hidden=True)
@options("storage", "data", "any_disk", "log_format", "log_level", "metrics_port", "metrics_host")
def worker(
    name: str,
    max_trials: int | None,
    max_seconds: float | None,
    training_seconds: float | None,
    device: str | None,
    lease_s: float,
    term_exit: int,
    stdin: bool,
    end_line: bool,
    storage: str | None,
    data: Path,
    any_disk: bool,
    log_format: LogFormat,
    log_level: str,
    metrics_port: int | None,
    metrics_host: str,
) -> None:
    """Work on a study until it ends.

    Any number of workers may run at once. The exit code is 0 at the end of the study, also where
    nothing is feasible: nothing is left to work on. After SIGTERM, or another signal that asks it
    to end, the worker releases its trial, keeps the last epoch, and exits with code 0; a second
    SIGTERM loses the epoch that is being trained.
    """
    with _exit_by_signal(term_exit):
        end_signals.interrupt()
        import torch

        from nas_service.evaluation.environment import check_device_name
        from nas_service.worker.proof import check_training
        from nas_service.worker.training_process import TrainingClient

        own = os.environ.pop("NAS_DEVICE", "cpu")  # of trainings: this process touches no device
        check_device_name(device or own, "--device" if device else "NAS_DEVICE")
        torch.set_num_threads(1)
        telemetry = Telemetry({"study": name, "worker": worker_name()})
        log_as(log_format, telemetry.about, log_level)
        search, evaluator = _open(name, storage, data, any_disk)
        search.store.lease_s = lease_s
        if metrics_port is not None:
            print_err(f"metrics: {telemetry.serve(metrics_port, metrics_host)}")
        trainer = TrainingClient(device or own, is_urgent=end_signals.is_urgent)
        with contextlib.closing(telemetry), trainer:
            trainer.start()
            process = _process(search, evaluator, trainer, training_seconds, telemetry)
            _make_stoppable(process, stdin)
            check_interrupt = process.heartbeat.check_interrupt
            check_training(evaluator, trainer, process.spool, check_interrupt)
            reason = process.run(max_trials, max_seconds)
            if end_line:  # else the process that started it asks the store
                _print_end(process, reason)


def _open(name: str, storage: str | None, data: Path, any_disk: bool) -> "tuple[Search, Evaluator]":
    from nas_service.searches.session import open_search
    from nas_service.searches.study_data import open_evaluator
    from nas_service.worker.proof import check_machine
    from nas_service.worker.spool import Spool

    search = open_search(open_store(storage, write=True, any_disk=any_disk), name)
    try:
        evaluator = open_evaluator(search, data)
    except (DataError, StudyError) as error:
        raise MachineFault(f"{error} (on {socket.gethostname()})") from error
    check_machine(search, evaluator, Spool.of(search.store))
    return search, evaluator


def _process(
    search: "Search",
    evaluator: "Evaluator",
    trainer: "TrainingClient",
    training_seconds: float | None,
    telemetry: Telemetry,
) -> "Worker":
    from nas_service.worker.training import train_in_children
    from nas_service.worker.worker import Worker

    train = train_in_children(trainer, training_seconds)
    return Worker(search, evaluator, _print_line, train=train, telemetry=telemetry)


@contextlib.contextmanager
def _exit_by_signal(term_exit: int) -> Iterator[None]:
    """Ends the process by this exit code where a signal that machines send has interrupted it."""
    try:
        yield
    except Interrupted as interruption:
        if not end_signals.by_machine():
            raise
        _print_line(f"end: {interruption}")
        raise SystemExit(term_exit) from None


def _make_stoppable(process: "Worker", stdin: bool) -> None:
    """Lets signals, and perhaps the end of standard input, stop the worker between two batches."""
    from nas_service.worker.health import keep_beating
    from nas_service.worker.local_pool import end_with_stdin

    end_signals.end_on_signals(process.asked_to_end)
    keep_beating(process.asked_to_end, os.environ)
    if stdin:
        end_with_stdin(process.asked_to_end)


def _print_end(process: "Worker", reason: str) -> None:
    """Prints why the worker ended, and why nothing is feasible where the study has ended so."""
    from nas_service.searches.results import read
    from nas_service.searches.stopping import end_reason

    with contextlib.suppress(StoreError):  # the work is done, also where the store is gone
        if end_reason(process.search) == reason:
            nothing = read(process.search).infeasible
            for text in nothing.lines if nothing else ():
                _print_line(text)
    _print_line(f"end: {reason}")


def _print_line(text: str) -> None:
    """Prints a line for the process or the terminal that started this one, which may be gone."""
    with contextlib.suppress(OSError):
        print(printable(text), flush=True)
