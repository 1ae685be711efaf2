"""SLURM's own sbatch reads the scripts of `nas launch slurm`, and runs none of them."""

import pytest
import slurm_cluster
from launched_study import StudyInStore

from nas_service.launch import slurm_site

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(bool(slurm_cluster.lacking()), reason="no SLURM: install slurm-wlm"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with slurm_cluster.running(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture
def launch(cluster, tmp_path, monkeypatch):
    """Writes a script as `nas launch slurm` does beside that cluster; returns its output."""
    monkeypatch.setenv("SLURM_CONF", cluster.configuration)
    study = StudyInStore(tmp_path, epochs=1, trainings=1)

    def launched(*words):
        path = tmp_path / "a b.sh"
        code, output = study.nas("launch", "slurm", "tiny", *words, "-o", str(path))
        assert code == 0, output
        return path, output

    return launched


def test_sbatch_reads_every_option_as_it_was_given(cluster, launch, tmp_path):
    (tmp_path / "my logs").mkdir()
    comment = """a "b" \\ 'c' # d é $(id)"""
    options = ["constraint=a&b", "nodelist=n[1-1]", f"comment={comment}", "nice=7"]
    options += [f"output={tmp_path}/my logs/%x-%A_%a.log", "mem-per-cpu=500M", "--begin=now+1day"]
    words = [word for option in options for word in ("--directive", option)]
    path, output = launch("--workers", "5", "--at-once", "2", "--hours", "0.35", *words)
    assert "note:" not in output
    job = cluster.submit(path)
    names = ("ArrayTaskId", "TimeLimit", "Features", "ReqNodeList", "JobName", "Requeue", "Nice")
    expected = ["1-5%2", "00:21:00", "a&b", "n1", "nas-tiny", "1", "7"]
    assert cluster.show(job, *names) == expected
    text = cluster.run("scontrol", "show", "job", job)
    assert f"Comment={comment}" in text
    assert f"StdOut={tmp_path}/my logs/nas-tiny-{job}_" in text
    assert "MinMemoryCPU=500M" in text


def test_the_site_s_limits_are_noted(launch):
    assert slurm_site.largest_array() == 64
    assert "note:" not in launch("--workers", "64")[1]
    _, output = launch("--workers", "65")
    assert "note: --workers 65: an array has at most 64 tasks on this site" in output
    _, output = launch("--directive", "constraint=z")
    assert "would refuse the script: allocation failure: Invalid feature specification" in output
    assert "note:" not in launch("--directive", "nodelist=n[1-2]")[1], "a task takes one of them"
    _, output = launch("--hours", "25")
    assert "note: tasks would wait for ever: the partition's longest time is 1-00:00:00" in output
