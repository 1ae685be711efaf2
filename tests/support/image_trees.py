"""Small images and folders or archives of them, for tests."""

import io
import tarfile
import zipfile
import zlib

import numpy as np
from PIL import Image


def png(pixels, mode=None, kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels), mode).save(file, kind, **options)
    return file.getvalue()


def colours(seed=0, size=4):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def layout(**parts):
    """name: bytes of pictures; each part is class: count. Images differ by folder and number."""
    files = {}
    for part, classes in parts.items():
        for label, (name, count) in enumerate(classes.items()):
            for i in range(count):
                place = f"{part}/" if part != "unsplit" else ""
                files[f"{place}{name}/{i}.png"] = png(colours(1000 * label + i))
    return files


def put(tmp_path, files, top=""):
    for name, content in files.items():
        path = tmp_path / "set" / top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def put_zip(tmp_path, files, top=""):
    with zipfile.ZipFile(tmp_path / "set", "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{top}/{name}" if top else name, content)


def put_tar(tmp_path, files, top=""):
    """In an order that differs from the sorted one."""
    with tarfile.open(tmp_path / "set", "w:gz") as archive:
        for name, content in sorted(files.items(), key=lambda pair: zlib.crc32(pair[0].encode())):
            info = tarfile.TarInfo(f"{top}/{name}" if top else name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
