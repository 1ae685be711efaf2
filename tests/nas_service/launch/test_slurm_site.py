"""What SLURM's own programs on this machine answer about a script, and where they are missing."""

import pytest

from nas_service.launch import slurm_site

CONFIGURATION = "MaxArraySize            = 65\nMaxJobCount             = 10000\n"
PARTITIONS = """
PartitionName=low AllocNodes=ALL Default=YES QoS=N/A MaxTime=1-00:00:00 MinNodes=0
PartitionName=short AllocNodes=ALL Default=NO QoS=N/A MaxTime=00:30:00 MinNodes=0
PartitionName=long AllocNodes=ALL Default=NO QoS=N/A MaxTime=UNLIMITED MinNodes=0
"""
SCRIPT = "#!/bin/bash\n#SBATCH --time=0-04:00:00\n"


@pytest.fixture
def answers(monkeypatch):
    """Answers of the programs by name: exit code and output."""
    given = {
        "scontrol": (0, CONFIGURATION + PARTITIONS),
        "sbatch": (0, "sbatch: Job 5 to start at ..."),
    }
    monkeypatch.setattr(slurm_site, "_answer", lambda command, text="": given[command[0]])
    return given


def notes(workers, script=SCRIPT):
    return list(slurm_site.site_notes(script, workers))


def test_an_array_above_the_site_s_limit(answers):
    assert notes(64) == []
    (note,) = notes(65)
    assert note.startswith("--workers 65: an array has at most 64 tasks on this site; ")
    assert "submit it several times" in note


def test_the_usual_limit_holds_where_the_site_is_not_known(answers):
    answers["scontrol"] = (1, "scontrol: fatal: Could not establish a configuration source\n")
    answers["sbatch"] = (1, "sbatch: fatal: Could not establish a configuration source\n")
    assert notes(1000) == []
    (note,) = notes(1001)
    assert "at most 1000 tasks where the site does not set MaxArraySize" in note


def test_what_sbatch_would_refuse(answers):
    answers["sbatch"] = (1, "sbatch: error: x\nallocation failure: Invalid feature specification\n")
    (note,) = notes(1)
    assert note.endswith(
        "would refuse the script: allocation failure: Invalid feature specification"
    )


@pytest.mark.parametrize(
    ("time", "partition", "longest"),
    [
        ("0-23:59:00", "", ""),
        ("1-00:01:00", "", "1-00:00:00"),
        ("0-00:31:00", "short", "00:30:00"),
        ("0-00:31:00", "short,low", ""),
        ("300-00:00:00", "long,low", ""),
        ("300-00:00:00", "unknown", ""),
    ],
)
def test_a_time_above_the_partition_s(answers, time, partition, longest):
    line = f"#SBATCH --partition={partition}\n" if partition else ""
    text = f"#SBATCH --time={time}\n{line}"
    assert slurm_site.too_long(text) == longest
    assert [longest in note and "wait for ever" in note for note in notes(1, text)] == (
        [True] if longest else []
    )


def test_a_folder_of_logs_that_does_not_exist(answers, tmp_path):
    (tmp_path / "a b").mkdir()
    there, lacking = tmp_path / "a b", tmp_path / "none"
    lines = f'#SBATCH --output="{there}/%x.log"\n#SBATCH --error={lacking}/%x.err\n'
    assert notes(1, SCRIPT + lines) == [
        f"the folder {lacking} does not exist, and tasks that cannot write there fail"
    ]
    assert notes(1, SCRIPT + "#SBATCH --output=/logs/%u/x.log\n#SBATCH --output=%x.log\n") == []


@pytest.mark.process
def test_a_machine_without_slurm_s_programs(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert notes(1) == []
