"""`nas export`: files, checks, and what it refuses."""

import json
import re
import shutil
import sys
from contextlib import closing
from pathlib import Path

import pytest
import tiny
import torch
from nas_command import Folder, InProcessPool
from safetensors.torch import save_file
from sklearn.datasets import load_digits

import nas_service
from nas_service import api
from nas_service.cli.export import DIFFERS
from nas_service.errors import NasError
from nas_service.export import torch_format
from nas_service.export.formats import FORMATS
from nas_service.export.nir_readers import READERS
from nas_service.export.run import Run
from nas_service.searches import results, retraining
from nas_service.searches.session import open_search
from nas_service.searches.study_data import open_evaluator
from nas_service.store.store import Store

pytestmark = pytest.mark.training


class Exports(Folder):
    """A folder that knows its files but those that SQLite has while a store is open."""

    @property
    def files(self):
        return sorted(p for p in self.path.iterdir() if not p.name.startswith("nas.db-"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a study of one trained candidate; only its exported files change."""
    folder = Exports(tmp_path_factory.mktemp("study"))
    (folder.path / "tiny.toml").write_text(tiny.QUICK.format(trainings=1))
    (folder.path / "nas.db.safetensors").write_bytes(b"SQLite format 3")
    code, _, err = folder.nas("run", "tiny.toml")
    assert code == 0, err
    return folder


@pytest.fixture
def weights(folder):
    """The file of the candidate's weights, put back after the test."""
    (path,) = (folder.path / "nas.artifacts" / "tiny").glob("????????????????.safetensors")
    content = path.read_bytes()
    yield path
    path.write_bytes(content)


def test_an_exported_network_predicts_what_the_study_scored(folder):
    document = folder.json("export", "tiny", "0", "--format", "safetensors", "--check")
    assert document["files"] == ["tiny-0.safetensors"]
    assert document["check"]["equal"]
    assert document["check"]["images"] == 32
    network = nas_service.load(folder.path / "tiny-0.safetensors")
    trial = folder.json("show", "tiny", "0")
    assert network.document["metrics"]["accuracy"] == trial["metrics"]["accuracy"]
    assert network.document["architecture"] == trial["architecture"]
    assert network.predict(torch.zeros(2, 8, 8, dtype=torch.uint8)).names[0] in "0123456789"


def test_a_candidate_of_a_result_is_loaded_as_its_exported_file_is(folder, weights, monkeypatch):
    monkeypatch.setattr(api, "LocalWorkerPool", InProcessPool)
    store = folder.path / "nas.db"
    result = nas_service.search(folder.path / "tiny.toml", store, data=folder.path / "none")
    loaded = result.front[0].load()
    folder.nas("export", "tiny", "0", "--format", "safetensors", "-o", "same")
    exported = nas_service.load(folder.path / "same.safetensors")
    images = load_digits().images.astype("uint8")
    assert type(loaded) is type(exported)
    assert json.loads(json.dumps(loaded.document)) == exported.document
    assert loaded.inputs == exported.inputs
    scores = [network.predict(images).scores for network in (loaded, exported)]
    assert (scores[0] == scores[1]).all()
    weights.unlink()
    with pytest.raises(NasError, match=r"trial 0 of 'tiny': no weights in .*deleted or pruned"):
        result.front[0].load()


def test_the_readme_goes_from_a_front_to_predicted_classes(folder, monkeypatch, capsys):
    """Its program runs as it is, on a study of one training in place of the one it names."""
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len(program.splitlines()) <= 10
    monkeypatch.chdir(folder.path)
    monkeypatch.setattr(api, "LocalWorkerPool", InProcessPool)
    (folder.path / "studies").mkdir()
    shutil.copy("tiny.toml", "studies/digits.toml")
    exec(program, {})  # noqa: S102  the text of our own page
    assert capsys.readouterr().out.startswith("0 {'accuracy'")


def test_a_candidate_that_no_search_returned_has_no_network(folder):
    with closing(Store(f"sqlite:///{folder.path}/nas.db")) as store:
        candidate = results.read(open_search(store, "tiny")).front[0]
    with pytest.raises(NasError, match=r"trial 0: candidates of `nas_service\.search` can be"):
        candidate.load()


@pytest.mark.parametrize("kind", [name for name, kind in FORMATS.items() if kind.runs])
def test_files_of_a_trained_network_differ_by_rounding_alone(folder, kind):
    document = folder.json("export", "tiny", "0", "--format", kind, "-o", f"r-{kind}", "--check")
    assert document["check"]["equal"]
    assert document["check"]["threshold_distance"] < 1e-5
    assert document["check"]["spike_rate"] > 0


def test_a_repeat_of_a_training_is_exported(folder):
    with closing(Store(f"sqlite:///{folder.path}/nas.db")) as store:
        search = open_search(store, "tiny")
        finalists = results.read(search).front
        retraining.train(search, open_evaluator(search, folder.path), finalists, 1)
        seed = retraining.repeat_seed(search.spec.seed, finalists[0].digest, 0)
    words = ("--repeat", "1", "--format", "safetensors", "-o", "repeat", "--check")
    assert folder.json("export", "tiny", "0", *words)["check"]["equal"]
    document = nas_service.load(folder.path / "repeat.safetensors").document
    assert (document["trial"], document["repeat"], document["seed"]) == (0, 1, seed)


def test_the_check_of_a_program_is_shown(folder):
    code, out, err = folder.nas("export", "tiny", "0", "--format", "torch", "-o", "a.py", "--check")
    assert code == 0, err
    assert out.splitlines()[:2] == ["wrote a.py", "wrote a.weights.safetensors"]
    assert out.splitlines()[2].startswith("32 images: 0 predictions differ")


def test_a_difference_ends_with_its_exit_code(folder, monkeypatch):
    monkeypatch.setattr(torch_format, "run", lambda path, pixels: Run(-torch.eye(32, 10)))
    code, out, _ = folder.nas("export", "tiny", "0", "--format", "torch", "-o", "b", "--check")
    assert code == DIFFERS
    assert "0 predictions differ" not in out.replace("10 predictions", "")


def test_existing_files_stay_unless_forced(folder):
    arguments = ("export", "tiny", "0", "--format", "card", "-o", "kept")
    (folder.path / "kept.html").write_text("mine")
    code, out, err = folder.nas(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "kept.html exists: --force replaces it, -o names another file" in err
    assert (folder.path / "kept.html").read_text() == "mine"
    assert not (folder.path / "kept.md").exists()
    assert folder.nas(*arguments, "--force")[0] == 0


@pytest.mark.parametrize("kind", ["onnx", "onnx-unrolled"])
def test_a_check_that_cannot_run_writes_nothing(folder, monkeypatch, kind):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    before = folder.files
    code, out, err = folder.nas("export", "tiny", "0", "--format", kind, "-o", "o", "--check")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "onnxruntime is not installed: pip install 'nas-service[onnx]'" in err
    assert folder.files == before


def test_each_reader_of_nir_is_checked(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "sinabs", None)
    code, out, err = folder.nas("export", "tiny", "0", "--format", "nir", "-o", "n", "--check")
    assert code == 0, err
    written, own, *readers = out.splitlines()
    assert written == "wrote n.nir"
    assert own.startswith("32 images: 0 predictions differ")
    assert [line.partition(":")[0] for line in readers] == list(READERS)
    assert readers[0].startswith("norse: 32 images: 0 predictions differ")
    assert readers[-1].startswith("sinabs: Sinabs is not installed: pip install sinabs, or")
    study = folder.path / "tiny.toml"
    costed = folder.json("cost", "n.nir"), folder.json("cost", "n.nir", "--time-steps", "2")
    assert costed[0] == costed[1], f"the file says the time steps of {study}"


def test_a_file_for_a_reader_has_a_program_that_loads_it(folder, monkeypatch):
    arguments = ("export", "tiny", "0", "--format", "nir", "--for", "norse", "-o", "m.nir")
    document = folder.json(*arguments, "--check")
    assert document["files"] == ["m.nir", "m.load_norse.py"]
    assert document["check"]["equal"]
    assert "readers" not in document
    monkeypatch.setitem(sys.modules, "norse", None)
    code, _, err = folder.nas(*arguments, "--check", "--force")
    assert (code, err.count("\n")) == (2, 1)
    assert "Norse is not installed: pip install norse, or export without --check" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tiny", "0", "--format", "onx"), "'onx' is not one of"),
        (("tiny", "0"), "Missing option '--format'"),
        (("tiny", "--format", "torch"), "tiny: the number of a trial of this study is needed, or"),
        (("no.safetensors", "--format", "torch"), "no.safetensors: cannot be read (missing)"),
        (("nas.db.safetensors", "--format", "torch"), "nas.db.safetensors: cut, damaged or no"),
        (
            ("no.safetensors", "--format", "torch", "--repeat", "1"),
            "--repeat 1: no.safetensors is one network",
        ),
        (("tiny", "0", "--format", "nir", "--for", "lava"), "'lava' is not one of 'norse'"),
        (
            ("tiny", "0", "--format", "onnx", "--for", "norse"),
            "--for norse: norse reads nir files; --format is onnx",
        ),
        (("tiny", "9", "--format", "torch"), "has no finished trial 9"),
        (("tinny", "0", "--format", "torch"), "no study 'tinny'"),
        (("tiny", "0", "--format", "torch", "--repeat", "2"), "has no repeat 2: `nas retrain"),
        (("tiny", "0", "--format", "torch", "-o", ""), "-o '.': the name of a file is needed"),
        (("tiny", "0", "--format", "torch", "-o", "no/"), "-o 'no/': no such folder"),
        (("tiny", "0", "--format", "torch", "-o", "x/.."), "-o 'x/..': the name of a file"),
        (("tiny", "0", "--format", "torch", "-o", "x" * 300), "cannot be written (File name too"),
        (("tiny", "0", "--format", "torch", "-o", "no/x"), "no: cannot be written"),
        (("tiny", "0", "--format", "torch", "-o", "tiny.toml/x"), "cannot be written"),
    ],
)
def test_what_cannot_be_exported_is_one_line(folder, arguments, message):
    before = folder.files
    code, out, err = folder.nas("export", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert folder.files == before


def test_weights_that_are_gone_or_damaged(folder, weights):
    weights.unlink()
    code, _, err = folder.nas("export", "tiny", "0", "--format", "torch", "-o", "c")
    assert code == 2
    assert "trial 0 of 'tiny'" in err
    assert "no weights in" in err
    save_file({"a": torch.zeros(1)}, weights)
    code, _, err = folder.nas("export", "tiny", "0", "--format", "torch", "-o", "c")
    assert code == 2
    assert "not the weights of this network" in err
    save_file({"a": torch.zeros(1)}, weights, {"origin": '{"training": "x", "epochs": "1"}'})
    _, _, err = folder.nas("export", "tiny", "0", "--format", "torch", "-o", "c")
    assert "the weights of another training than that of the result" in err
    assert not (folder.path / "c.py").exists()


def test_an_untrained_trial_has_nothing_to_export(tmp_path):
    folder = Folder(tmp_path)
    budget = '[[constraints]]\nmetric = "area_mm2"\nat_most = 0.001\n'
    (tmp_path / "tiny.toml").write_text(tiny.QUICK.format(trainings=1) + budget)
    folder.nas("create", "tiny.toml")
    folder.nas("worker", "--study", "tiny", "--max-trials", "1")
    code, _, err = folder.nas("export", "tiny", "0", "--format", "torch")
    assert code == 2
    assert "it was rejected" in err
    assert "no weights to export" in err
