"""What a machine must be able to do before one of its workers claims a trial."""

import contextlib
import fcntl
import hashlib
import math
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from nas_service.errors import MachineFault
from nas_service.evaluation.control_group import memory_limits
from nas_service.evaluation.evaluator import Evaluator
from nas_service.evaluation.extremes import largest_training_GiB, smallest_candidate
from nas_service.metrics import Evaluation
from nas_service.searches.session import Search
from nas_service.worker.spool import Spool
from nas_service.worker.training_process import ChildFailure, Job, TrainingClient

WORKER_GiB = 1.0  # of worker, fork server and an idle child: 0.64 measured, data excluded
PROBE = bytes(65536)  # is written into every folder
BATCH_s = 600.0  # the most that the training of one batch may take
VALID_s = 60.0  # for which workers of one machine rely on the batch that another has trained


def check_machine(search: Search, evaluator: Evaluator, spool: Spool) -> None:
    """Checks folders and memory, which takes milliseconds.

    Args:
        search: The study.
        evaluator: Its evaluator, which has read the data.
        spool: Where results are kept until the store has them.

    Raises:
        MachineFault: A folder cannot be written, or the memory does not suffice.
    """
    check_folder(search.store.artifacts / search.name, "artifacts", "NAS_ARTIFACTS")
    check_folder(spool.folder, "spool", "NAS_SPOOL")
    if cache := os.environ.get("NAS_CACHE"):
        check_folder(Path(cache), "cache", "NAS_CACHE")
    check_memory(evaluator)


def check_folder(folder: Path, what: str, variable: str) -> None:
    """Makes a folder, writes a file into it and deletes the file.

    Args:
        folder: The folder.
        what: What it is for, in the message.
        variable: The environment variable that names another one.

    Raises:
        MachineFault: The machine refuses.
    """
    file = folder / f"{uuid.uuid4().hex}.probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            _write(file)
        finally:
            file.unlink(missing_ok=True)
    except OSError as error:
        raise MachineFault(
            f"{what} {folder}: cannot be written on {socket.gethostname()} ({error.strerror}); "
            f"{variable} names another folder"
        ) from None


def _write(file: Path) -> None:
    with file.open("xb") as out:
        out.write(PROBE)
        out.flush()
        os.fsync(out.fileno())


def check_memory(evaluator: Evaluator) -> None:
    """Compares what worker and largest training need with the limit of this control group.

    Raises:
        MachineFault: The limit is lower.
    """
    limits, training = memory_limits(), evaluator.spec.training
    limit_GiB = limits[0].limit_B / 2**30 if limits else math.inf
    if training.memory_GiB + WORKER_GiB <= limit_GiB:
        return
    largest_GiB = largest_training_GiB(evaluator.workloads, training.batch_size)
    need_GiB = min(largest_GiB, training.memory_GiB)
    if need_GiB + WORKER_GiB > limit_GiB:
        raise MachineFault(
            f"memory: a worker takes {WORKER_GiB:g} GiB and a training of this study up to "
            f"{need_GiB:.3g} (training.memory_GiB = {training.memory_GiB:g}), but the control "
            f"group of this process on {socket.gethostname()} may use {limit_GiB:.3g} GiB"
        )


def check_training(
    evaluator: Evaluator,
    client: TrainingClient,
    spool: Spool,
    check_interrupt: Callable[[], None],
) -> None:
    """Trains a small candidate for one batch, unless another worker of this machine just did.

    Args:
        evaluator: Of the study.
        client: Trains in child processes.
        spool: Its folder keeps what was trained when, for the other workers of this machine.
        check_interrupt: Raises where the worker was asked to end.

    Raises:
        MachineFault: The training failed.
    """
    mark = spool.folder / "batch.proof"
    with _locked(spool.folder / "batch.lock", check_interrupt):
        if _is_valid(mark, facts := _facts(evaluator, client)):
            return
        _train_batch(evaluator, client, check_interrupt)
        with contextlib.suppress(OSError):
            mark.write_text(facts)


def _train_batch(
    evaluator: Evaluator, client: TrainingClient, check_interrupt: Callable[[], None]
) -> None:
    candidate = _candidate(evaluator)
    if candidate is None:
        return
    job = Job(
        evaluator.spec,
        evaluator.folder,
        candidate,
        Path(os.devnull),
        one_batch=True,
        density=evaluator.density,
    )
    try:
        client.run(job, check_interrupt, BATCH_s)
    except ChildFailure as failure:
        raise MachineFault(
            f"{socket.gethostname()} cannot train on {client.device}, one batch failed: {failure}"
        ) from None


def _candidate(evaluator: Evaluator) -> Evaluation | None:
    """A small candidate, whatever the study's budgets are."""
    spec = evaluator.spec.model_copy(update={"constraints": ()})
    architecture = smallest_candidate(evaluator.workloads.space)
    if architecture is None:
        return None
    return replace(evaluator, spec=spec).screen(architecture, spec.seed)


def _facts(evaluator: Evaluator, client: TrainingClient) -> str:
    """A digest of what decides whether the training of one batch succeeds."""
    facts = (evaluator.spec.model_dump_json(), str(evaluator.folder), client.device, os.getuid())
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _is_valid(mark: Path, facts: str) -> bool:
    try:
        return mark.read_text() == facts and abs(time.time() - mark.stat().st_mtime) < VALID_s
    except (OSError, UnicodeDecodeError):
        return False


@contextlib.contextmanager
def _locked(file: Path, check_interrupt: Callable[[], None]) -> Iterator[None]:
    """Only one process of this machine at a time is inside."""
    with file.open("w") as lock:
        while True:
            check_interrupt()
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.05)
        yield
