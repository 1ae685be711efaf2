"""What people pass to `nas_service.search`, and how Ctrl-C ends a loop of searches."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from study_trees import MINIMAL, STUDIES, minimal

import nas_service
from nas_service import api
from nas_service.cli.main import main
from nas_service.errors import Interrupted, NasError, SpecError, StoreError
from nas_service.study.loading import load_spec
from nas_service.worker.local_pool import MOST_WORKERS, LocalWorkerPool, cores, worker_count

DIGITS = next(path for path in STUDIES if path.stem == "digits")


@pytest.fixture
def untouched(tmp_path, monkeypatch):
    """Nothing may be written before all arguments are checked."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


def refused(**arguments):
    with pytest.raises(NasError) as caught:
        nas_service.search(**{"study": DIGITS} | arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("workers", [-3, 0, 2.5, 2.0, "2", True, MOST_WORKERS + 1, [1]])
def test_numbers_of_workers_that_are_none(untouched, workers):
    expected = f"workers = {workers!r}: a whole number, 1..256, or None for one for each core"
    assert refused(workers=workers) == expected


def test_numbers_of_workers():
    assert [worker_count(n) for n in (1, np.int64(2), MOST_WORKERS)] == [1, 2, MOST_WORKERS]
    assert worker_count(None) == cores()


@pytest.mark.parametrize("storage", [None, 3, b"nas.db"])
def test_storages_that_are_none(untouched, storage):
    with pytest.raises(StoreError) as caught:
        nas_service.search(DIGITS, storage=storage)
    kind = type(storage).__name__
    assert str(caught.value) == (
        f"storage = {storage!r}, a {kind}: a path is needed, or a URL such as sqlite:///nas.db"
    )


def test_paths_that_no_url_can_hold(untouched):
    assert refused(storage=Path("a?b.db")) == "storage 'a?b.db': a path without '?' is needed"


@pytest.mark.parametrize("study", [None, 3, [MINIMAL], b"digits.toml"])
def test_studies_that_are_none(untouched, study):
    assert refused(study=study).endswith(
        f", a {type(study).__name__}: a path is needed, its tables as a dict, or a StudySpec"
    )


@pytest.mark.parametrize("data", [None, 3])
def test_data_folders_that_are_none(untouched, data):
    assert refused(data=data) == f"data = {data!r}, a {type(data).__name__}: a path is needed"


def test_tables_with_a_fault_name_the_key(untouched):
    tree = MINIMAL | {"training": {"epochs": -1}}
    assert refused(study=tree).startswith("study: training.epochs: ")
    assert refused(study=MINIMAL | {"search": {"initial": ["none.json"]}}).startswith(
        "study: search.initial.0: none.json: "
    )
    around = dict(MINIMAL)
    around["space"] = around
    assert refused(study=around).startswith("study: not the tables of a study file (")
    assert refused(study={(1, 2): 3}).startswith("study: not the tables of a study file (")


def test_a_study_is_a_file_a_dict_or_a_specification(tmp_path):
    tree = copy.deepcopy(MINIMAL) | {"seed": np.int64(3), "space": MINIMAL["space"] | {
        "time_steps": np.array([2, 4])
    }}  # fmt: skip
    before = repr(tree)
    spec = api.spec_of(tree)
    assert spec == minimal(seed=3)
    assert repr(tree) == before
    assert api.spec_of(spec) is spec
    assert api.spec_of(str(DIGITS)) == api.spec_of(DIGITS) == load_spec(DIGITS)
    initial = {"search": {"initial": [str(tmp_path / "a.json")]}}
    (tmp_path / "a.json").write_text(json.dumps({"no": "architecture"}))
    with pytest.raises(SpecError, match=r"search\.initial\.0: .*a\.json"):
        api.spec_of(MINIMAL | initial)


def test_a_storage_is_a_url_or_a_path():
    assert api.storage_of("postgresql://db/nas") == "postgresql://db/nas"
    assert api.storage_of(Path("/x/a b#.db")) == "sqlite:////x/a b#.db"
    assert api.storage_of(Path("nas.db")) == "sqlite:///nas.db"


def test_control_c_ends_a_loop_that_continues_after_errors(tmp_path, monkeypatch):
    seen = []

    def interrupted(pool, key):
        seen.append(pool.store.shown)
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalWorkerPool, "_start", interrupted)

    def loop():
        for _ in range(2):
            try:
                nas_service.search(MINIMAL, storage=tmp_path / "nas.db", workers=1)
            except Exception as error:
                seen.append(error)

    with pytest.raises(KeyboardInterrupt, match="run the same command again to continue"):
        loop()
    assert seen == [f"sqlite:///{tmp_path}/nas.db"]
    assert not issubclass(Interrupted, Exception)


def test_control_c_ends_a_command_by_one_line(tmp_path, monkeypatch, capsys):
    def interrupted(pool, key):
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalWorkerPool, "_start", interrupted)
    study = tmp_path / "x.toml"
    study.write_text(DIGITS.read_text())
    words = ["run", str(study), "--storage", f"sqlite:///{tmp_path}/nas.db", "--workers", "1"]
    with pytest.raises(SystemExit) as ended:
        main(words, standalone_mode=False)
    assert ended.value.code == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "nas: interrupted: run the same command again to continue"
