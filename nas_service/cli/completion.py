"""The command that prints what completes commands in a shell, and the names of studies for it."""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

SHELLS = {
    "bash": 'eval "$(nas completion bash)"  in ~/.bashrc',
    "zsh": 'eval "$(nas completion zsh)"  in ~/.zshrc, after compinit',
    "fish": "nas completion fish > ~/.config/fish/completions/nas.fish",
}
"""Where each shell reads the script."""

VARIABLE = "_NAS_COMPLETE"  # which the script sets, and click's main reads
STUDIES = "SELECT s.study_name FROM studies s JOIN nas_studies USING (study_id) ORDER BY 1"


@click.command()
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what completes commands in a shell.

    With it the Tab key completes verbs, options, files, and the studies of an SQLite store. The
    script says in its first lines where the shell reads it.
    """
    kind = get_completion_class(shell)
    assert kind is not None, shell  # noqa: S101  click has all three
    completer = kind(ctx.find_root().command, {}, "nas", VARIABLE)
    script = (completer.source_template % completer.source_vars()).strip()
    tag, _, rest = script.partition("\n") if script.startswith("#") else ("", "", script)
    print("\n".join(line for line in (tag, f"# {SHELLS[shell]}", rest.strip()) if line))


def complete_study(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The studies that begin so, of the SQLite store that the command would open.

    Args:
        ctx: Of the command, with the options so far.
        incomplete: What is typed of the name.

    Returns:
        The names; none for another store, or one that cannot be read.
    """
    url = ctx.params.get("storage") or os.environ.get("NAS_STORAGE", "sqlite:///nas.db")
    return [CompletionItem(name) for name in _studies(url) if name.startswith(incomplete)]


def _studies(url: str) -> list[str]:
    """Names of the studies in an SQLite file, read without loading SQLAlchemy."""
    scheme, _, file = url.partition(":///")
    if scheme != "sqlite" or not Path(file).is_file():
        return []
    with suppress(sqlite3.Error):
        address = f"{Path(file).absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=1)) as db:
            return [str(name) for (name,) in db.execute(STUDIES)]
    return []
