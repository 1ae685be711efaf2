"""Commands that only read start fast, because they load no library that is slow to load."""

import subprocess
import sys

import pytest
import tiny
from nas_command import Folder

pytestmark = pytest.mark.process

PROGRAM = """
import sys
from click.testing import CliRunner
from nas_service.cli.main import main

def loaded(*arguments):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, (arguments, result.output, result.exception)
    return [name for name in sys.modules if name.split(".")[0] in LIBRARIES]

LIBRARIES = "numpy", "optuna", "sqlalchemy", "pydantic"
assert loaded("--help") == []
LIBRARIES = "torch", "norse", "sklearn", "alembic", "plotly", "optuna_dashboard"
for arguments in ("status tiny", "front tiny", "show tiny 0", "studies", "report tiny",
                  "check tiny.toml"):
    assert loaded(*arguments.split()) == [], arguments
    assert not {"scipy.stats", "scipy.optimize"} & set(sys.modules), arguments
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a finished study, whose trial 0 is trained."""
    folder = Folder(tmp_path_factory.mktemp("study"))
    (folder.path / "tiny.toml").write_text(tiny.QUICK.format(trainings=1))
    code, _, err = folder.nas("run", "tiny.toml")
    assert code == 0, err
    return folder


def test_reading_commands_load_nothing_slow(folder):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=folder.path,
        env=folder.environment | {"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
