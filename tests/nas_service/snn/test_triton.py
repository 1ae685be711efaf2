"""The Triton kernels' arithmetic, run by Triton's interpreter on the CPU."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.process


@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
def test_kernels_in_the_interpreter():
    """In a process of their own, as Triton looks at the variable when it is imported."""
    checks = Path(__file__).with_name("triton_checks.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(checks), "-p", "no:cacheprovider"],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
