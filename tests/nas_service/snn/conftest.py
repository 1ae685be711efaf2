"""The C++ scan, for tests that need it or run every backend."""

import pytest

from nas_service.snn.neurons.native import Unavailable, library


@pytest.fixture
def cpp_scan():
    """Skips where the scan cannot be built."""
    try:
        library()
    except Unavailable as error:
        pytest.skip(f"no C++ scan: {error}")


@pytest.fixture
def fused(cpp_scan, monkeypatch):
    """Neurons run by the scan."""
    monkeypatch.setenv("NAS_NEURONS", "cpp")
