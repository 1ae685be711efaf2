"""A fork server for workers, started once."""

import pytest
import worker_harness


@pytest.fixture(scope="session", autouse=True)
def fork_server() -> None:
    """The process that forks workers finds the modules of the tests and of the benchmarks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", worker_harness.PYTHONPATH)
        worker_harness.start_fork_server()
