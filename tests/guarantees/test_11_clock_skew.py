"""A worker whose clock is an hour wrong: leases know the database's clock alone."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import hands
import pytest
from hands import History, Orders, WorkerProcess

from nas_service.store.store import Store

LEASE_s = 3.0
HOUR_s = 3600
SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && clock == CLOCK_REALTIME)
        now->tv_sec += atol(getenv("TEST_SKEW_s"));
    return failed;
}
"""
WORKER = """
import sys
from pathlib import Path
import hands
url, folder, lease_s, training_s = sys.argv[1:]
hands.work(hands.Orders(url, Path(folder), float(lease_s), float(training_s), max_trials=2))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Makes the processes that load it see another time of day."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler")
    folder = tmp_path_factory.mktemp("skew")
    (folder / "skew.c").write_text(SOURCE)
    made = folder / "skew.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", made, folder / "skew.c", "-ldl"], check=True
    )
    return made


def skewed(library, hours, *words):
    skew = {"LD_PRELOAD": str(library), "TEST_SKEW_s": str(hours * HOUR_s)}
    env = {**os.environ, "PYTHONPATH": hands.PLACES, **skew}
    return subprocess.Popen([sys.executable, *words], env=env, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("hours", [-1, 1])
def test_11_clock_skew(postgres_url, tmp_path, library, hours):
    """It keeps its trials beside another worker, who takes none of them, and it takes none."""
    seen = skewed(library, hours, "-c", "import time; print(time.time())").communicate()[0]
    assert abs(float(seen) - time.time() - hours * HOUR_s) < HOUR_s / 10, "the clock is wrong"
    hands.study(postgres_url, 6)
    words = (str(x) for x in (postgres_url, tmp_path, LEASE_s, 1.3 * LEASE_s))
    wrong = skewed(library, hours, "-c", WORKER, *words)
    store = Store(postgres_url)
    hands.until(lambda: store.leases(1).workers(), "its first trial")
    store.close()
    right = WorkerProcess(Orders(postgres_url, Path(tmp_path), LEASE_s, training_s=1.3 * LEASE_s))
    said, _ = wrong.communicate(timeout=hands.WAIT_s)
    assert "2 trials done" in said
    assert right.end() == 0, right.said
    found = History.of(postgres_url)
    found.check(6)
    assert [a["ending"] for a in found.attempts] == ["won"] * len(found.attempts)
    assert len({a["owner"] for a in found.attempts}) == 2
    times = [a[key] for a in found.attempts for key in ("began", "ended")]
    assert max(times) - min(times) < HOUR_s / 2, "one clock"
