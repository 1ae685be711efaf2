"""Memory that the kernel lets this process use: the limits of its control groups, version 1 or 2.

Loads no torch.
"""

import os
from dataclasses import dataclass
from pathlib import Path

PROC, GROUPS = Path("/proc"), Path("/sys/fs/cgroup")
UNLIMITED_B = 2**60  # version 1 writes a number above it where there is no limit
# Names of files in version 2 and 1.
LIMIT = ("memory.max", "memory.limit_in_bytes")
USED = ("memory.current", "memory.usage_in_bytes")
RECLAIMABLE = ("total_inactive_file", "inactive_file")  # in memory.stat, in version 1 and 2


@dataclass(frozen=True)
class MemoryLimit:
    """A control group, ours or one above it, that limits memory."""

    folder: Path
    limit_B: int

    @property
    def used_B(self) -> int:
        """Bytes in use, without files in the page cache that the kernel may drop."""
        used = _number(self.folder, USED) or 0
        return max(0, used - _reclaimable_B(self.folder))

    @property
    def kills_all(self) -> bool:
        """True where the kernel kills all processes of the group when its memory runs out."""
        return _number(self.folder, ("memory.oom.group",)) == 1


def memory_folders(proc: Path = PROC, groups: Path = GROUPS) -> list[Path]:
    """Folders of the control groups that count our memory, from our own to the outermost.

    Args:
        proc: The kernel's files about processes.
        groups: The control groups, of version 2, or of version 1 in the folder `memory`.

    Returns:
        The folders; some may not exist, because a container may see its own group as the root.
    """
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return []
    folders: list[Path] = []
    for _, controllers, place in (line.split(":", 2) for line in lines):
        if not controllers or "memory" in controllers.split(","):
            root = groups / "memory" if controllers else groups
            own = root / place.strip("/") if ".." not in place else root  # ours lies elsewhere
            folders += [own, *(p for p in own.parents if p.is_relative_to(root))]
    return folders


def memory_limits(proc: Path = PROC, groups: Path = GROUPS) -> list[MemoryLimit]:
    """Limits of memory of this process, the lowest first; empty where there are none.

    Args:
        proc: The kernel's files about processes.
        groups: The control groups.

    Returns:
        The limits, each with the group that has it.
    """
    read = ((folder, _number(folder, LIMIT)) for folder in memory_folders(proc, groups))
    limits = [MemoryLimit(f, limit) for f, limit in read if limit and limit < UNLIMITED_B]
    return sorted(limits, key=lambda limit: limit.limit_B)


def installed_B() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _number(folder: Path, names: tuple[str, ...]) -> int | None:
    """The number in the first of these files that has one; "max" is none."""
    for name in names:
        try:
            return int((folder / name).read_text())
        except (OSError, ValueError):
            continue
    return None


def _reclaimable_B(folder: Path) -> int:
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    values = dict(line.split(" ", 1) for line in lines if " " in line)
    text = next((values[key] for key in RECLAIMABLE if key in values), "0")
    return int(text) if text.isdecimal() else 0
