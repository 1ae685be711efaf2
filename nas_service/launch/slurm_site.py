"""What SLURM's programs on this machine answer about a script before it is submitted."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

USUAL_ARRAY = 1000  # tasks of an array, unless a site sets MaxArraySize
ANSWER_s = 10
ARRAY_LIMIT = re.compile(r"^MaxArraySize\s*=\s*(\d+)", re.MULTILINE)
PARTITION = re.compile(r"^#SBATCH --partition=(.+)$", re.MULTILINE)
TIME = re.compile(r"^#SBATCH --time=(.+)$", re.MULTILINE)
LONGEST = re.compile(r"\bMaxTime=((?:\d+-)?\d\d:\d\d:\d\d)\b")
OUTPUT = re.compile(r'^#SBATCH --(?:output|error)="?([^"\n]*)/', re.MULTILINE)


def site_notes(script: str, workers: int) -> Iterator[str]:
    """What would keep the tasks of a script from running, as far as can be seen from here.

    Args:
        script: Text of the script.
        workers: Number of tasks.

    Yields:
        One sentence for each obstacle.
    """
    limit = largest_array()
    if workers > (limit or USUAL_ARRAY):
        yield (
            f"--workers {workers}: an array has at most {limit or USUAL_ARRAY} tasks "
            f"{'on this site' if limit else 'where the site does not set MaxArraySize'}; "
            "write a script with fewer and submit it several times"
        )
    elif limit and (refusal := refused(script)):
        yield f"sbatch on this machine would refuse the script: {refusal}"
    elif limit and (longest := too_long(script)):
        yield f"tasks would wait for ever: the partition's longest time is {longest}; set --hours"
    for folder in OUTPUT.findall(script):
        if "%" not in folder and not Path(folder).is_dir():
            yield f"the folder {folder} does not exist, and tasks that cannot write there fail"


def largest_array() -> int | None:
    """Number of tasks that an array may have, or None where it is not known."""
    match = ARRAY_LIMIT.search(_answer(["scontrol", "show", "config"])[1])
    return max(0, int(match[1]) - 1) if match else None


def refused(script: str) -> str:
    """Why sbatch would refuse a script; empty if it would not, or cannot be asked."""
    code, answer = _answer(["sbatch", "--test-only"], script)
    lines = [line for line in answer.splitlines() if line.strip()]
    return lines[-1] if code and lines else ""


def too_long(script: str) -> str:
    """The longest time of the script's partitions, if it asks for more; else empty."""
    (time,) = TIME.findall(script)
    names = [f"PartitionName={n} " for text in PARTITION.findall(script) for n in text.split(",")]
    known = _answer(["scontrol", "--oneliner", "show", "partition"])[1].splitlines()
    lines = [line for line in known if any(n in line for n in names or [" Default=YES "])]
    limits = [match[1] for line in lines if (match := LONGEST.search(line))]
    if not limits or len(limits) < len(lines):
        return ""  # one of them has no limit, or none is known
    longest = max(limits, key=_seconds)
    return longest if _seconds(time) > _seconds(longest) else ""


def _seconds(time: str) -> int:
    """The seconds of a time as SLURM writes it: D-HH:MM:SS, or HH:MM:SS."""
    days, _, clock = time.rpartition("-")
    hours, minutes, seconds = map(int, clock.split(":"))
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def _answer(command: list[str], text: str = "") -> tuple[int, str]:
    """Exit code and output of one of SLURM's programs; 0 and nothing where there is none."""
    if shutil.which(command[0]) is None:
        return 0, ""
    try:
        done = subprocess.run(  # noqa: S603  a program of SLURM; the script is its input
            command,
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=ANSWER_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0, ""
    return done.returncode, done.stdout
