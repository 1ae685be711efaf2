"""Folders of images as people bring them: which folders are parts, what is refused or noted."""

import json
import os
import unicodedata

import pytest
from click.testing import CliRunner
from image_trees import colours, layout, png, put, put_tar, put_zip
from study_trees import minimal

from nas_service.cli.main import main
from nas_service.data import source_of
from nas_service.data.file_names import lower_suffix, natural
from nas_service.data.images import split
from nas_service.data.sets import image_folder
from nas_service.errors import DataError
from nas_service.evaluation.images import StudyImages
from nas_service.study.sections import Data

FULL = {"a": 4, "b": 4}
DATA = Data(name="image_folder", archive="set")


def folder_of(classes=2, **options):
    return source_of(DATA.model_copy(update={"size": 4, "classes": classes, **options}))


def survey(tmp_path):
    return image_folder.survey(tmp_path, DATA)


def parts(document):
    return [document[part] for part in ("train", "validation", "test")]


@pytest.mark.parametrize("train", ["train", "Train", "TRAIN", "training", "Training"])
@pytest.mark.parametrize("test", ["test", "Test", "testing", "TESTING"])
def test_names_of_parts_in_any_case(train, test, tmp_path):
    put(tmp_path, layout(**{train: FULL, test: {"a": 1, "b": 2}}))
    result = survey(tmp_path)
    assert (result["classes"], parts(result), result["notes"]) == (["a", "b"], [8, 0, 3], [])
    assert folder_of().read_test(tmp_path).labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize("name", ["val", "Valid", "validation", "VALIDATION"])
@pytest.mark.parametrize("place", [put, put_zip, put_tar])
def test_a_validation_part_is_held_out_and_noted(name, place, tmp_path):
    place(tmp_path, layout(train=FULL, test={"a": 1, "b": 1}, **{name: {"a": 2, "b": 1}}))
    result = survey(tmp_path)
    assert (parts(result), result["validation_samples"]) == ([8, 3, 2], 3)
    expected = f"{tmp_path / 'set'}: folder {name!r} is the validation part (3 images)"
    assert result["notes"] == [expected]
    images = folder_of().read_train(tmp_path)
    assert (len(images), images.validation_part, images.notes) == (11, 3, (expected,))
    two = split(images, None, 3, seed=0)
    assert two.validation.labels.tolist() == [0, 0, 1]
    assert two.validation.rows.tolist() == [8, 9, 10]
    assert two.train.rows.tolist() == list(range(8))
    assert len(split(images, 4, 3, seed=0).train) == 4
    assert folder_of().read_train(tmp_path).notes == images.notes  # from the cache


@pytest.mark.parametrize("wanted", [0, 2, 4])
def test_a_validation_part_is_used_whole(wanted, tmp_path):
    put(tmp_path, layout(train=FULL, test=FULL, val={"a": 2, "b": 1}))
    with pytest.raises(DataError, match=f"validation_samples = 3 is needed, not {wanted}: the fil"):
        split(folder_of().read_train(tmp_path), None, wanted, seed=0)


def test_a_validation_folder_alone_is_the_test_part_and_noted(tmp_path):
    put(tmp_path, layout(train=FULL, val={"a": 2, "b": 1}))
    result = survey(tmp_path)
    assert parts(result) == [8, 0, 3]
    assert "folder 'val' is the test part: there is no folder test (3 images)" in result["notes"][0]


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ({"train": FULL, "test": FULL, "extra": FULL}, "'test' is a part and 'extra' is none"),
        ({"train": FULL, "car": FULL, "bus": FULL}, "'train' is a part and 'bus' is none: where"),
        ({"test": FULL, "control": FULL}, "'test' is a part and 'control' is none"),
        ({"train": FULL, "Training": FULL, "test": FULL}, "'Training' and 'train' are both the tr"),
        ({"train": FULL, "test": FULL, "val": FULL, "valid": FULL}, "'val' and 'valid' are both"),
        ({"test": FULL}, "no folder train beside 'test'"),
        ({"Testing": FULL, "val": FULL}, "no folder train beside 'Testing'"),
        ({"train": FULL}, "no image for the test part: add a folder test, beside train"),
        ({"unsplit": {"a": 4, "b": 4}}, "no image for the test part.* or 5 images to a class"),
        ({"unsplit": {"a": 9}}, "one class, 'a'; a folder for each of at least two"),
        ({"train": {"a": 4, "b": 1}, "test": FULL}, "class 'b' has 1 image to train with, at lea"),
        ({"train": {"cat": 4, "dog": 4}, "test": {"Cat": 1}}, "test/Cat is no .* mean 'cat'"),
        ({"train": FULL, "val": {"c": 1}, "test": FULL}, "val/c is no class of train"),
    ],
)
def test_what_is_not_certain_is_refused(folders, message, tmp_path):
    put(tmp_path, layout(**folders))
    with pytest.raises(DataError, match=message) as caught:
        survey(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "set"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "set: no image of a known kind .empty.; .jpg"),
        (
            {"a/1.tiff": b"II*\0", "b/1.heic": b""},
            r"known kind .2 files, such as 'a/1.tiff'.; .jpg",
        ),
        ({"1.png": png(colours())}, "1.png.?: lies in no folder of a class"),
        (layout(unsplit=FULL) | {"cover.jpg": b""}, "cover.jpg.?: lies in no folder of a class"),
        (layout(train=FULL) | {"test/1.jpg": b""}, "test/1.jpg.?: lies in no folder of a class"),
    ],
)
@pytest.mark.parametrize("place", [put, put_zip])
def test_folders_without_classes_are_refused(files, message, place, tmp_path):
    (tmp_path / "set").mkdir() if place is put else None
    place(tmp_path, files)
    with pytest.raises(DataError, match=message):
        survey(tmp_path)


def test_classes_in_another_unicode_form_are_the_same(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    assert composed != decomposed
    files = layout(train={composed: 3, "tea": 4}, test={decomposed: 1, "tea": 1})
    put(tmp_path, files | {f"train/{decomposed}/9.png": png(colours(9))})
    result = survey(tmp_path)
    assert (result["classes"], parts(result)) == ([composed, "tea"], [8, 0, 2])
    train, test = folder_of().read_train(tmp_path), folder_of().read_test(tmp_path)
    assert (train.labels.tolist(), test.labels.tolist()) == ([0] * 4 + [1] * 4, [0, 1])


def test_files_that_are_no_images_are_noted_with_their_number(tmp_path):
    others = {"train/a/IMG_1.HEIC": b"x", "train/b/IMG_2.HEIC": b"x", "licence.txt": b""}
    put(tmp_path, layout(train=FULL, test=FULL) | others)
    (note,) = survey(tmp_path)["notes"]
    assert note.endswith("IMG_1.HEIC and 1 other file: no image of a known kind, left out")


def test_a_class_without_test_images_is_noted(tmp_path):
    put(tmp_path, layout(unsplit={"a": 5, "b": 4, "c": 2}))
    (note,) = survey(tmp_path)["notes"]
    assert note.endswith("set: no test image of 'b' and 1 other class")


def test_folders_around_the_images_do_not_matter(tmp_path):
    put(tmp_path, layout(train=FULL, test=FULL) | {"../readme.md": b""}, top="home/pets")
    assert survey(tmp_path)["classes"] == ["a", "b"]


def test_the_suggested_study_is_accepted(tmp_path):
    """Few images: one of each class is held out, not a tenth of nothing."""
    put(tmp_path, layout(train={"a": 2, "b": 3}, test={"a": 1, "b": 1}))
    result = survey(tmp_path)
    assert result["validation_samples"] == 2
    two = split(folder_of().read_train(tmp_path), None, result["validation_samples"], seed=0)
    assert (len(two.train), len(two.validation)) == (3, 2)


def test_names_with_any_digits_are_ordered():
    """A superscript two is a digit to Python, and no number."""
    names = ["5²5.png", "x10.png", "x9.png", "x" + "1" * 5000 + ".png", "x٣.png", "5.png"]
    ordered = sorted(names, key=natural)
    assert ordered[:4] == ["5.png", "5²5.png", "x9.png", "x10.png"]
    assert [n.lower() for n in ("Data_1.BIN", "a.TAR.GZ")] == ["data_1.bin", "a.tar.gz"]
    assert lower_suffix("My.Folder/Cat.TAR.GZ") == "My.Folder/Cat.tar.gz"


def test_a_superscript_in_a_name_is_no_error(tmp_path):
    put(tmp_path, layout(unsplit={"a": 5, "b": 5}) | {"a/5²5.png": png(colours())})
    assert len(folder_of().read_train(tmp_path)) == 9


@pytest.mark.parametrize("suffix", [".PNG", ".Png"])
def test_suffixes_in_any_case(suffix, tmp_path):
    files = layout(unsplit={"a": 5, "b": 5})
    put(tmp_path, {name.replace(".png", suffix): content for name, content in files.items()})
    assert len(folder_of().read_train(tmp_path)) == 8


def test_an_archive_whose_suffix_is_in_another_case(tmp_path):
    put_zip(tmp_path, layout(unsplit={"a": 5, "b": 5}))
    (tmp_path / "set").rename(tmp_path / "pets.ZIP")
    assert len(folder_of(archive="pets.zip").read_train(tmp_path)) == 8


def test_names_that_are_no_unicode_are_shown_escaped(tmp_path):
    put(tmp_path, layout(unsplit={"a": 5, "b": 5}))
    path = os.path.join(os.fsencode(tmp_path / "set"), b"a", b"caf\xe9\n.png")
    with open(path, "wb") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=r"caf\\udce9\\n.png: no image that can be read") as caught:
        folder_of().read_test(tmp_path)
    assert "\n" not in str(caught.value)


def test_classes_whose_names_are_no_unicode_can_be_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_DATA", str(tmp_path))
    put(tmp_path, layout(unsplit={"a": 5, "b": 5}))
    (tmp_path / "set" / "a").rename(os.fsdecode(os.fsencode(tmp_path / "set") + b"/caf\xe9\n"))
    for more in ((), ("--json",), ("--size", "4", "--classes", "2", "--read")):
        result = CliRunner().invoke(main, ["data", "image_folder", "--archive", "set", *more])
        assert result.exit_code == 0, result.output
        assert "caf\\udce9\\n" in result.output or more


@pytest.mark.parametrize("special", ["pipe", "broken link"])
def test_files_that_are_none_are_named(special, tmp_path):
    put(tmp_path, layout(unsplit={"a": 5, "b": 5}))
    path = tmp_path / "set" / "a" / "0.5.png"
    os.mkfifo(path) if special == "pipe" else path.symlink_to("nowhere")
    with pytest.raises(DataError, match=r"set/a/0.5.png: (no plain file|missing)"):
        folder_of().read_train(tmp_path)


def test_notes_are_logged_when_a_search_reads_the_images(tmp_path, caplog):
    put(tmp_path, layout(train=FULL, test=FULL, val=FULL))
    data = {"name": "image_folder", "archive": "set", "size": 4, "classes": 2}
    spec = minimal(data=data | {"validation_samples": 8})
    images = StudyImages.open(spec, tmp_path)
    assert [len(images.data.train), len(images.data.validation)] == [8, 8]
    (line,) = caplog.messages
    assert line.endswith("folder 'val' is the validation part (8 images)")


def test_notes_reach_terminal_and_json(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_DATA", str(tmp_path))
    put(tmp_path, layout(train=FULL, test=FULL, val=FULL))
    for more in (
        (),
        ("--size", "4", "--classes", "2"),
        ("--size", "4", "--classes", "2", "--read"),
    ):
        command = ["data", "image_folder", "--archive", "set", *more]
        shown = CliRunner().invoke(main, command)
        assert "note: " in shown.stderr
        assert "folder 'val' is the validation part (8 images)" in shown.stderr
        document = json.loads(CliRunner().invoke(main, [*command, "--json"]).stdout)
        assert [note.partition(": ")[2] for note in document["notes"]] == [
            "folder 'val' is the validation part (8 images)"
        ]
        assert document["validation_samples"] == 8
