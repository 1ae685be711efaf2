"""Processes that are forked from one that has loaded the service, so that they start at once."""

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

CONTEXT = multiprocessing.get_context("forkserver")
LOADED = (
    "nas_service.cli.main",
    "nas_service.evaluation.evaluator",
    "nas_service.samplers.greybox.sampler",
    "nas_service.worker.training_process.job",
    "nas_service.worker.worker",
)


def start(function: Callable[..., object], *arguments: object) -> ForkServerProcess:
    """Starts a process that calls a function of an importable module."""
    CONTEXT.set_forkserver_preload(list(LOADED))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        forkserver.ensure_running()
    process = CONTEXT.Process(target=function, args=arguments)
    process.start()
    return process


def run_benchmark(
    name: str, arguments: list[str], folder: Path, environment: Mapping[str, str], log: Path
) -> tuple[int | None, str, str]:
    """Runs a benchmark in a folder; returns its exit code, output and error output.

    Output is kept in two files beside `log` until the benchmark has ended.
    """
    outputs = [log.with_suffix(".out"), log.with_suffix(".err")]
    process = start(_benchmark, name, arguments, folder, dict(environment), outputs)
    process.join()
    out, err = (path.read_text() for path in outputs)
    return process.exitcode, out, err


def _benchmark(
    name: str,
    arguments: list[str],
    folder: Path,
    environment: dict[str, str],
    outputs: list[Path],
) -> None:
    for number, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(folder)
    os.environ.update(environment)
    import_module(name).main(arguments)
