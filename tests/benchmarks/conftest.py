"""Benchmarks run at their smallest: the files that they read, and what they print."""

import contextlib
import importlib
import io
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import forked
import optuna
import pytest
from benchmark_files import rewrite, write_bench, write_images, write_table
from nas_command import InProcessPool

from nas_service import api
from nas_service.snn.compiler import cache_folder
from nas_service.worker.training_process.client import WORKER_ENVIRONMENT

Run = Callable[..., Any]


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CIFAR-10's archive of pictures, with few of them."""
    folder = tmp_path_factory.mktemp("images")
    archive = folder / "data" / "cifar10_jpeg_full_60000.zip"
    write_images(folder / "pictures")
    shutil.make_archive(str(archive.with_suffix("")), "zip", folder / "pictures")
    return archive


@pytest.fixture(scope="session")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small studies."""
    folder = tmp_path_factory.mktemp("recipes")
    space = {"channels": "[8, 16]", "head_pool": "[1, 2]", "hidden": "[32, 64]"}
    space |= {"time_steps": "[2, 3]", "weight_bits": "[4, 8]"}
    rewrite("digits", folder, space | samples(128, 30, epochs=2) | {"batch_size": 16})
    space = {"channels": "[4]", "hidden": "[16]", "time_steps": "[2]"}
    rewrite("cifar10", folder, space | samples(30, 10, epochs=1))
    return folder


def samples(train: int, validation: int, epochs: int) -> dict[str, int]:
    return {"train_samples": train, "validation_samples": validation, "epochs": epochs}


@pytest.fixture(scope="session")
def digits(recipes: Path) -> tuple[str, str]:
    """The option that names the small study of the digits."""
    return "--study", str(recipes / "digits.toml")


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of trained cells."""
    path = tmp_path_factory.mktemp("table") / "table.csv"
    write_table(path)
    return path


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A table of all cells, and that of their firing rates."""
    folder = tmp_path_factory.mktemp("bench")
    write_bench(folder / "bench.csv", folder / "firing.csv")
    return folder / "bench.csv", folder / "firing.csv"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the benchmarks, the C++ scan in it if it has been built."""
    folder = tmp_path_factory.mktemp("cache")
    if (built := cache_folder(os.environ)).exists():
        shutil.copytree(built, folder / "neurons")
    return folder


@pytest.fixture
def environment(cache: Path) -> dict[str, str]:
    """That of a user who has this cache."""
    return os.environ | {"NAS_CACHE": str(cache)} | WORKER_ENVIRONMENT


@pytest.fixture
def document(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Run]:
    """Runs a benchmark in this process; returns the document that it prints.

    A search that it runs on this machine has its worker in this process too. It leaves no file in
    the folder in which it runs.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(api, "LocalWorkerPool", InProcessPool)
    for name in ("NAS_CACHE", *WORKER_ENVIRONMENT):
        monkeypatch.setenv(name, environment[name])
    verbosity, files = optuna.logging.get_verbosity(), set(tmp_path.iterdir())

    def run(name: str, *arguments: object) -> Any:
        out = io.StringIO()
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(out):
            importlib.import_module(name).main([*map(str, arguments), "--json"])
        return parsed(out.getvalue())

    yield run
    optuna.logging.set_verbosity(verbosity)
    assert set(tmp_path.iterdir()) == files


@pytest.fixture
def forked_document(environment: dict[str, str], cache: Path, tmp_path: Path) -> Run:
    """Runs a benchmark that forks itself in a process that has loaded the service before."""

    def run(name: str, *arguments: str) -> Any:
        words = [*arguments, "--json"]
        code, out, err = forked.run_benchmark(name, words, tmp_path, environment, cache / "log")
        assert code == 0, err[-2000:]
        assert list(tmp_path.iterdir()) == []
        return parsed(out)

    return run


def parsed(text: str) -> Any:
    """The numbers of a document, all of them finite."""
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no number"))
