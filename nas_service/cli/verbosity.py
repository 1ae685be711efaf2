"""The options --quiet and --verbose of every command: how much is printed beside its result."""

from enum import Enum

import click

KEY = "nas_service.verbosity"  # in the context's `meta`, which all its parts share


class Verbosity(Enum):
    """What is printed on stderr beside errors."""

    QUIET = "quiet"  # nothing
    NORMAL = "normal"  # progress and notes
    VERBOSE = "verbose"  # and what the program does


def verbosity() -> Verbosity:
    """How much the command that runs may print."""
    ctx = click.get_current_context(silent=True)
    level = Verbosity.NORMAL if ctx is None else ctx.meta.get(KEY, Verbosity.NORMAL)
    assert isinstance(level, Verbosity)  # noqa: S101  nothing else is stored by this key
    return level


def verbosity_options() -> list[click.Option]:
    """The two options, new ones for each command."""
    texts = {
        Verbosity.QUIET: "Print the result and errors only: no progress, no notes.",
        Verbosity.VERBOSE: "Also print what the program does and how long it took.",
    }
    return [
        click.Option(
            [f"-{level.value[0]}", f"--{level.value}"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_choose,
            help=text,
        )
        for level, text in texts.items()
    ]


def _choose(ctx: click.Context, option: click.Parameter, given: bool) -> None:
    if not given:
        return
    level = Verbosity(option.name)
    if ctx.meta.setdefault(KEY, level) != level:
        raise click.UsageError("--quiet and --verbose: one of them is possible at a time", ctx)
