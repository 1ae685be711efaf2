"""The command of a worker: one process that works on a study of the store until it ends."""

import contextlib
import os
from pathlib import Path

import click

from nas_service.cli.terminal import closed_at_end, err, options, plain
from nas_service.errors import Interrupted
from nas_service.store.database import storage_url
from nas_service.store.process_id import owner_name
from nas_service.store.store import LEASE_s, Store
from nas_service.worker.telemetry import LogFormat, Telemetry, log_as


@click.command()
@click.option("--study", "name", required=True)
@click.option("--max-trials", type=click.IntRange(1), help="End behind so many.")
@click.option("--max-seconds", type=click.FloatRange(0, min_open=True), help="Begin none later.")
@click.option(
    "--training-seconds", type=click.FloatRange(0, min_open=True), help="End longer trainings."
)
@click.option(
    "--device", help="Where trainings run, such as cuda:0; else NAS_DEVICE, else the processor."
)
@click.option("--lease", "lease_s", type=click.FloatRange(1, 3600), default=LEASE_s,
              show_default=True, help="Seconds without a sign of life until others may take over.",
              )  # fmt: skip
@click.option(
    "--term-exit", type=click.IntRange(0, 255), default=0, show_default=True,
    help="Exit code when SIGTERM ends it; a Kubernetes Job replaces it for any but 0.",
)  # fmt: skip
@click.option("--end-with-stdin", "stdin", is_flag=True, hidden=True)
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
    storage: str | None,
    data: Path,
    any_disk: bool,
    log_format: LogFormat,
    log_level: str,
    metrics_port: int | None,
    metrics_host: str,
) -> None:
    """Work on a study of the store until it ends. Any number of workers may run.

    SIGTERM: the trial in hand is released, its last epoch kept, exit code 0. A second one: at once.
    """
    import torch

    from nas_service.evaluation.evaluator import Evaluator
    from nas_service.searches.creation import check_data, open_search
    from nas_service.worker.health import keep_beating
    from nas_service.worker.local_pool import end_on_signals, end_with_stdin
    from nas_service.worker.training_process import TrainingClient
    from nas_service.worker.worker import Worker, in_children

    own = os.environ.pop("NAS_DEVICE", "cpu")  # of trainings: this process touches no device
    torch.set_num_threads(1)
    telemetry = Telemetry({"study": name, "worker": owner_name()})
    log_as(log_format, telemetry.about, log_level)
    store = closed_at_end(Store(storage_url(storage, os.environ), write=True, any_disk=any_disk))
    search = open_search(store, name)
    search.store.lease_s = lease_s
    bench = Evaluator.open(search.spec, data)
    check_data(search, bench)
    if metrics_port is not None:
        err.print(f"metrics: {telemetry.serve(metrics_port, metrics_host)}", markup=False)
    with TrainingClient(device or own) as trainer:
        trainer.start()
        train = in_children(trainer, training_seconds)
        hand = Worker(search, bench, _say, train=train, telemetry=telemetry)
        by_machine = end_on_signals(hand.asked_to_end)
        keep_beating(hand.asked_to_end, os.environ)
        if stdin:
            end_with_stdin(hand.asked_to_end)
        try:
            _say(f"end: {hand.run(max_trials, max_seconds)}")
        except Interrupted as ended:
            if not by_machine.is_set():
                raise
            _say(f"end: {ended}")
            raise SystemExit(term_exit) from None
        finally:
            telemetry.close()


def _say(text: str) -> None:
    """A worker's line; that nobody listens any more costs no trial."""
    with contextlib.suppress(BrokenPipeError):
        print(plain(text), flush=True)
