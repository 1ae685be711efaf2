"""The command that serves web pages: the dashboard."""

from pathlib import Path

import click

from nas_service.cli.common import FILE, open_store, options
from nas_service.cli.number_types import WholeNumber


@click.command()
@click.option(
    "--port",
    type=WholeNumber(0, 65535),
    default=8080,
    show_default=True,
    help="Serve the pages on this port; 0 takes a free one.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Serve the pages on this address; the default is this machine alone.",
)
@click.option(
    "--token-file",
    type=FILE,
    help="File with the password of the pages, which a --host beyond this machine needs.",
)
@options("storage", "any_disk")
def dashboard(
    port: int, host: str, token_file: Path | None, storage: str | None, any_disk: bool
) -> None:
    """Browse the store in a web browser.

    Serves to this machine alone, read-only, until Ctrl-C: all studies, each study with its front,
    its candidates with their costs and exports, two studies compared, a study on another chip or
    under other budgets, and optuna-dashboard over the same store. Pages follow running workers.

    Behind nginx it takes a host name of its own and `proxy_set_header Host 127.0.0.1:8080`. Below
    a path of another site these pages work, and those of optuna-dashboard do not.
    """
    from nas_service.dashboard.auth import read_token
    from nas_service.dashboard.own_studies import OwnStudies
    from nas_service.dashboard.pages import Pages
    from nas_service.dashboard.server import serve

    token = None if token_file is None else read_token(token_file)

    def ready(url: str) -> None:
        print(f"dashboard: {url} (Ctrl-C ends it)", flush=True)

    store = open_store(storage, any_disk=any_disk)
    own, known = Pages(store), OwnStudies(store)
    serve(store.optuna, host=host, port=port, token=token, own=own, known=known, on_ready=ready)
