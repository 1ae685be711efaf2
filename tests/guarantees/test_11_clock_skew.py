"""Workers whose clocks are an hour wrong: leases know the database's clock alone."""

import os
import shutil
import subprocess
import sys
import time

import pytest
import worker_harness as harness
from study_history import StudyHistory

pytestmark = pytest.mark.process

LEASE_s = 2.0
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
from worker_harness import Plan, work
url, folder, lease_s, training_s = sys.argv[1:]
work(Plan(url, Path(folder), float(lease_s), float(training_s), max_trials=1,
          gates=("training",)))
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
    env = {**os.environ, "PYTHONPATH": harness.PYTHONPATH, **skew}
    return subprocess.Popen([sys.executable, *words], env=env, stdout=subprocess.PIPE, text=True)


def started_worker(library, hours, url, folder):
    """A worker of one trial, which is longer than a lease, with a clock that is wrong by hours."""
    words = (str(x) for x in (url, folder, LEASE_s, 1.3 * LEASE_s))
    return skewed(library, hours, "-c", WORKER, *words)


def test_11_clock_skew(postgres_url, tmp_path, library):
    """One clock an hour behind, one ahead: each worker keeps its trial and takes no other."""
    for hours in (-1, 1):
        shown = skewed(library, hours, "-c", "import time; print(time.time())").communicate()[0]
        assert abs(float(shown) - time.time() - hours * HOUR_s) < HOUR_s / 10, "the clock is wrong"
    harness.make_study(postgres_url, 2)
    workers = [started_worker(library, hours, postgres_url, tmp_path) for hours in (-1, 1)]
    gates = [tmp_path / f"{worker.pid}.training" for worker in workers]
    for gate in gates:
        harness.wait_until(gate.exists, "its training")
    for gate in gates:
        gate.with_suffix(".open").touch()
    for worker in workers:
        assert "1 trials done" in worker.communicate(timeout=harness.WAIT_s)[0]
    history = StudyHistory.read(postgres_url)
    history.check(2)
    assert [a["result_kind"] for a in history.attempts] == ["won"] * 2
    assert len({a["worker"] for a in history.attempts}) == 2
    times = [a[key] for a in history.attempts for key in ("started_at", "finished_at")]
    assert max(times) - min(times) < HOUR_s / 2, "one clock"
