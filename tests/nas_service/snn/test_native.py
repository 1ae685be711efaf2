"""The C++ scan's way onto a machine, and its memory under a sanitizer."""

import ctypes
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nas_service.snn.neurons import native
from nas_service.snn.neurons.native import Unavailable, build, cache_folder

QUICK = ("-std=c++17", "-O0", "-shared", "-fPIC")
needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="no g++")
SAY = "from nas_service.snn.neurons import backend_name as f; print(f(), f())"


def say_backend(**environment):
    """What a fresh process runs neurons by, and its log."""
    done = subprocess.run(
        [sys.executable, "-c", f"import logging; logging.basicConfig(); {SAY}"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.stdout.split(), [
        x for x in done.stderr.splitlines() if "neurons are computed" in x or "Error" in x
    ]


def test_where_the_cache_is():
    assert cache_folder({"NAS_CACHE": "/a", "XDG_CACHE_HOME": "/b"}) == Path("/a/neurons")
    assert cache_folder({"XDG_CACHE_HOME": "/b"}) == Path("/b/nas-service/neurons")
    assert cache_folder({}) == Path.home() / ".cache/nas-service/neurons"


@needs_compiler
def test_built_once_and_loadable(tmp_path):
    first = build(tmp_path / "a", QUICK)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    built = first.stat().st_mtime_ns
    assert build(tmp_path / "a", QUICK) == first
    assert first.stat().st_mtime_ns == built
    assert build(tmp_path / "a", (*QUICK, "-g")) != first
    assert all(hasattr(ctypes.CDLL(str(first)), name) for name in native.SIGNATURES)


@needs_compiler
def test_workers_may_build_at_once(tmp_path):
    with ThreadPoolExecutor(3) as pool:
        result = list(pool.map(lambda _: build(tmp_path, QUICK), range(3)))
    assert len(set(result)) == 1
    assert list(tmp_path.iterdir()) == [result[0]]


@needs_compiler
def test_a_folder_others_can_write_to_is_refused(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(Unavailable, match="only this user can write to"):
        build(tmp_path, QUICK)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(Unavailable, match="only this user can write to"):
        build(tmp_path / "link", QUICK)


@needs_compiler
def test_a_failed_build_leaves_nothing(tmp_path):
    with pytest.raises(Unavailable, match=r"ended with 1: .*no-such-flag"):
        build(tmp_path, (*QUICK, "-fno-such-flag"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_no_compiler_is_one_line_of_log(tmp_path):
    names, log = say_backend(PATH=str(tmp_path), NAS_CACHE=str(tmp_path), NAS_NEURONS="auto")
    assert names == ["python", "python"]
    assert len(log) == 1
    assert "neurons are computed in Python" in log[0]
    assert "no C++ compiler (g++, clang++, c++)" in log[0]


@pytest.mark.process
def test_the_cpp_scan_by_choice_without_a_compiler_is_an_error(tmp_path):
    names, log = say_backend(PATH=str(tmp_path), NAS_CACHE=str(tmp_path), NAS_NEURONS="cpp")
    assert names == []
    assert log[-1].endswith("the C++ backend cannot be built: no C++ compiler (g++, clang++, c++)")


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """The C++ sources with their driver, under address and undefined behaviour sanitizers."""
    if not shutil.which("g++"):
        pytest.skip("no g++")
    program = tmp_path_factory.mktemp("watched") / "driver"
    flags = ["-std=c++17", "-O0", "-fsanitize=address,undefined", "-ffp-contract=off"]
    flags += ["-fno-sanitize-recover=all", f"-I{native.SOURCES[0].parent}"]
    source = Path(__file__).with_name("scan_driver.cpp")
    done = subprocess.run(
        ["g++", *flags, str(source), "-o", str(program)], capture_output=True, text=True
    )
    if "cannot find" in done.stderr and "san" in done.stderr:
        pytest.skip("g++ has no sanitizers here")
    assert done.returncode == 0, done.stderr
    return program


@pytest.mark.process
def test_no_access_outside_of_the_tensors(watched):
    done = subprocess.run([watched], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    scans, convolutions = done.stdout.splitlines()
    runs, rate = scans.split(" runs, firing rate ")
    assert int(runs) > 1000
    assert 0.01 < float(rate) < 0.9
    assert convolutions == "432 convolutions"


@pytest.mark.process
def test_the_sanitizer_finds_a_tensor_too_small(watched):
    done = subprocess.run([watched, "short"], capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
