"""Options that several engines of `nas launch` share, and how their files are written."""

import shlex
import stat
from collections.abc import Callable
from pathlib import Path

import click

from hw_models.files.text_file import leads_nowhere
from nas_service.cli.common import FILE
from nas_service.cli.completion import complete_study
from nas_service.cli.number_types import Number, WholeNumber
from nas_service.cli.terminal import print_out
from nas_service.errors import NasError
from nas_service.launch.job import MOST_WORKERS

STUDY = click.argument("study", shell_complete=complete_study)
WORKERS = click.option(
    "--workers",
    type=WholeNumber(1, MOST_WORKERS),
    default=1,
    show_default=True,
    help="Number of workers that are started.",
)
CPUS = click.option(
    "--cpus",
    type=WholeNumber(1, 256),
    default=1,
    show_default=True,
    help="Cores for each worker, which computes in one thread.",
)
MEMORY = click.option(
    "--memory",
    type=WholeNumber(1, 4096),
    default=5,
    show_default=True,
    help="Memory for each worker, in GiB: training.memory_GiB of the study and 1 more.",
)
GPU = click.option("--gpu", is_flag=True, help="Request one GPU for each of the workers.")
GRACE = click.option(
    "--grace",
    type=WholeNumber(1, 3600),
    default=120,
    show_default=True,
    help="Seconds that a worker has between SIGTERM and SIGKILL to save its epoch.",
)
Command = Callable[..., None]


def of_workers(function: Command) -> Command:
    """The study and what each of its workers gets, for every engine that writes a file.

    Args:
        function: Takes `study`, `workers`, `cpus`, `memory`, `gpu` and `grace`.

    Returns:
        The function with these parameters.
    """
    for parameter in reversed((STUDY, WORKERS, CPUS, MEMORY, GPU, GRACE)):
        function = parameter(function)
    return function


OUTPUT = click.option(
    "-o", "output", type=FILE, help="Write to this file instead of standard output."
)
HOURS = Number(1 / 60, 24 * 365)


def write(text: str, output: Path | None, command: str) -> None:
    """Writes a file that another program starts workers from, or prints it.

    Args:
        text: Content of the file.
        output: The file; None for standard output.
        command: The program with its options, to which the file's name is added.

    Raises:
        NasError: The file cannot be written.
    """
    if output is None:
        print(text, end="")
        return
    if leads_nowhere(output):
        raise NasError(f"-o {output}: a link to a file that does not exist")
    try:
        output.write_text(text)
    except OSError as error:
        raise NasError(f"-o {output}: {error.strerror}") from None
    output.chmod(output.stat().st_mode | (stat.S_IXUSR if command == "sbatch" else 0))
    line = f"{command} {shlex.quote(str(output))}"
    print_out(f"written: {output}; `{line}` starts it")
