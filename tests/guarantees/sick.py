"""What children of these tests run: the file `ends` says whose trainings end how, how often."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

ENDS = {"segv": lambda: ctypes.string_at(0), "oom": lambda: bytearray(2**62)}


def prepare(job):
    """Nothing is shared."""


def begin(job):
    from nas_service.metrics import Evaluation

    folder = Path(job["data"])
    whose, end, times = (folder / "ends").read_text().split()
    digest = Evaluation.from_json(job["candidate"]).architecture.digest
    mine = whose == "all" or digest == first(folder, digest)
    attempt = len(list(folder.glob(f"{digest}.attempt*")))
    (folder / f"{digest}.attempt{attempt}").touch()

    def work(check_interrupt):
        if mine and attempt < int(times):
            ENDS[end]()
        measured = {"outcome": "trained", "fidelity": 1, "accuracy": 0.5, "spike_rate": 0.1}
        return job["candidate"] | measured

    return work


def first(folder, digest):
    """The candidate that came first of all."""
    mine = folder / f"{os.getpid()}.first"
    mine.write_text(digest)
    with suppress(FileExistsError):
        os.link(mine, folder / "first")
    return (folder / "first").read_text()
