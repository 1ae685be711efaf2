"""Workers are forked by a process that finds what they run."""

import os
import sys
from pathlib import Path

import hands
import pytest


@pytest.fixture(scope="session", autouse=True)
def nursery() -> None:
    """The process that forks workers finds the modules of the tests and of the benchmarks."""
    with pytest.MonkeyPatch.context() as patch:
        here = Path(__file__).parent
        places = [str(here), str(here.parents[1] / "benchmarks"), *sys.path]
        patch.setenv("PYTHONPATH", os.pathsep.join(places))  # its own: no other program's
        hands.prepare()
