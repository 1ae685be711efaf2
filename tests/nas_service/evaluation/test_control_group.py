"""Limits of memory of control groups, of both versions."""

import pytest

from nas_service.evaluation.control_group import memory_limits

GiB = 2**30


def kernel(tmp_path, groups, files):
    """The folders /proc and /sys/fs/cgroup of a process in these groups."""
    proc, root = tmp_path / "proc", tmp_path / "groups"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text(groups + "\n")
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return proc, root


NONE_OF_OLD = str(2**63 - 4096)
CASES = {
    "version 2": ("0::/pod/box", {"pod/box/memory.max": f"{2 * GiB}\n"}, [2]),
    "no limit": ("0::/pod/box", {"pod/box/memory.max": "max\n"}, []),
    "above": ("0::/pod/box", {"pod/box/memory.max": "max\n", "pod/memory.max": str(GiB)}, [1]),
    "both": ("0::/a/b", {"a/b/memory.max": str(4 * GiB), "a/memory.max": str(3 * GiB)}, [3, 4]),
    "seen as the root": ("0::/", {"memory.max": str(GiB)}, [1]),
    "elsewhere": ("0::/../../box", {"memory.max": str(GiB)}, [1]),
    "version 1": ("4:cpu,memory:/x\n0::/", {"memory/x/memory.limit_in_bytes": str(GiB)}, [1]),
    "version 1 without": ("4:memory:/x", {"memory/x/memory.limit_in_bytes": NONE_OF_OLD}, []),
    "another controller": ("4:cpu:/x", {"memory/x/memory.limit_in_bytes": str(GiB)}, []),
    "no text": ("0::/x", {"x/memory.max": "many"}, []),
}


@pytest.mark.parametrize("case", CASES)
def test_limits(tmp_path, case):
    groups, files, limits = CASES[case]
    read = memory_limits(*kernel(tmp_path, groups, files))
    assert [limit.limit_B / GiB for limit in read] == limits


def test_without_the_kernel_s_files_there_is_no_limit(tmp_path):
    assert memory_limits(tmp_path, tmp_path) == []


@pytest.mark.parametrize(
    ("names", "stat"),
    [
        (("memory.max", "memory.current"), "anon 700\ninactive_file 300\n"),
        (
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
            "inactive_file 1\ntotal_inactive_file 300\n",
        ),
    ],
)
def test_use_is_without_what_the_kernel_may_drop(tmp_path, names, stat):
    old = "memory/" if "bytes" in names[0] else ""
    files = {f"{old}x/{names[0]}": "2000", f"{old}x/{names[1]}": "1000"}
    line = "4:memory:/x" if old else "0::/x"
    proc, root = kernel(tmp_path, line, files | {f"{old}x/memory.stat": stat})
    (limit,) = memory_limits(proc, root)
    assert (limit.used_B, limit.limit_B) == (700, 2000)
    assert not limit.kills_all
    (limit.folder / "memory.oom.group").write_text("1\n")
    assert limit.kills_all
