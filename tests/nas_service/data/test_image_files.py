"""Picture files, image folders and TinyImageNet: pixels, classes, and what is refused."""

import shutil
import struct
import zipfile
import zlib
from dataclasses import replace

import numpy as np
import pytest
from image_trees import colours, layout, png, put, put_tar, put_zip

from nas_service.data import image_files as pictures
from nas_service.data import source_of
from nas_service.data.image_files import decode, size_of
from nas_service.data.sets import image_folder
from nas_service.data.sets.tiny_imagenet import SOURCE as TINY
from nas_service.errors import DataError, NasError, SpecError
from nas_service.spaces.task import Task
from nas_service.study.sections import Data

COLOUR, GREY = Task(3, 4, 2), Task(1, 4, 2)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM"])
def test_pixels_without_loss(kind):
    result = decode(png(colours(), kind=kind), "x", COLOUR)
    assert (result == colours().transpose(2, 0, 1)).all()


def test_grey_becomes_colour_and_colour_grey():
    grey = colours()[:, :, 0]
    assert (decode(png(grey), "x", COLOUR) == grey).all()
    assert decode(png(grey), "x", COLOUR).shape == (3, 4, 4)
    assert (decode(png(grey), "x", GREY)[0] == grey).all()
    white = np.full((4, 4, 3), 255, dtype=np.uint8)
    assert (decode(png(white), "x", GREY) == 255).all()


def test_jpeg_is_approximate():
    smooth = np.add.outer(np.arange(4), np.arange(4)).astype(np.uint8)[:, :, None] * 8
    result = decode(png(np.repeat(smooth, 3, 2), kind="JPEG", quality=95), "x", COLOUR)
    assert np.abs(result.astype(int) - smooth.transpose(2, 0, 1)).max() < 8


def test_alpha_may_hide_nothing():
    solid = np.dstack([colours(), np.full((4, 4), 255, dtype=np.uint8)])
    assert (decode(png(solid), "x", COLOUR) == colours().transpose(2, 0, 1)).all()
    solid[0, 0, 3] = 254
    with pytest.raises(DataError, match="x: transparent pixels"):
        decode(png(solid), "x", COLOUR)


def test_sixteen_bits_are_not_cut_to_eight():
    deep = np.full((4, 4), 40000, dtype=np.uint16)
    with pytest.raises(DataError, match="x: pixels of mode I;16"):
        decode(png(deep), "x", GREY)


def test_other_sizes_need_the_resize_key():
    wide = np.zeros((4, 8, 3), dtype=np.uint8)
    wide[:, 2:6] = 200
    with pytest.raises(DataError, match=r"x: 8 x 4 pixels, 4 x 4 are needed \(data.resize"):
        decode(png(wide), "x", COLOUR)
    assert (decode(png(wide), "x", COLOUR, resize=True) == 200).all()  # its middle
    large = np.kron(colours(), np.ones((8, 8, 1))).astype(np.uint8)
    small = decode(png(large), "x", COLOUR, resize=True)
    assert np.abs(small.astype(int) - colours().transpose(2, 0, 1)).mean() < 30
    flat = np.full((9, 9, 3), 77, dtype=np.uint8)
    assert (decode(png(flat), "x", COLOUR, resize=True) == 77).all()


def bomb(width, height):
    """A PNG that is all head: it announces pixels and has none."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [4097, 10000, 30000])
def test_pictures_too_large_are_refused_unread(side):
    with pytest.raises(DataError, match="x: ") as caught:
        decode(bomb(side, side), "x", COLOUR, resize=True)
    assert "pixels" in str(caught.value)
    with pytest.raises(DataError, match="x: "):
        size_of(bomb(side, side), "x")


@pytest.mark.parametrize(
    "content",
    [b"", b"GIF89a", b"\xff\xd8\xff\xe0", png(colours())[:-20], png(colours())[:-9]],
    ids=["empty", "gif", "start of a jpeg", "no end", "half an end"],
)
def test_a_file_that_is_no_image_is_named(content):
    with pytest.raises(DataError, match="x: no image that can be read"):
        decode(content, "x", COLOUR)


def test_a_flipped_byte_in_a_png():
    raw = bytearray(png(colours()))
    raw[60] ^= 1
    with pytest.raises(DataError, match="x: no image that can be read"):
        decode(bytes(raw), "x", COLOUR)


def both(source, folder):
    return source.read_train(folder), source.read_test(folder)


def folder_of(classes=2, **options):
    return source_of(Data(name="image_folder", archive="set", size=4, classes=classes, **options))


@pytest.mark.parametrize("place", [put, put_zip, put_tar])
@pytest.mark.parametrize("top", ["", "pictures"])
@pytest.mark.parametrize("test", ["test", "val", "valid"])
def test_train_and_test_folders(place, top, test, tmp_path):
    files = layout(train={"cat": 11, "ant": 2}, **{test: {"cat": 1, "ant": 3}})
    place(tmp_path, files | {"train/cat/readme.txt": b"", "notes.md": b""}, top)
    train, held = folder_of().read_train(tmp_path), folder_of().read_test(tmp_path)
    assert train.labels.tolist() == [0] * 2 + [1] * 11  # ant, cat
    assert held.labels.tolist() == [0] * 3 + [1]
    expected = [colours(1000 + i) for i in range(2)] + [colours(i) for i in range(11)]
    assert (train.stock.pixels == np.stack(expected).transpose(0, 3, 1, 2)).all()


@pytest.mark.parametrize("place", [put, put_zip, put_tar])
def test_classes_at_the_top_give_their_last_fifth(place, tmp_path):
    place(tmp_path, layout(unsplit={"a": 10, "b": 4}))
    train, held = folder_of().read_train(tmp_path), folder_of().read_test(tmp_path)
    assert (train.labels.tolist(), held.labels.tolist()) == ([0] * 8 + [1] * 4, [0] * 2)
    assert (held.stock.pixels[1] == colours(9).transpose(2, 0, 1)).all()


def test_a_folder_and_its_archive_are_the_same(tmp_path):
    files = layout(train={"a": 3, "b": 3}, test={"a": 1, "b": 1})
    put(tmp_path, files)
    digest = folder_of().read_train(tmp_path).digest
    shutil.rmtree(tmp_path / "set")
    for pack in (put_zip, put_tar):
        pack(tmp_path, files)
        assert folder_of().read_train(tmp_path).digest == digest
        (tmp_path / "set").unlink()


def test_grey_images_in_one_channel(tmp_path):
    put(tmp_path, layout(train={"a": 1, "b": 1}, test={"a": 1, "b": 1}))
    assert folder_of(channels=1).read_train(tmp_path).shape == (1, 4, 4)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (layout(train={"a": 1, "b": 1}), "set: no image for the test part: add"),
        (layout(train={"a": 1, "b": 1}, test={"a": 1, "c": 1}), "test/c is no class of train"),
        (layout(train={"a": 1, "b": 1, "c": 1}, test={"a": 1}), "3 folders of classes, data.cl"),
        (layout(train={"a": 1}, test={"a": 1}), "1 folders of classes"),
        (
            {"train/a/0.png": b"x", "train/b/0.png": b"y", "test/a/0.png": b""},
            "set/train/a/0.png: no image that can be",
        ),
    ],
)
def test_wrong_folders_are_named(files, message, tmp_path):
    put(tmp_path, files)
    with pytest.raises(DataError, match=message):
        both(folder_of(), tmp_path)


def test_a_picture_of_another_size_is_named(tmp_path):
    files = layout(train={"a": 2, "b": 2}, test={"a": 1, "b": 1})
    put(tmp_path, files | {"train/b/9.png": png(colours(size=6))})
    with pytest.raises(DataError, match=r"set/train/b/9.png: 6 x 6 pixels, 4 x 4 are needed"):
        folder_of().read_train(tmp_path)
    assert len(folder_of(resize=True).read_train(tmp_path)) == 5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "image_folder"}, "needs data.archive"),
        ({"name": "image_folder", "archive": "x"}, "needs data.size"),
        ({"name": "image_folder", "archive": "x", "size": 8}, "needs data.classes"),
        ({"name": "cifar10", "size": 8}, "data.size: only for image_folder"),
        ({"name": "digits", "archive": "x"}, "digits has no files"),
        ({"name": "cifar"}, "did you mean 'cifar10'"),
    ],
)
def test_keys_of_an_image_folder_are_checked(given, message):
    with pytest.raises(SpecError, match=message):
        source_of(Data(**given))


def test_a_stored_study_has_the_same_keys():
    stored = Data(name="cifar10", archive="x").model_dump_json()
    assert source_of(Data.model_validate_json(stored)).task == Task(3, 32, 10)


@pytest.mark.parametrize("path", ["/etc", "../x", "a/../../x", "C:/x", "a\\..\\..\\x", "", "a\nb"])
def test_archives_lie_below_the_data_folder(path):
    with pytest.raises((NasError, ValueError), match="below the data folder"):
        Data(name="image_folder", archive=path)


def test_the_survey_names_the_keys_of_a_study(tmp_path):
    put(tmp_path, layout(train={"a": 3, "b": 2}, val={"a": 1, "b": 1}))
    result = image_folder.survey(tmp_path, Data(name="image_folder", archive="set"))
    assert (result["classes"], result["sizes"]) == (["a", "b"], [(4, 4)])
    assert (result["train"], result["test"]) == (5, 2)


def tiny(**changes):
    """Two classes of TinyImageNet's own layout, 4x4."""
    files = {"wnids.txt": b"n2\nn1\n", "val/val_annotations.txt": b""}
    for wnid, seed in (("n1", 10), ("n2", 20)):
        for i in range(3):
            files[f"train/{wnid}/images/{wnid}_{i}.JPEG"] = png(colours(seed + i))
        files[f"train/{wnid}/{wnid}_boxes.txt"] = b"0\t0\t1\t1\n"
    files["test/images/test_0.JPEG"] = png(colours(99))
    for i, wnid in enumerate(["n2", "n1", "n2"]):
        files[f"val/images/val_{i}.JPEG"] = png(colours(30 + i))
        files["val/val_annotations.txt"] += f"val_{i}.JPEG\t{wnid}\t0\t0\t3\t3\n".encode()
    return {name: content for name, content in (files | changes).items() if content is not None}


SMALL = replace(TINY, task=Task(3, 4, 2), published={})


def put_tiny(tmp_path, files, zipped=False):
    if zipped:
        with zipfile.ZipFile(tmp_path / "tiny-imagenet-200.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(f"tiny-imagenet-200/{name}", content)
        return
    for name, content in files.items():
        path = tmp_path / "tiny-imagenet-200" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.mark.parametrize("zipped", [False, True])
def test_tiny_imagenet_in_its_own_layout(zipped, tmp_path):
    put_tiny(tmp_path, tiny(), zipped)
    train, held = SMALL.read_train(tmp_path), SMALL.read_test(tmp_path)
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert held.labels.tolist() == [1, 0, 1]  # from val_annotations.txt
    seeds = [10, 11, 12, 20, 21, 22]
    assert (train.stock.pixels == np.stack([colours(s) for s in seeds]).transpose(0, 3, 1, 2)).all()
    assert (held.stock.pixels[2] == colours(32).transpose(2, 0, 1)).all()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_tiny_imagenet_with_lists_of_any_system(end, mark, tmp_path):
    texts = {name: content for name, content in tiny().items() if name.endswith(".txt")}
    saved = {n: (mark + c.decode().replace("\n", end)).encode() for n, c in texts.items()}
    small = {n.replace(".JPEG", ".jpeg"): c for n, c in tiny(**saved).items()}
    put_tiny(tmp_path, small)
    train, held = SMALL.read_train(tmp_path), SMALL.read_test(tmp_path)
    assert (train.labels.tolist(), held.labels.tolist()) == ([0, 0, 0, 1, 1, 1], [1, 0, 1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val/val_annotations.txt": b"\nval_0.JPEG\tn1\nval_0.JPEG\tn2"}, "line 3.*listed twice"),
        ({"wnids.txt": b"n1\n"}, "wnids.txt has 1 classes, not 2"),
        ({"wnids.txt": b"n1\nn3\n"}, "class 'n2' is not in wnids.txt"),
        ({"wnids.txt": None}, r"wnids\.txt.*missing"),
        ({"val/val_annotations.txt": b"val_0.JPEG\n"}, "line 1 has no class"),
        ({"val/val_annotations.txt": b"\xff\xfe"}, "the file is empty"),
        ({"val/val_annotations.txt": b"val_0.JPEG\t\xc3("}, "column 12.*no UTF-8"),
        ({"val/images/val_1.JPEG": None}, "val_1.JPEG is only in one of"),
        ({"val/images/val_7.JPEG": png(colours())}, "val_7.JPEG is only in one of"),
    ],
)
def test_wrong_tiny_imagenets_are_named(changes, message, tmp_path):
    put_tiny(tmp_path, tiny(**changes))
    with pytest.raises(DataError, match=message):
        both(SMALL, tmp_path)


def test_tiny_imagenet_has_a_hash(tmp_path):
    put_tiny(tmp_path, tiny(), zipped=True)
    with pytest.raises(DataError, match="expected 6198c8ae015e2b3e"):
        replace(TINY, task=SMALL.task).read_train(tmp_path)


def test_another_version_of_pillow_decodes_again(tmp_path, monkeypatch):
    put_tiny(tmp_path, tiny())
    SMALL.read_train(tmp_path)
    monkeypatch.setattr(pictures, "FORMATS", ())  # nothing can be decoded from here on
    assert len(SMALL.read_train(tmp_path)) == 6
    with pytest.raises(DataError, match="no image"):
        replace(SMALL, decoder="pillow 0").read_train(tmp_path)
