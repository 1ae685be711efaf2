"""Workers under a real SLURM of two nodes: time limits, cancellations, requeues, preemptions."""

import pytest
import slurm_cluster
from launched_study import TRAINED, TRAINING, StudyInStore, wait_until

pytestmark = [
    pytest.mark.process,
    pytest.mark.nightly,
    pytest.mark.skipif(bool(slurm_cluster.lacking()), reason="no SLURM: install slurm-wlm"),
]
STATES = "select state from nas_leases where state != 'reported'"
FAILED = "select count(*) from nas_attempts where result_kind in ('lost', 'late', 'crashed', 'oom')"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with slurm_cluster.running(tmp_path_factory.mktemp("slurm")) as made:
        yield made


@pytest.fixture
def submitted(cluster, tmp_path):
    """Submits the script that `nas launch slurm` writes for a study of such trainings."""

    def submit(epochs, trainings, *words):
        study = StudyInStore(tmp_path, epochs, trainings)
        path = tmp_path / "a job.sh"
        words += ("--memory", "1", "--data", str(tmp_path), "-o", str(path))
        code, output = study.nas("launch", "slurm", "tiny", *words)
        assert code == 0, output
        return study, path, cluster.submit(path)

    return submit


def test_an_array_on_two_nodes_completes_a_study(cluster, submitted, tmp_path):
    (tmp_path / "logs").mkdir()
    words = ("--workers", "3", "--at-once", "2", "--directive", "output=logs/%x %A_%a.log")
    study, _, job = submitted(1, 4, *words, "--directive", "exclusive")
    assert cluster.wait_for(job, "COMPLETED") == ["COMPLETED"] * 3
    assert study.rows(TRAINED) == [(4, 4)]
    logs = [path.read_text() for path in sorted((tmp_path / "logs").iterdir())]
    assert len(logs) == 3
    assert all("end: budget spent: 4 trainings" in log for log in logs)
    assert study.rows(FAILED) == [(0,)]


def test_a_time_limit_releases_the_trial(cluster, submitted):
    """The shortest time that is accepted is long enough to train."""
    study, path, job = submitted(2000, 1, "--grace", "5", "--hours", "0.0333")
    wait_until(lambda: study.rows(TRAINING))
    assert cluster.wait_for(job, "COMPLETED") == ["COMPLETED"]
    assert study.rows(STATES) == [("pending",)]
    assert study.rows(FAILED) == [(0,)]
    again = cluster.submit(path)
    wait_until(lambda: study.rows(TRAINING))
    cluster.run("scancel", again)


@pytest.mark.parametrize("signal", [(), ("--batch", "--signal=USR1")], ids=["cancelled", "notice"])
def test_a_cancellation_and_a_notice_release_the_trial(cluster, submitted, signal):
    study, _, job = submitted(2000, 1)
    wait_until(lambda: study.rows(TRAINING))
    cluster.run("scancel", *signal, job)
    cluster.wait_for(job, "CANCELLED", "COMPLETED")
    assert study.rows(STATES) == [("pending",)]
    assert study.rows(FAILED) == [(0,)]


def test_a_requeued_and_a_preempted_worker_start_again(cluster, submitted):
    study, _, job = submitted(2000, 1, "--cpus", "4", "--directive", "nodelist=n1")
    wait_until(lambda: study.rows(TRAINING))
    urgent = "--partition=high --nodelist=n1 --cpus-per-task=4 --mem=10M --output=/dev/null"
    short = cluster.run("sbatch", "--parsable", *urgent.split(), "--wrap=sleep 2")
    cluster.wait_for(short, "COMPLETED")
    assert cluster.wait_for(job, "PENDING") == ["PENDING"]
    assert study.rows(STATES) == [("pending",)]
    cluster.run("scontrol", "update", f"JobId={job}", "StartTime=now")
    wait_until(lambda: study.rows(TRAINING))
    cluster.run("scontrol", "requeue", job)
    cluster.wait_for(job, "PENDING")
    wait_until(lambda: study.rows(STATES) == [("pending",)])
    assert study.rows(FAILED) == [(0,)]
