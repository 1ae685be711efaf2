"""The C++ scan's way onto a machine, and its memory under a sanitizer."""

import ctypes
import hashlib
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nas_service.errors import SpecError
from nas_service.snn.compiler import cache_folder
from nas_service.snn.neurons import backend_name, native, scan
from nas_service.snn.neurons.native import Unavailable, build

QUICK = ("-std=c++17", "-O0", "-shared", "-fPIC")
needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="no g++")


@pytest.fixture
def without_compiler(tmp_path, monkeypatch):
    """A machine that has neither a compiler nor a built library."""
    for name in ("PATH", "NAS_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    cached = (scan._cpp_fails, native.library)
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


def test_where_the_cache_is():
    assert cache_folder({"NAS_CACHE": "/a", "XDG_CACHE_HOME": "/b"}) == Path("/a/neurons")
    assert cache_folder({"XDG_CACHE_HOME": "/b"}) == Path("/b/nas-service/neurons")
    assert cache_folder({}) == Path.home() / ".cache/nas-service/neurons"


@needs_compiler
def test_the_library_has_every_function(tmp_path):
    library = ctypes.CDLL(str(build(tmp_path / "a", QUICK)))
    assert all(hasattr(library, name) for name in native.SIGNATURES)


@pytest.fixture
def short_source(tmp_path, monkeypatch):
    """A source that is compiled at once, in place of ours."""
    (tmp_path / "short.cpp").write_text('extern "C" int one() { return 1; }\n')
    monkeypatch.setattr(native, "SOURCES", (tmp_path / "short.cpp",))


@needs_compiler
def test_built_once_and_loadable(tmp_path, short_source):
    first = build(tmp_path / "a", QUICK)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    built = first.stat().st_mtime_ns
    assert build(tmp_path / "a", QUICK) == first
    assert first.stat().st_mtime_ns == built
    assert build(tmp_path / "a", (*QUICK, "-g")) != first
    assert ctypes.CDLL(str(first)).one() == 1


@needs_compiler
def test_workers_may_build_at_once(tmp_path, short_source):
    folder = tmp_path / "a"
    with ThreadPoolExecutor(3) as pool:
        result = list(pool.map(lambda _: build(folder, QUICK), range(3)))
    assert len(set(result)) == 1
    assert list(folder.iterdir()) == [result[0]]


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


def test_no_compiler_is_one_line_of_log(without_compiler, monkeypatch, caplog):
    monkeypatch.setenv("NAS_NEURONS", "auto")
    assert [backend_name(), backend_name()] == ["python", "python"]
    (line,) = caplog.messages
    assert "neurons are computed in Python" in line
    assert "no C++ compiler (g++, clang++, c++)" in line


def test_the_cpp_scan_by_choice_without_a_compiler_is_an_error(without_compiler, monkeypatch):
    monkeypatch.setenv("NAS_NEURONS", "cpp")
    with pytest.raises(SpecError) as caught:
        backend_name()
    message = str(caught.value)
    assert message.endswith("the C++ backend cannot be built: no C++ compiler (g++, clang++, c++)")


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """The C++ sources with their driver, under address and undefined behaviour sanitizers.

    Kept beside the library, under a name that changes with the sources, as it takes long.
    """
    if not shutil.which("g++"):
        pytest.skip("no g++")
    flags = ["-std=c++17", "-O0", "-fsanitize=address,undefined", "-ffp-contract=off"]
    flags += ["-fno-sanitize-recover=all", f"-I{native.SOURCES[0].parent}"]
    source = Path(__file__).with_name("scan_driver.cpp")
    texts = [path.read_text() for path in (source, *native.HEADERS, *native.SOURCES)]
    key = hashlib.sha256("\0".join((*texts, *flags)).encode()).hexdigest()[:32]
    kept = cache_folder(os.environ) / f"watched-{key}"
    if kept.exists():
        return kept
    program = tmp_path_factory.mktemp("watched") / "driver"
    done = subprocess.run(
        ["g++", *flags, str(source), "-o", str(program)], capture_output=True, text=True
    )
    if "cannot find" in done.stderr and "san" in done.stderr:
        pytest.skip("g++ has no sanitizers here")
    assert done.returncode == 0, done.stderr
    kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copy(program, kept.with_suffix(f".{os.getpid()}"))
    kept.with_suffix(f".{os.getpid()}").replace(kept)
    return kept


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
