"""Trainings that the version before stored: weights, checkpoints and shared weights are read.

Names of tensors, numbers of parameters and the identity of a training are those of that version.
"""

import json
import logging
import sqlite3
import tomllib
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from nas_service.evaluation.networks import build_network, recipe_of
from nas_service.evaluation.training_run import training_identity
from nas_service.samplers import derived_seed
from nas_service.searches.retraining import in_full, repeat_seed
from nas_service.snn import inheritance
from nas_service.snn.checkpoint import CheckpointFile, load_weights
from nas_service.snn.network import Network
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.task import Task
from nas_service.study.loading import parse_spec
from nas_service.study.spec import StudySpec

STORE = Path(__file__).parents[2] / "fixtures/store_revision_2"
NEW_KEYS = {
    "per": "granularity",
    "scale": "step_size",
    "when": "mode",
    "scoring": "scoring",
}
MODES = {"training": "qat", "after": "ptq"}
KILLED_OPERATIONS = ("zeroize", "skip", "conv3x3")
DIGITS = Task(channels=1, size=8, classes=10)
LARGE, SMALL = "eb7051bbc2f109af", "2fa2fef78bed267d"  # data digests: 128 or 64 validation images


def study(name: str) -> StudySpec:
    """A study of the store with the keys of this version, as far as they decide a training."""
    tree = tomllib.loads((STORE / f"studies/{name}.toml").read_text())
    tree.pop("search")
    tree.pop("hardware", None)
    tree["space"].pop("candidates", None)
    tree["constraints"] = []
    tree["objectives"] = [{"metric": "accuracy", "direction": "maximize"}]
    quantization = tree.pop("quantization", {})
    tree["quantization"] = {
        NEW_KEYS[key]: MODES.get(value, value) for key, value in quantization.items()
    }
    return parse_spec(json.dumps(tree), name)


def stored_identity(name: str, file: str) -> str:
    with safe_open(STORE / f"artifacts/{name}/{file}.training.safetensors", "pt") as checkpoint:
        identity: str = json.loads(checkpoint.metadata()["training"])["identity"]
    return identity


def network(name: str, architecture: Architecture) -> Network:
    torch.manual_seed(0)
    return build_network(study(name), DIGITS, architecture, torch.device("cpu"))


@pytest.fixture(scope="module")
def architectures() -> dict[tuple[str, str], Architecture]:
    """All trained architectures of the store, by study and digest."""
    connection = sqlite3.connect(":memory:")
    connection.executescript((STORE / "store.sql").read_text())
    rows = connection.execute(
        "SELECT study_name, digest, evaluation FROM nas_archive JOIN studies USING (study_id) "
        "WHERE outcome = 'trained'"
    ).fetchall()
    connection.close()
    return {
        (name, digest): Architecture.from_json(json.loads(evaluation)["architecture"])
        for name, digest, evaluation in rows
    }


def test_stored_weights_are_read(architectures: dict[tuple[str, str], Architecture]) -> None:
    read = set()
    for (name, digest), architecture in architectures.items():
        path = STORE / f"artifacts/{name}/{digest}.safetensors"
        if path.is_file():
            load_weights(network(name, architecture), path)
            read.add(name)
    assert read == {"growing", "complete", "interrupted"}


@pytest.mark.parametrize(
    ("name", "digest", "epoch"),
    [
        ("complete", "34455b950af35901", 1),  # learned steps: two groups of parameters
        ("growing", "4c2c9764536d193d", 2),
        ("growing", "fb9e6cd4cde96289", 2),
        ("killed", "6c42899df960c2da", 2),  # SGD, recurrent cells that are shared
    ],
)
def test_stored_checkpoints_are_continued(
    architectures: dict[tuple[str, str], Architecture],
    caplog: pytest.LogCaptureFixture,
    name: str,
    digest: str,
    epoch: int,
) -> None:
    initial = tomllib.loads((STORE / "studies/killed.toml").read_text())["search"]["start"][0]
    killed = Architecture.from_json(initial, KILLED_OPERATIONS)
    architecture = {**architectures, ("killed", killed.digest): killed}[name, digest]
    fresh = network(name, architecture)
    optimizer = recipe_of(study(name)).optimizer_of(fresh)
    path = STORE / f"artifacts/{name}/{digest}.training.safetensors"
    saved = CheckpointFile(path, stored_identity(name, digest))
    with torch.random.fork_rng(), caplog.at_level(logging.WARNING):
        assert saved.resume(fresh, optimizer, torch.Generator(), 6) == epoch
    assert not caplog.records


def test_stored_shared_weights_are_inherited(
    architectures: dict[tuple[str, str], Architecture],
) -> None:
    pool = STORE / "artifacts/complete/shared.safetensors"
    for (name, _), architecture in architectures.items():
        if name == "complete":
            assert inheritance.inherit(network(name, architecture), architecture, pool) == 1.0


@pytest.mark.parametrize(
    ("name", "data_digest", "digest", "trial"),
    [
        ("complete", LARGE, "34455b950af35901", 0),
        ("growing", LARGE, "4c2c9764536d193d", 1),
        ("growing", LARGE, "fb9e6cd4cde96289", 2),
        ("growing", LARGE, "f1e31f3a5c8fa3bd", 4),
        ("growing", LARGE, "98543d40e07772ca", 6),
        ("interrupted", SMALL, "8d4e0ec661680ab9", 2),
        ("killed", SMALL, "6c42899df960c2da", 0),
        ("spooled", SMALL, "a78ab6e46ac5be63", 0),
    ],
)
def test_trainings_of_the_version_before_keep_their_identity(
    name: str, data_digest: str, digest: str, trial: int
) -> None:
    spec = study(name)
    identity = training_identity(spec, data_digest, digest, derived_seed(spec.seed, trial))
    assert identity == stored_identity(name, digest)


def test_repeats_of_the_version_before_keep_their_identity() -> None:
    spec, digest = study("growing"), "fb9e6cd4cde96289"
    identity = training_identity(in_full(spec), LARGE, digest, repeat_seed(spec.seed, digest, 1))
    assert identity == stored_identity("growing", f"{digest}.repeat1")


@pytest.mark.parametrize("section", ["network", "quantization", "training", "data"])
def test_other_settings_have_another_identity(section: str) -> None:
    changes = {
        "network": {"tau": 3.0},
        "quantization": {"granularity": "channel"},
        "training": {"batch_size": 32},
        "data": {"split_seed": 1},
    }
    spec = study("interrupted")
    changed = getattr(spec, section).model_copy(update=changes[section])
    other = spec.model_copy(update={section: changed})
    assert training_identity(other, SMALL, "0" * 16, 1) != training_identity(
        spec, SMALL, "0" * 16, 1
    )


def test_limits_and_scoring_do_not_change_the_identity() -> None:
    spec = study("interrupted")
    training = spec.training.model_copy(update={"until": 4, "rungs": (2,)})
    quantization = spec.quantization.model_copy(update={"scoring": "int8"})
    other = spec.model_copy(update={"training": training, "quantization": quantization})
    assert training_identity(other, SMALL, "0" * 16, 1) == training_identity(
        spec, SMALL, "0" * 16, 1
    )
