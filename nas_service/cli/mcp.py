"""`nas mcp`: the store's studies for assistants, over the Model Context Protocol."""

import click

from nas_service.cli.common import options


@click.command()
@options("storage", "any_disk")
def mcp(storage: str | None, any_disk: bool) -> None:
    """Let an assistant read the store.

    Serves the Model Context Protocol on standard input and output, for a program that starts this
    command itself. Its tools read studies, fronts and trials, say why a candidate was rejected,
    and cost a study on another chip; nothing is stored, trained or deleted.
    """
    from nas_service.cli.mcp_tools import server_of

    server_of(storage, any_disk).run("stdio")
