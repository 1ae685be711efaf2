"""Any training can be repeated from its record: bit for bit, or the difference is reported."""

import json

import pytest
import sqlalchemy as sa
import torch
from click.testing import CliRunner

from nas_service.cli.main import main
from nas_service.evaluation.evaluator import Evaluator
from nas_service.searches.creation import check, create
from nas_service.searches.session import open_search
from nas_service.store.store import Store
from nas_service.store.tables import archive
from nas_service.study.loading import parse_spec
from nas_service.worker.worker import Worker

TREE = {
    "name": "x",
    "space": {
        "operations": "light3", "channels": [4, 8], "head_pool": 2, "hidden": 32, "time_steps": 2,
    },
    "data": {"name": "digits", "train_samples": 256, "validation_samples": 128},
    "training": {"epochs": 2, "rungs": [1], "batch_size": 32},
    "search": {"trainings": 2, "sampler": "random", "proposals_per_training": 20},
    "objectives": [
        {"metric": "accuracy", "direction": "maximize"},
        {"metric": "energy_uJ", "direction": "minimize", "reference": 1.0},
    ],
}  # fmt: skip


@pytest.fixture
def url(tmp_path):
    torch.set_num_threads(1)
    url = f"sqlite:///{tmp_path}/nas.db"
    spec, store = parse_spec(json.dumps(TREE), "x"), Store(url, create=True)
    evaluator = Evaluator.open(spec, tmp_path)
    create(store, check(spec), evaluator.data_digest, evaluator.density)
    Worker(open_search(store, "x"), evaluator, lambda text: None).run()
    store.close()
    return url


def replay(url, trial):
    done = CliRunner().invoke(main, ["replay", "x", str(trial), "--storage", url, "--json"])
    return done.exit_code, json.loads(done.stdout) if done.stdout else done.stderr


def test_24_replay(url):
    store = Store(url)
    trained = {a.trial: d for d, a in store.archive(1).entries().items() if a.outcome == "trained"}
    assert len(trained) == 2
    rates = [store.archive(1).evaluation(digest).spike_rate for digest in trained.values()]
    assert any(0.01 < rate < 0.9 for rate in rates)
    for trial in trained:
        code, document = replay(url, trial)
        assert (code, document["same"], document["versions"]) == (0, True, {})

    trial, digest = trained.popitem()
    kept = store.archive(1).evaluation(digest).to_json()
    row = archive.c.digest == digest
    with store.engine.begin() as db:
        text = json.dumps(kept | {"spike_rate": 0.123456})
        db.execute(sa.update(archive).where(row).values(evaluation=text))
    store.close()
    code, document = replay(url, trial)
    assert (code, document["same"]) == (1, False)
    assert document["differences"] == {"spike_rate": [0.123456, kept["spike_rate"]]}
    assert "no finished trial 99" in str(replay(url, 99)[1])
