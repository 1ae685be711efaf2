"""The command that examines this machine."""

import os
import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas_service.cli.common import options
from nas_service.cli.terminal import out, print_json
from nas_service.text import printable

if TYPE_CHECKING:
    from nas_service.worker.machine_report import Check

MISSING = 1  # exit code
INDENT = " " * 18  # of what follows a check's name and state


@click.command()
@options("storage", "data", "json")
def doctor(storage: str | None, data: Path, as_json: bool) -> None:
    """Examine this machine: what is fine, slow or missing.

    Versions, threads, memory, compiler, the neurons' backend, GPU, store, data and disk; each line
    that is not fine says what to do. The exit code is 1 where something is missing. Nothing is
    trained or written.
    """
    from nas_service.worker.machine_report import examine

    checks = examine(storage, data, os.environ)
    if as_json:
        print_json([check.to_json() for check in checks])
    else:
        for check in checks:
            out.print("\n".join(_lines(check)), markup=False)
    if any(check.state == "missing" for check in checks):
        raise SystemExit(MISSING)


def _lines(check: "Check") -> list[str]:
    """The check in lines as wide as the terminal; what to do begins one of its own."""
    width = max(40, min(shutil.get_terminal_size().columns, 120))
    wrapper = textwrap.TextWrapper(
        width, subsequent_indent=INDENT, break_long_words=False, break_on_hyphens=False
    )
    lines = wrapper.wrap(f"{check.name:10s}{check.state:8s}{printable(check.text)}")
    if check.remedy:
        lines += wrapper.wrap(f"{INDENT}to do: {printable(check.remedy)}")
    return lines
