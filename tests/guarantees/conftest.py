"""Workers are forked by a process that finds what they run."""

import hands
import pytest


@pytest.fixture(scope="session", autouse=True)
def nursery() -> None:
    """The process that forks workers finds the modules of the tests and of the benchmarks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", hands.PLACES)  # its own: no other program's
        hands.prepare()
