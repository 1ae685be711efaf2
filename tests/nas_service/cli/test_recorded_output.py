"""What every verb prints on terminals of 80 and 120 columns, as recorded in tests/fixtures.

NAS_RECORD=1 records it anew; look at every line that changes. Not recorded: `completion`, which has
tests of its own, and `doctor`, `mcp`, `dashboard` and `worker`, which describe the machine, serve,
or start processes.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import terminal_study
from click.testing import CliRunner
from nas_command import InProcessPool
from rich.cells import cell_len

from nas_service import api
from nas_service.cli import budgets, progress
from nas_service.cli.main import main
from nas_service.cli.verbs import VERBS
from nas_service.evaluation import ablation
from nas_service.evaluation import replay as replays

FOLDER = Path(__file__).parents[2] / "fixtures" / "terminal"
WIDTHS = (80, 120)
COMMANDS = (
    "init --data digits",
    "check tiny.toml --budgets",
    "run tiny.toml",
    "resume tiny",
    "status tiny",
    "status tiny --watch",
    "--help",
    "front tiny",
    "show tiny 2",
    "show tiny 0",
    "show tiny 9",
    "studies",
    "report tiny",
    "retrain tiny --seeds 2",
    "replay tiny 2",
    "evaluate candidate.json tiny.toml --no-train",
    "ablate tiny.toml --samples 2",
    "export tiny 2 --format torch",
    "cost candidate.json --study tiny.toml --budget energy_uJ=0.3",
    "cost net.json --diff corrected spikesim_rram",
    "cost --validate",
    "census tiny.toml --limit 300",
    "recost tiny --budget area_mm2=4",
    "recost tiny --profile spikesim_rram",
    "calibrate measured.csv --profile corrected --fit sar_bit_energy -o fitted.toml",
    "create tiny.toml --name second",
    "launch slurm tiny --account a --hours 1 --workers 2",
    "data",
    "data digits",
    "migrate",
    "statsu tiny",
)
ELSEWHERE = {"completion", "doctor", "mcp", "dashboard", "worker"}
CHANGES = (  # what differs from run to run
    (r"/\S*?/(?=nas\.db|reports|data\b)", "FOLDER/"),
    (r"\b\d+(\.\d+)? (s|ms)\b(?! )", "TIME"),
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the study, to be copied."""
    folder = tmp_path_factory.mktemp("written")
    terminal_study.write_study(folder)
    return folder


def budgets_line(spec, density, lines={}):  # noqa: B006  # kept, as it costs 10,000 candidates
    """The line about a study's budgets, computed once."""
    if density.text not in lines:
        lines[density.text] = budgets.budgets_line(spec, density)
    return lines[density.text]


@contextmanager
def without_trainings(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Trainings end at once, with made-up accuracies."""

    def trained(evaluator, plan):
        for n, screened in enumerate(plan.networks):
            accuracy = 0.7 + 0.1 * (n % 3)
            yield replace(
                screened, outcome="trained", accuracy=accuracy, spike_rate=0.1, fidelity=2
            )

    patch.setattr(ablation, "trained", trained)
    patch.setattr(api, "LocalWorkerPool", InProcessPool)
    patch.setattr(progress, "budgets_line", budgets_line)
    patch.setattr(replays, "replay", lambda evaluator, recorded: recorded)
    yield


def transcript(folder: Path, width: int) -> dict[str, str]:
    """What each command prints, by the command."""
    printed = {}
    with pytest.MonkeyPatch.context() as patch, without_trainings(patch):
        patch.chdir(folder)
        patch.delenv("NAS_RECORD", raising=False)
        environment = {"NAS_STORAGE": "sqlite:///nas.db", "COLUMNS": str(width)}
        for command in COMMANDS:
            result = CliRunner().invoke(main, command.split(), prog_name="nas", env=environment)
            if not isinstance(result.exception, SystemExit | None):
                raise result.exception
            code = f"(exit code {result.exit_code})\n" if result.exit_code else ""
            printed[command] = normalised(result.output) + code
    return printed


def normalised(text: str) -> str:
    """The text without what differs from run to run."""
    for pattern, stable in CHANGES:
        text = re.sub(pattern, stable, text)
    return text


def read(width: int) -> dict[str, str]:
    """The recorded output, by the command."""
    text = (FOLDER / f"{width}.txt").read_text()
    parts = re.split(r"^\$ nas (.*)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.fixture(scope="module", params=WIDTHS)
def session(request, written, tmp_path_factory):
    """The width of a terminal, and what all commands print on it."""
    folder = tmp_path_factory.mktemp("session") / "f"
    shutil.copytree(written, folder)
    printed = transcript(folder, request.param)
    if os.environ.get("NAS_RECORD"):
        texts = (f"$ nas {command}\n{text}" for command, text in printed.items())
        (FOLDER / f"{request.param}.txt").write_text("".join(texts))
    return request.param, printed


@pytest.mark.parametrize("command", COMMANDS)
def test_output_is_as_recorded(session, command):
    width, printed = session
    assert printed[command] == read(width).get(command, "not recorded")


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.startswith("launch")])
def test_no_line_is_longer_than_the_terminal(session, command):
    width, printed = session
    lines = printed[command].splitlines()
    assert [line for line in lines if cell_len(line) > width and " " in line.strip()] == []


def test_every_verb_is_recorded():
    recorded = {command.split()[0] for command in COMMANDS}
    assert recorded - {"statsu", "--help"} == set(VERBS) - ELSEWHERE
