"""The command `nas` in the test's process, in its present folder."""

import json
from typing import Any

from click.testing import CliRunner, Result

from nas_service.cli.main import main


def run(*arguments: object) -> Result:
    """Runs the command."""
    return CliRunner().invoke(main, [str(a) for a in arguments])


def document(*arguments: object) -> Any:
    """Runs the command with --json; returns the document that it prints."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(*arguments: object) -> str:
    """Runs the command, which must refuse its input; returns the one line that it prints."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert len(result.stderr.splitlines()) == 1, result.stderr
    return str(result.stderr)
