"""A token before the dashboard's pages, where others than this machine's user could reach them.

Browsers ask for it themselves, as the password of HTTP's basic authentication; any name will do.
"""

import base64
import binascii
import hmac
import stat
from collections.abc import Iterable
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from nas_service.errors import NasError

SHORTEST = 32  # characters
REFUSED = b"The password is the dashboard's token.\n"


def read_token(path: Path) -> str:
    """The token in a file; NasError if others may read it or it is short enough to be guessed."""
    try:
        mode, token = path.stat().st_mode, path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NasError(f"--token-file {path}: {error}") from None
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise NasError(f"--token-file {path}: readable by all; chmod 600 it")
    if len(token) < SHORTEST:
        raise NasError(
            f"--token-file {path}: {len(token)} characters, at least {SHORTEST} random ones are "
            "needed, such as `openssl rand -hex 32` prints"
        )
    return token


def behind(token: str, app: WSGIApplication) -> WSGIApplication:
    """The application, for whoever knows the token."""

    def asking(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if hmac.compare_digest(_password(environ.get("HTTP_AUTHORIZATION", "")), token.encode()):
            return app(environ, start_response)
        headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(REFUSED))),
            ("WWW-Authenticate", 'Basic realm="nas", charset="UTF-8"'),
        ]
        start_response("401 Unauthorized", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [REFUSED]

    return asking


def _password(header: str) -> bytes:
    """That of a basic authorization; empty where there is none."""
    scheme, _, word = header.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(word, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""
