"""Checkpoints of the version before keep their identity, although keys of studies were renamed."""

import json
import tomllib
from pathlib import Path

import pytest
from safetensors import safe_open

from nas_service.evaluation.training_run import training_identity
from nas_service.samplers import derived_seed
from nas_service.searches.retraining import in_full, repeat_seed
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
