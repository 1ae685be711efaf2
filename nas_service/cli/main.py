"""The command line `nas`: its verbs by groups, and errors as one line with an exit code."""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from nas_service.cli.examples import with_examples
from nas_service.cli.verbosity import Verbosity, verbosity, verbosity_options
from nas_service.cli.verbs import GROUPS, VERBS
from nas_service.errors import Interrupted, MachineFault, NasError, did_you_mean
from nas_service.synonyms import nearest
from nas_service.text import duration
from nas_service.worker import end_signals

STORE_FAILED = 4  # exit code
# A group of commands that is called without one; older releases of click print its help at once.
WITHOUT_A_COMMAND: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())


PLUGIN: Any = {
    "multiple": True,
    "metavar": "FILE",
    "type": click.Path(),
    "help": "Load this Python file with operations, metrics, data sets and the like of your own; "
    "may be repeated. NAS_PLUGIN names further ones.",
}


def with_common_options(command: click.Command) -> click.Command:
    """The command, and those below it, with --quiet, --verbose and --plugin, which comes first."""
    if isinstance(command, click.Group):
        for one in command.commands.values():
            with_common_options(one)
    elif all(parameter.name != "plugins" for parameter in command.params):
        command.params += verbosity_options()
        command.params.append(
            click.Option(
                ["--plugin", "plugins"],
                callback=_on_plugin,
                is_eager=True,
                expose_value=False,
                **PLUGIN,
            )
        )
    return command


def _on_plugin(ctx: click.Context, _: click.Parameter, paths: tuple[str, ...]) -> None:
    if paths and not ctx.resilient_parsing:
        _load_plugins(paths, {})


def _load_plugins(paths: Iterable[str], environment: Mapping[str, str]) -> None:
    from nas_service.study import plugins

    plugins.load_named(environment)
    plugins.load_all(paths)


class Verbs(click.Group):
    """Loads a verb when it is asked for, and turns known errors into one line and an exit code."""

    def main(self, *args: Any, **more: Any) -> Any:
        """As click does, with handlers of signals from the first moment."""
        with end_signals.watched(last=more.get("standalone_mode", True)):
            return super().main(*args, **more)

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> click.Context:
        """As click does; wrong options before the verb are one line as well."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except WITHOUT_A_COMMAND:
            raise  # click prints the help
        except click.UsageError as error:
            raise _usage(error, str(info_name)) from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the verbs, in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb of this name, or None."""
        if cmd_name not in VERBS:
            return None
        return with_examples(with_common_options(VERBS[cmd_name].load()), cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a suggestion where no verb has this name."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            ctx.fail(f"no command {args[0]!r:.60}{did_you_mean(args[0], VERBS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `nas --help`, by groups; it loads no verb."""
        width = max(map(len, VERBS))
        for title, verbs in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), v.summary) for name, v in verbs.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Verbs and options that begin so; it loads no verb."""
        options = click.Command.shell_complete(self, ctx, incomplete)
        verbs = ((name, v.summary) for name, v in VERBS.items() if name.startswith(incomplete))
        return [*(CompletionItem(name, help=summary) for name, summary in verbs), *options]

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the verb. Errors that nobody expects keep their traceback."""
        began = time.monotonic()
        try:
            return super().invoke(ctx)
        except NasError as error:
            raise _exit(str(error), error.exit_code) from None
        except WITHOUT_A_COMMAND:
            raise  # click prints the help
        except click.UsageError as error:
            raise _usage(error, ctx.command_path) from None
        except KeyboardInterrupt as interruption:
            raise _exit(str(interruption) or "interrupted", Interrupted.exit_code) from None
        except Exception as error:
            if (failure := _plugin_failure(error) or library_failure(error)) is None:
                raise
            raise _exit(*failure) from None
        finally:
            _print_time(ctx, time.monotonic() - began)


def _print_time(ctx: click.Context, seconds: float) -> None:
    """With --verbose, how long the command took."""
    if verbosity() is Verbosity.VERBOSE:
        from nas_service.cli.terminal import print_detail

        print_detail(f"nas {ctx.invoked_subcommand}: {duration(seconds)}")


def _usage(error: click.UsageError, default: str) -> SystemExit:
    """The end by an error in the words of a command, whose help is named."""
    path = error.ctx.command_path if error.ctx else default
    message = " ".join(error.format_message().split())  # click's may have several lines
    if isinstance(error, click.NoSuchOption):
        message = _no_option(error)
    return _exit(f"{message} ({path} --help)", error.exit_code)


def _no_option(error: click.NoSuchOption) -> str:
    """The message about an unknown option, with the one that is probably meant."""
    parameters = [] if error.ctx is None else error.ctx.command.params
    options = (o for p in parameters if not getattr(p, "hidden", False) for o in p.opts)
    names = {_word(name): name for name in options if name.startswith("--")}
    near = nearest(_word(error.option_name), names)
    hint = f", did you mean {names[near]!r}?" if near else ""
    return f"no option {error.option_name!r:.60}{hint}"


def _word(option: str) -> str:
    return option.strip("-").replace("-", "_")


def _plugin_failure(error: Exception) -> tuple[str, int] | None:
    """Message and exit code of an error in the code of a plug-in."""
    if (loader := sys.modules.get("nas_service.study.plugins")) is None:  # none is loaded
        return None
    text = loader.failure(error)
    return text and (text, NasError.exit_code)


def library_failure(error: Exception) -> tuple[str, int] | None:
    """Message and exit code of an error of the cost model, SQLAlchemy, Optuna or the machine.

    Args:
        error: What was raised.

    Returns:
        Both, or None for an error that nobody expects.
    """
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError

    from hw_models import HardwareError
    from nas_service.store.database import first_line
    from nas_service.worker.training_process.failures import FAULTS, kind_of

    if isinstance(error, HardwareError):
        return str(error), NasError.exit_code
    if isinstance(error, (SQLAlchemyError, OptunaError)):
        return f"the store failed: {first_line(error)}", STORE_FAILED
    if kind_of(error) in (*FAULTS, "oom") and not isinstance(error, BrokenPipeError):
        text = f"{type(error).__name__}: {error}"
        if isinstance(error, OSError) and error.filename:
            text = f"{error.filename}: {error.strerror}"
        return f"this machine cannot do it: {text}", MachineFault.exit_code
    return None


def _exit(text: str, code: int) -> SystemExit:
    from nas_service.cli.terminal import print_error

    with contextlib.suppress(OSError):  # the terminal may be closed
        print_error(f"nas: {text}")
    return SystemExit(code)


EPILOG = """\b
Examples:
  # write a study of handwritten digits, and search it
  nas init --data digits
  nas run digits.toml
Each verb has examples too, at the end of its help, such as nas run --help.
"""


@click.group(cls=Verbs, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nas-service")
@click.option("--plugin", "plugins", **PLUGIN)
@click.pass_context
def main(ctx: click.Context, plugins: tuple[str, ...]) -> None:
    """Search for quantised spiking networks that fit a chip's budgets."""
    if plugins or os.environ.get("NAS_PLUGIN"):
        _load_plugins(plugins, os.environ)
    if not VERBS[str(ctx.invoked_subcommand)].handles_signals:
        end_signals.interrupt()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")


main.params += verbosity_options()
