"""`nas evaluate -o` keeps a network in a file, which `nas export` reads like a trial."""

import json

import pytest
import tiny
from nas_command import Folder

import nas_service

pytestmark = pytest.mark.training
TEXT = "0202 0020 0002 0000"
SIZES = {"channels": 4, "head_pool": 2, "hidden": 16, "time_steps": 2, "weight_bits": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with an architecture that was evaluated; only its exported files change."""
    folder = Folder(tmp_path_factory.mktemp("evaluated"))
    (folder.path / "tiny.toml").write_text(tiny.QUICK.format(trainings=1))
    (folder.path / "a.json").write_text(json.dumps({"cells": [TEXT, TEXT], **SIZES}))
    (folder.path / "b.json").write_text(json.dumps({"cells": [TEXT[5:] + " 0000"], **SIZES}))
    measured = folder.json("evaluate", "a.json", "tiny.toml", "-o", "net.safetensors")
    (folder.path / "measured.json").write_text(json.dumps(measured))
    return folder


@pytest.mark.parametrize("kind", ["torch", "crossbar", "safetensors"])
def test_the_network_of_an_evaluation_is_exported(folder, kind):
    document = folder.json("export", "net.safetensors", "--format", kind, "-o", kind, "--check")
    assert document["check"]["equal"]
    assert document["check"]["images"] == 32


def test_what_was_measured_is_in_the_file_and_in_files_made_of_it(folder):
    measured = json.loads((folder.path / "measured.json").read_text())
    folder.nas("export", "net.safetensors", "--format", "safetensors", "-o", "again")
    first, again = (
        nas_service.load(folder.path / f"{name}.safetensors").document for name in ("net", "again")
    )
    assert first["metrics"] == measured["metrics"]
    assert again["metrics"] == pytest.approx(first["metrics"], rel=1e-12)
    assert again | {"metrics": 0} == first | {"metrics": 0}
    assert "trial" not in first


def test_a_card_names_the_architecture_where_there_is_no_trial(folder):
    digest = json.loads((folder.path / "measured.json").read_text())["digest"]
    folder.nas("export", "net.safetensors", "--format", "card", "-o", "card")
    text = (folder.path / "card.md").read_text()
    assert text.startswith(f"# tiny, architecture {digest}\n")
    assert "| seed of the study | 0 |" in text


def test_a_check_needs_the_images_of_the_training(folder, monkeypatch):
    from nas_service.evaluation.images import StudyImages

    monkeypatch.setattr(StudyImages, "digest", "0" * 16)
    code, _, err = folder.nas(
        "export", "net.safetensors", "--format", "torch", "-o", "x", "--check"
    )
    assert code == 2
    assert "the network was trained with other images (digest" in err
    assert not (folder.path / "x.py").exists()


def test_a_network_is_not_replaced_and_not_promised_in_vain(folder):
    before = (folder.path / "net.safetensors").read_bytes()
    for words, message in (
        (("-o", "net"), "net.safetensors exists: --force replaces it"),
        (("-o", "new", "--no-train"), "-o new: nothing is trained (--no-train)"),
        (("-o", "no/"), "-o 'no/': no such folder"),
    ):
        code, out, err = folder.nas("evaluate", "a.json", "tiny.toml", *words)
        assert (code, out, message in err) == (2, "", True)
        assert len(err.splitlines()) == 1
    code, _, err = folder.nas("evaluate", "b.json", "tiny.toml", "-o", "new")
    assert code == 3, "without a path nothing is trained"
    assert "new.safetensors is not written" in err
    assert not (folder.path / "new.safetensors").exists()
    assert (folder.path / "net.safetensors").read_bytes() == before
