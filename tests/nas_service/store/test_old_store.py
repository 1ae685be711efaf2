"""A store of revision 2 is migrated, and its searches continue (tests/fixtures/store_revision_2).

Weights depend on the processor to the last bit. Where this processor gives the recorded
checkpoints, continued trainings must equal the recorded ones bit for bit; elsewhere only closely.
"""

import hashlib
import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from nas_service import api
from nas_service.cli.main import main
from nas_service.evaluation.evaluator import Evaluator
from nas_service.samplers import sampler_of
from nas_service.searches.results import read
from nas_service.searches.session import extend_epochs, open_search
from nas_service.searches.study_data import open_evaluator
from nas_service.store.process_id import worker_name
from nas_service.store.renamed_keys import renamed_spec
from nas_service.store.store import Store
from nas_service.study.loading import load_spec, parse_spec
from nas_service.worker.spool import Spool
from nas_service.worker.worker import Worker

FIXTURE = Path(__file__).parents[2] / "fixtures" / "store_revision_2"
EXPECTED = json.loads((FIXTURE / "expected.json").read_text())
STUDIES = tuple(EXPECTED["before"])
STATES = {"told": "reported", "following": "awaiting_duplicate", "waiting": "pending"}


def run(folder, *words):
    storage = ("--storage", f"sqlite:///{folder}/nas.db")
    return CliRunner().invoke(main, [*words, *storage], env={"COLUMNS": "1000"})


def unpack(folder):
    """The store and its artifacts as the old version left them."""
    with sqlite3.connect(folder / "nas.db") as db:
        db.executescript((FIXTURE / "store.sql").read_text())
        db.execute("PRAGMA journal_mode=WAL")
    db.close()
    shutil.copytree(FIXTURE / "artifacts", folder / "nas.artifacts")
    return folder


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = unpack(tmp_path_factory.mktemp("old"))
    done = run(folder, "migrate")
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def migrated(template, tmp_path):
    shutil.copytree(template, tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def store(migrated):
    opened = Store(f"sqlite:///{migrated}/nas.db", write=True)
    yield opened
    opened.close()


def rows(folder, query):
    with sqlite3.connect(folder / "nas.db") as db:
        return db.execute(query).fetchall()


def weights_digest(path):
    """SHA-256 of a file's tensors, whatever their names; as in the fixture's `make.py`."""
    each = sorted(
        hashlib.sha256(f"{t.dtype} {list(t.shape)}".encode() + t.numpy().tobytes()).hexdigest()
        for t in load_file(path).values()
    )
    return hashlib.sha256("\n".join(each).encode()).hexdigest()


def work(store, name, trials=None):
    """Works on a study in this process until it ends, or for that number of trials."""
    search = open_search(store, name)
    evaluator = open_evaluator(search, Path())
    Worker(search, evaluator, print).run(trials)
    return read(open_search(store, name))


def test_an_old_store_is_refused_with_the_command_that_helps(tmp_path):
    folder = unpack(tmp_path)
    for words in (("status", "growing"), ("front", "growing"), ("resume", "growing")):
        done = run(folder, *words)
        assert done.exit_code == 4
        assert "nas migrate" in done.output
        assert len(done.output.strip().splitlines()) == 1


def test_nothing_is_lost_by_the_migration(template, tmp_path):
    before = unpack(tmp_path)
    for table in ("trials", "nas_attempts", "nas_archive", "nas_rungs", "nas_repeats"):
        count = f"select count(*) from {table}"  # noqa: S608
        assert rows(template, count) == rows(before, count) != [(0,)]
    states = rows(before, "select lease_id, state from nas_leases where trial is not null")
    renamed = {lease: STATES.get(state, state) for lease, state in states}
    assert dict(rows(template, "select lease_id, state from nas_leases")) == renamed
    assert {"reported", "awaiting_duplicate", "pending", "failed"} <= set(renamed.values())


def test_rejected_trials_name_their_checks(store):
    """Each rejected trial has the names that the version before read from its reason."""
    counts = {}
    for name in STUDIES:
        result = read(open_search(store, name))
        rejected = [c for c in result.candidates if c.outcome == "rejected"]
        assert all(c.rejected_by and c.reason for c in rejected)
        counts |= {name: result.rejected_by} if rejected else {}
    assert counts, "the fixture has rejected trials"


@pytest.mark.parametrize("name", STUDIES)
def test_specifications_have_the_new_keys_in_both_tables(store, migrated, name):
    """A key that is new since then is left out, and has its default."""
    search = open_search(store, name)
    text = store.studies.get(name).spec
    tree = search.spec.model_dump(mode="json")
    assert tree["hardware"].pop("record") == "rates"
    assert json.loads(text) == tree
    assert text == search.study.user_attrs["spec"]


def test_texts_that_are_no_specification_stay_as_they_are():
    for text in ("", "no JSON", "[1, 2]", '"a"', "{"):
        assert renamed_spec(text) == text
    assert json.loads(renamed_spec('{"search": 3, "space": {"candidates": 1}}')) == {
        "search": 3,
        "space": {"deduplicate_by": 1},
    }


@pytest.mark.parametrize("name", [name for name in STUDIES if EXPECTED["before"][name]["front"]])
def test_fronts_are_what_they_were(store, name):
    expected, result = EXPECTED["before"][name]["front"], read(open_search(store, name))
    assert [c.digest for c in result.front] == expected["digests"]
    assert result.hypervolume == pytest.approx(expected["hypervolume"], rel=1e-12)
    assert {key: result.counts[key] for key in expected["counts"]} == expected["counts"]


@pytest.fixture(scope="module")
def same_processor(tmp_path_factory):
    """True where this processor gives the recorded weights after two epochs, to the bit."""
    folder = tmp_path_factory.mktemp("scratch")
    name, digest = "killed", "6c42899df960c2da"
    old = load_file(FIXTURE / "artifacts" / name / f"{digest}.training.safetensors")
    unpack(folder)
    assert run(folder, "migrate").exit_code == 0
    store = Store(f"sqlite:///{folder}/nas.db", write=True)
    try:
        search = open_search(store, name)
        tree = json.loads(search.spec.model_dump_json())
        tree["training"]["until"] = 2
        spec = parse_spec(json.dumps(tree), name)
        evaluator = Evaluator.open(spec, Path())
        trial = search.study.trials[0]
        architecture = spec.build_space().draw(_Drawn(trial.params))
        assert architecture.digest == digest
        seed = EXPECTED["continued"][name]["archive"][digest]["seed"]
        evaluator.train(evaluator.screen(architecture, seed), folder / "w.safetensors")
    finally:
        store.close()
    new = load_file(folder / "w.training.safetensors")
    shared = old.keys() & new.keys()
    assert {key for key in old if key.startswith("network.")} <= shared
    return all(torch.equal(old[key], new[key]) for key in shared)


class _Drawn:
    """What a space draws from, with the parameters of a trial."""

    def __init__(self, params):
        self.params = params

    def suggest_categorical(self, name, choices):
        return self.params[name]

    def suggest_int(self, name, low, high, **_):
        return self.params[name]


@pytest.mark.parametrize(
    ("name", "digest"), [("interrupted", "8d4e0ec661680ab9"), ("killed", "6c42899df960c2da")]
)
def test_an_interrupted_training_continues_after_its_last_epoch(
    store, migrated, name, digest, same_processor, caplog, monkeypatch
):
    epochs = []
    train = Evaluator.train

    def watched(evaluator, screened, weights=None, check_interrupt=lambda: None, **_):
        def on_epoch(number, loss):
            epochs.append((screened.architecture.digest, number))

        return train(evaluator, screened, weights, check_interrupt, on_epoch)

    monkeypatch.setattr(Evaluator, "train", watched)
    work(store, name, trials=1)
    assert [number for which, number in epochs if which == digest] == [3, 4, 5, 6]
    assert "starts again" not in caplog.text
    expected = EXPECTED["continued"][name]["archive"][digest]
    known = store.archive(open_search(store, name).id).entries()[digest]
    assert (known.trial, known.outcome) == (expected["trial"], expected["outcome"])
    weights = migrated / "nas.artifacts" / name / f"{digest}.safetensors"
    if same_processor:
        assert weights_digest(weights) == expected["weights"]
        assert known.metrics["accuracy"] == expected["accuracy"]
    else:
        assert known.metrics["accuracy"] == pytest.approx(expected["accuracy"], abs=0.1)


def test_trainings_of_an_old_study_are_extended(store, migrated, same_processor):
    search = extend_epochs(open_search(store, "growing"), 4)
    assert len(api.resume_training(read(search))) == 3
    expected, result = EXPECTED["continued"]["growing"], work(store, "growing")
    assert {key: result.counts[key] for key in expected["front"]["counts"]} == (
        expected["front"]["counts"]
    )
    for digest in EXPECTED["before"]["growing"]["front"]["digests"]:
        weights = migrated / "nas.artifacts" / "growing" / f"{digest}.safetensors"
        if same_processor:
            assert weights_digest(weights) == expected["archive"][digest]["weights"]
    assert {c.metrics["epochs"] for c in result.front} == {4.0}


def test_a_new_study_learns_from_old_ones(store, migrated, tmp_path):
    text = (FIXTURE / "studies" / "warmed.toml").read_text()
    for old, new in (
        ('candidates = "genotypes"', 'deduplicate_by = "genotype"'),
        (
            'per = "tensor"\nscale = "learned"\nwhen = "training"',
            'granularity = "tensor"\nstep_size = "learned"\nmode = "qat"',
        ),
        ("\nset = ", '\nprofile = "corrected"\noverrides = '),  # the default of then
        ("\nspace = ", "\nsearch_space = "),
        ("\nchips = ", "\nmonte_carlo_chips = "),
        ("\nwarm = ", "\nwarm_start_from = "),
        ("stall = { trainings = 40, gain =", "early_stop = { patience = 40, min_gain ="),
        ("trainings = 3\n", "trainings = 1\n"),
    ):
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "warmed.toml"
    path.write_text(text)
    search, evaluator = api.prepare(load_spec(path), lambda: store, Path())
    seen = list(sampler_of(search.spec).inner._warm(search.study))  # all that it learns from
    assert len(seen) >= 8
    Worker(search, evaluator, print).run()
    result = read(search)
    first = EXPECTED["warmed"]["archive"]
    assert result.candidates[-1].digest in first, "the old version proposed it first, too"


def test_a_spooled_result_of_the_old_version_is_kept(store, migrated, monkeypatch, tmp_path):
    monkeypatch.setenv("NAS_SPOOL", str(tmp_path / "spool"))
    ours, (host, boot, _, start, space) = worker_name(), worker_name().split("/")
    dead = f"{host}/{boot}/{2**22 + 1}/{start}/{space}"
    assert ours != dead
    with sqlite3.connect(migrated / "nas.db") as db:
        search = open_search(store, "spooled")
        db.execute("update nas_leases set worker = ? where study_id = ?", (dead, search.id))
        db.execute("update nas_attempts set worker = ? where study_id = ?", (dead, search.id))
    folder = tmp_path / "spool" / store.name
    folder.mkdir(parents=True)
    entry = json.loads((FIXTURE / "spool" / "result.json").read_text()) | {"owner": dead}
    (folder / "0.json").write_text(json.dumps(entry))
    os.chmod(folder.parent, 0o700)
    assert list(Spool.of(store).results(open_search(store, "spooled").id))
    result = work(store, "spooled")
    (candidate,) = result.candidates
    expected = EXPECTED["continued"]["spooled"]["archive"][candidate.digest]
    assert candidate.metrics["accuracy"] == expected["accuracy"]
