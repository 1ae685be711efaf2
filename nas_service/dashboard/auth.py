"""A token that protects the dashboard's pages where other users could reach them.

Browsers ask for it as the password of HTTP's basic authentication; any user name is accepted.
"""

import base64
import binascii
import hmac
import stat
from collections.abc import Iterable
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from hw_models import FileError
from hw_models.files.text_file import read_text
from nas_service.errors import NasError

SHORTEST = 32  # characters
REFUSED = b"The password is the dashboard's token.\n"


def read_token(path: Path) -> str:
    """The token in a file.

    Raises:
        NasError: The file cannot be read, other users may read it, or the token is too short.
    """
    try:
        token = read_text(path).strip()
    except FileError as error:
        raise NasError(f"--token-file {error}") from None
    if not token.isascii() or len(token.split()) > 1:
        raise NasError(
            f"--token-file {path}: one word of letters without accents, digits and signs is needed"
        )
    if path.stat().st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise NasError(f"--token-file {path}: other users can read it; run chmod 600")
    if len(token) < SHORTEST:
        raise NasError(
            f"--token-file {path}: {len(token)} characters, and at least {SHORTEST} random ones "
            "are needed; `openssl rand -hex 32` prints some"
        )
    return token


def with_token(token: str, app: WSGIApplication) -> WSGIApplication:
    """Protects an application by a token.

    Args:
        token: The token.
        app: The application.

    Returns:
        An application that passes on requests whose password is the token; others get status 401.
    """

    def checked(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if hmac.compare_digest(_password(environ.get("HTTP_AUTHORIZATION", "")), token.encode()):
            return app(environ, start_response)
        headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(REFUSED))),
            ("WWW-Authenticate", 'Basic realm="nas", charset="UTF-8"'),
        ]
        start_response("401 Unauthorized", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [REFUSED]

    return checked


def _password(header: str) -> bytes:
    """The password of a basic authorization header; empty if there is none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(encoded, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""
