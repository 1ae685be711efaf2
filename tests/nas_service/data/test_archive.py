"""Folders, zip and tar archives: the same files from each, and none of a hostile one."""

import gzip
import io
import os
import tarfile
import zipfile

import pytest

from nas_service.data import archive as trees
from nas_service.data.archive import actual_names, open_tree
from nas_service.errors import DataError

FILES = {"a/1.txt": b"one", "a/2.txt": b"", "b/c/3.txt": bytes(5000), "top.txt": b"top"}
HIDDEN = {"a/.x": b"", "__MACOSX/a/1.txt": b"", ".git/config": b""}


def folder(path, files):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def zipped(path, files):
    path = path.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path, files, mode="w"):
    path = path.with_suffix(".tar.gz" if "gz" in mode else ".tar")
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def tarred_gz(path, files):
    return tarred(path, files, "w:gz")


KINDS = [folder, zipped, tarred, tarred_gz]


@pytest.mark.parametrize("make", KINDS)
def test_the_same_files_from_each(make, tmp_path):
    tree = open_tree(make(tmp_path / "x", FILES | HIDDEN))
    assert tree.names(("",)) == sorted(FILES)
    assert tree.names(("a",)) == ["a/1.txt", "a/2.txt"]
    assert tree.names(("top.txt", "b/c")) == ["b/c/3.txt", "top.txt"]
    assert tree.names(("to", "b/c/3")) == []
    assert dict(tree.read(tree.names(("",)))) == FILES


@pytest.mark.parametrize("make", KINDS)
def test_below_a_folder(make, tmp_path):
    tree = open_tree(make(tmp_path / "x", FILES)).below("b")
    assert tree.names(("",)) == ["c/3.txt"]
    assert dict(tree.read(["c/3.txt"])) == {"c/3.txt": bytes(5000)}
    assert tree.below("c").names(("",)) == ["3.txt"]


@pytest.mark.parametrize("make", KINDS)
def test_a_missing_file_is_named(make, tmp_path):
    tree = open_tree(make(tmp_path / "x", FILES))
    with pytest.raises(DataError, match=r"nowhere\.txt.*missing"):
        list(tree.read(["a/1.txt", "a/nowhere.txt"]))


@pytest.mark.parametrize("make", [zipped, tarred, tarred_gz])
@pytest.mark.parametrize(
    "name",
    ["../out.txt", "a/../../out.txt", "/etc/out", "a\\..\\..\\out", "C:/out", "\\\\host\\out"],
)
def test_members_outside_the_folder_are_refused(make, name, tmp_path):
    path = make(tmp_path / "x", {"fine.txt": b"", name: b"x"})
    with pytest.raises(DataError, match="leads out of the archive") as caught:
        open_tree(path).names(("",))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_in_a_tar(kind, tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(DataError, match="'link' is a link or device"):
        open_tree(tmp_path / "x.tar").names(("",))


def test_links_in_a_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="'link' is a link or device"):
        open_tree(tmp_path / "x.zip").names(("",))


@pytest.mark.parametrize(
    "names", [["train\\a\\1.txt", "train\\b\\"], ["./train/a/1.txt"], ["train/a/1.txt", "train/b/"]]
)
def test_names_as_programs_write_them_into_a_zip(names, tmp_path):
    """Some of Windows write `\\`, some begin with `./`; a folder may have an entry."""
    tree = open_tree(zipped(tmp_path / "x", dict.fromkeys(names, b"")))
    assert tree.names(("train",)) == ["train/a/1.txt"]
    assert dict(tree.read(["train/a/1.txt"])) == {"train/a/1.txt": b""}


def test_a_link_to_a_folder_is_not_skipped(tmp_path):
    folder(tmp_path / "x", FILES)
    (tmp_path / "x" / "b" / "d").symlink_to(tmp_path / "x" / "a")
    with pytest.raises(DataError, match=r"x/b/d: a link to a folder, which is not followed"):
        open_tree(tmp_path / "x").names(("",))


def test_a_member_twice(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a", "1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a", "2")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
        archive.addfile(tarfile.TarInfo("a"))
    for path in tmp_path.iterdir():
        with pytest.raises(DataError, match="'a' is listed twice"):
            open_tree(path).names(("",))


@pytest.mark.parametrize("make", KINDS)
def test_nothing_requested_is_nothing_read(make, tmp_path):
    assert list(open_tree(make(tmp_path / "x", FILES)).read([])) == []


@pytest.mark.parametrize("make", KINDS)
def test_a_member_too_large(make, tmp_path, monkeypatch):
    """5000 zeros are a small zip and a small gzip."""
    path = make(tmp_path / "x", FILES)
    monkeypatch.setattr(trees, "MEMBER_B", 4999)
    with pytest.raises(DataError, match="5000 bytes unpacked, at most 4999"):
        list(open_tree(path).read(["b/c/3.txt"]))


@pytest.mark.parametrize("make", [zipped, tarred, tarred_gz])
def test_too_many_members_or_bytes_are_refused(make, tmp_path, monkeypatch):
    path = make(tmp_path / "x", FILES)
    monkeypatch.setattr(trees, "MEMBERS", 3)
    with pytest.raises(DataError, match="4 members"):
        open_tree(path).names(("",))
    monkeypatch.setattr(trees, "MEMBERS", 4)
    monkeypatch.setattr(trees, "TOTAL_B", 5000)
    monkeypatch.setattr(trees, "SLACK_B", 0 if make is zipped else 20 * 2**10)
    with pytest.raises(DataError, match="are possible"):
        open_tree(path).names(("",))


def test_a_header_that_would_fill_the_memory(tmp_path):
    """A gzip of 64 MiB of zeros that claims to be one long name."""
    head = tarfile.TarInfo("././@LongLink")
    head.type, head.size = tarfile.GNUTYPE_LONGNAME, 2**26
    with gzip.open(tmp_path / "x.tar.gz", "wb") as file:
        file.write(head.tobuf(tarfile.GNU_FORMAT))
        file.write(bytes(2**26))
    assert os.path.getsize(tmp_path / "x.tar.gz") < 2**17
    with pytest.raises(DataError, match="more between two members"):
        open_tree(tmp_path / "x.tar.gz").names(("",))


@pytest.mark.parametrize("make", [zipped, tarred_gz])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_archives_that_end_early(make, share, tmp_path):
    content = os.urandom(60000)
    path = make(tmp_path / "x", {"a": content, "b": content})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DataError, match=path.name):
        list(open_tree(path).read(["a", "b"]))


def test_a_flipped_byte_in_a_zip(tmp_path):
    path = zipped(tmp_path / "x", {"a": os.urandom(5000)})
    raw = bytearray(path.read_bytes())
    raw[2000] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DataError, match="member 'a': damaged"):
        list(open_tree(path).read(["a"]))


def test_a_zip_that_is_locked(tmp_path):
    path = zipped(tmp_path / "x", {"a": b"x"})
    raw = bytearray(path.read_bytes())
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    with pytest.raises(DataError, match="member 'a': encrypted: unpack the archive with"):
        list(open_tree(path).read(["a"]))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "an empty file"),
        (b"PK\x03\x04", "a zip archive that is cut short"),
        (b"\x1f\x8b", "damaged or cut short"),
        (b"x" * 600, "a file of an unknown kind"),
        (b"Rar!\x1a\x07\x01\0", "a RAR archive"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"\xfd7zXZ\0", "an xz file"),
        (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
        (gzip.compress(b"<html>", mtime=0), "a text file"),
    ],
)
def test_other_files_are_no_archives(content, kind, tmp_path):
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(DataError, match=rf"x\.zip: {kind}"):
        open_tree(tmp_path / "x.zip").names(("",))


def test_a_pipe_is_no_archive(tmp_path):
    os.mkfifo(tmp_path / "x.zip")
    with pytest.raises(DataError, match=r"x\.zip: missing, or neither a file nor a folder"):
        open_tree(tmp_path / "x.zip")


@pytest.mark.parametrize("share", range(1, 19))
def test_a_plain_tar_is_whole_or_refused(share, tmp_path):
    """Where it is cut between two members, the rest looks like a shorter archive."""
    path = tarred(tmp_path / "x", {str(i): bytes([i]) * 512 for i in range(1, 10)})
    path.write_bytes(path.read_bytes()[: share * 512 + 100 * (share % 2)])
    with pytest.raises(DataError, match=r"x\.tar: (damaged or cut short|a file of an un)"):
        open_tree(path).names(("",))


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED])
def test_damage_is_named_for_each_method_of_packing(method, tmp_path):
    content = os.urandom(5000)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as archive:
        archive.writestr("a", content)
    assert dict(open_tree(tmp_path / "x.zip").read(["a"])) == {"a": content}
    raw = bytearray((tmp_path / "x.zip").read_bytes())
    raw[60:2000] = bytes(1940)
    (tmp_path / "x.zip").write_bytes(raw)
    with pytest.raises(DataError, match=r"x\.zip: member 'a': damaged or cut short$"):
        list(open_tree(tmp_path / "x.zip").read(["a"]))


def test_a_method_of_packing_that_is_not_read(tmp_path):
    """Deflate64, which Windows writes for large files."""
    path = zipped(tmp_path / "x", {"a": b"x" * 50})
    raw = bytearray(path.read_bytes())
    raw[8] = raw[raw.index(b"PK\x01\x02") + 10] = 9
    path.write_bytes(raw)
    with pytest.raises(DataError, match="'a': packed by a method that is not read: pack it again"):
        list(open_tree(path).read(["a"]))


def test_a_folder_that_cannot_be_read_is_not_skipped(tmp_path, monkeypatch):
    folder(tmp_path / "x", FILES)

    def scandir(path):
        if str(path).endswith("c"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    real = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"x/b/c: unreadable .Permission denied.$"):
        open_tree(tmp_path / "x").names(("",))


@pytest.mark.parametrize("make", KINDS)
def test_names_with_a_suffix_in_another_case(make, tmp_path):
    tree = open_tree(
        make(tmp_path / "x", {"a/data_1.BIN": b"one", "a/b.TAR.GZ": b"", "c.d/e": b""})
    )
    assert tree.names(("a/data_1.bin", "a/b.tar.gz", "C.d/e")) == ["a/b.TAR.GZ", "a/data_1.BIN"]
    assert actual_names(tree, ["a/data_1.bin", "a/2.bin"]) == {
        "a/data_1.BIN": "a/data_1.bin",
        "a/2.bin": "a/2.bin",
    }
