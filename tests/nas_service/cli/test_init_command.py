"""`nas init`: a commented study that runs as it is, for each kind of data."""

import shlex
import subprocess
import sys
import tomllib
import zipfile
from functools import partial
from pathlib import Path

import command_line
import pytest
from click.testing import CliRunner
from image_trees import colours, png
from nas_command import Folder

from nas_service.cli.main import main
from nas_service.searches import first_study
from nas_service.searches.creation import check
from nas_service.spaces.task import Task
from nas_service.study.loading import load_spec

ROOT = Path(__file__).parents[3]
run = partial(command_line.run, "init")
refused = partial(command_line.refused, "init")
pytestmark = pytest.mark.training  # budgets are computed for seconds


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NAS_DATA", raising=False)
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def written(*words):
    """The study that the command writes, and the last command that it prints."""
    result = run(*words)
    assert result.exit_code == 0, result.output
    first, *_, last = result.stdout.splitlines()
    path = Path(first.partition(": ")[0])
    text = path.read_text()
    assert "$" not in text
    assert max(map(len, text.splitlines())) <= 100
    spec = check(load_spec(path), str(path)).spec
    assert spec.name == path.stem
    return spec, shlex.split(last)


def put_pictures(folder, size, count=10):
    files = {}
    for n, label in enumerate("ab"):
        for i in range(count):
            files[f"{label}/{i}.png"] = png(colours(100 * n + i, size))
    with zipfile.ZipFile(folder, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def test_digits_are_the_study_where_no_one_can_be_asked(folder):
    spec, command = written()
    assert (spec.data.name, command) == ("digits", ["nas", "run", "digits.toml"])
    own = load_spec(ROOT / "studies" / "digits.toml")
    assert spec.space == own.space
    assert spec.constraints == own.constraints


def test_pictures_elsewhere_are_named_with_their_folder(folder):
    (folder / "my pets").mkdir()
    put_pictures(folder / "my pets/pets.v1.zip", 9)
    spec, command = written("new/one", "--data", "pictures", "--path", "my pets/pets.v1.zip")
    assert (spec.name, spec.data.archive, spec.data.classes) == ("pets", "pets.v1.zip", 2)
    assert (spec.data.size, spec.data.resize) == (8, True)
    assert command == ["nas", "run", "new/one/pets.toml", "--data", str(folder / "my pets")]
    for constraint in spec.constraints:
        assert constraint.at_most > 0


def pets(folder):
    """The study of pictures in the data folder, and the command that runs it."""
    (folder / "data").mkdir()
    put_pictures(folder / "data/pets", 8)
    return written("--data", "pictures", "--path", "data/pets", "--name", "mine")


def test_pictures_in_the_data_folder_need_no_option(folder):
    spec, command = pets(folder)
    assert (spec.name, command) == ("mine", ["nas", "run", "mine.toml"])
    assert spec.data.resize is False


@pytest.mark.nightly
def test_a_study_of_pictures_runs_as_it_is(folder):
    _, command = pets(folder)
    code, _, err = Folder(folder).nas(*command[1:], "--trainings", "1")
    assert code == 0, err


def test_events_are_those_whose_files_are_there(folder):
    (folder / "data" / "DvsGesture").mkdir(parents=True)
    spec, command = written("--data", "events")
    assert (spec.data.name, spec.space.stem_stride) == ("dvs128_gesture", 4)
    assert (spec.data.train_samples, spec.data.validation_samples) == (984, 192)
    assert command == ["nas", "run", "dvs128_gesture.toml"]
    inside = run("other", "--data", "events", "--path", "data/DvsGesture")
    assert inside.stdout.splitlines()[-1].endswith(f"--data {folder / 'data'}")


def test_events_without_files_say_where_to_get_them(folder):
    shown = run("--data", "events")
    assert shown.exit_code == 0
    assert "note: no recordings in data yet: `nas data n_mnist` says where" in shown.stderr
    check(load_spec(folder / "n_mnist.toml"), "x")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--data", "pictures"), "--path, their folder or archive, is needed"),
        (("--data", "pictures", "--path", "none"), "--path none: no such file or folder"),
        (("--data", "events", "--path", "none"), "--path none: no such file or folder"),
        (("--data", "pictures", "--path", "empty"), "no image of a known kind"),
        (("--data", "digits", "--path", "x"), "the digits need no files"),
        (("--data", "events", "--path", "empty"), "none of the known recordings"),
        (("--data", "cats"), "'cats' is not one of 'digits', 'pictures', 'events'"),
        (("--name", "../x"), "name '../x'"),
        (("digits.toml",), "digits.toml/digits.toml: cannot be written"),
    ],
)
def test_what_cannot_be_written_is_refused(folder, words, reason):
    (folder / "empty").mkdir()
    (folder / "digits.toml").write_text("mine")
    assert reason in refused(*words)
    assert sorted(path.name for path in folder.glob("*")) == ["digits.toml", "empty"]


def test_no_file_is_overwritten(folder):
    (folder / "digits.toml").write_text("mine")
    assert "digits.toml: there already, and not overwritten" in refused()
    assert (folder / "digits.toml").read_text() == "mine"


def test_a_terminal_is_asked(folder, monkeypatch):
    monkeypatch.setattr("nas_service.cli.init._is_terminal", lambda: True)
    put_pictures(folder / "pets", 8)
    result = CliRunner().invoke(main, ["init"], input="pictures\npets\n")
    assert result.exit_code == 0, result.output
    assert load_spec(folder / "pets.toml").data.name == "image_folder"
    ended = CliRunner().invoke(main, ["init"], input="")
    assert (ended.exit_code, "nothing is written" in ended.stderr) == (2, True)


@pytest.mark.parametrize("size", range(8, 65, 4))
def test_every_size_of_pictures_has_a_space(size):
    task = Task(3, size, 10)
    shape = first_study._shape_of(task)
    assert task.last_side(2, shape["stem_stride"]) == shape["last"]
    assert shape["map"] <= 32
    for pool in tomllib.loads(f"x = {shape['head_pool']}")["x"][:-1]:
        assert shape["last"] % pool == 0
        assert pool < shape["last"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/pets.zip", "pets"),
        ("my pets (2)", "my-pets-2"),
        ("..", "pictures"),
        ("nul.zip", "pictures-nul"),
    ],
)
def test_names_of_studies_are_made_of_those_of_files(path, name):
    assert first_study.name_for(Path(path)) == name


def test_every_file_of_the_packages_is_in_the_wheel():
    """`package-data` of pyproject.toml names every file that is no Python."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for package, patterns in settings["package-data"].items():
        named = {path for pattern in patterns for path in (ROOT / package).glob(pattern)}
        every = {p for p in (ROOT / package).rglob("*") if p.is_file() and p.suffix != ".py"}
        assert {p for p in every if "__pycache__" not in p.parts} == named


@pytest.mark.nightly
def test_where_only_the_wheel_is_installed(folder):
    options = ["--no-deps", "--no-build-isolation", "--quiet"]
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", *options, "--wheel-dir", "dist", str(ROOT)], check=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    subprocess.run([*pip, "install", *options[:1], "--target", "site", str(wheel)], check=True)
    nas = [sys.executable, "-m", "nas_service"]
    for words in (["init", "x"], ["init", "y", "--data", "events"], ["check", "x/digits.toml"]):
        subprocess.run([*nas, *words], check=True, env={"PYTHONPATH": str(folder / "site")})
