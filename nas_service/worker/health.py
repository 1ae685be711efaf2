"""The health check of a container: whether a worker is alive, and whether a web page answers.

A worker touches the file NAS_PULSE regularly. `nas-health` opens no store and does not load torch,
because it runs every few seconds.
"""

import base64
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

BEAT_s = 15.0
ANSWER_s = 5.0
USAGE = "usage: nas-health pulse FILE SECONDS | page URL [TOKEN_FILE]"


def beat(environment: Mapping[str, str]) -> None:
    """Touches the file NAS_PULSE, where it is set."""
    if path := environment.get("NAS_PULSE"):
        Path(path).touch()


def keep_beating(ended: threading.Event, environment: Mapping[str, str]) -> None:
    """Touches the file NAS_PULSE now and every BEAT_s, until `ended` is set.

    Args:
        ended: Ends the thread that touches the file.
        environment: Variables of the process; without NAS_PULSE nothing is touched.
    """
    beat(environment)
    threading.Thread(target=_beat_until, args=(ended, environment), daemon=True).start()


def _beat_until(ended: threading.Event, environment: Mapping[str, str]) -> None:
    while not ended.wait(BEAT_s):
        beat(environment)


def pulse(path: Path, within_s: float, now: float) -> str:
    """What is wrong with a worker's pulse file; empty where it was touched recently.

    Args:
        path: The file.
        within_s: The age up to which it counts as recent.
        now: Seconds since the epoch.

    Returns:
        A line that names the file, or an empty one.
    """
    try:
        age_s = now - path.stat().st_mtime
    except OSError as error:
        return f"{path}: {error.strerror}"
    return f"{path}: last touched {age_s:.0f} s ago" if age_s > within_s else ""


def page(url: str, token: str | None) -> str:
    """What is wrong with a page on this machine; empty where it answers with status 200.

    Args:
        url: Its address.
        token: The dashboard's token, where it needs one.

    Returns:
        A line that names the page, or an empty one.
    """
    request = urllib.request.Request(url)  # noqa: S310  the container's own address
    if token is not None:
        login = base64.b64encode(f"nas:{token}".encode()).decode()
        request.add_header("Authorization", f"Basic {login}")
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_s) as answer:  # noqa: S310  the same
            return "" if answer.status == 200 else f"{url}: {answer.status}"
    except (OSError, urllib.error.URLError) as error:
        return f"{url}: {error}"


def _guarded_page(url: str, token_file: Path) -> str:
    try:
        token = token_file.read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        return f"{token_file}: cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        return f"{token_file}: cannot be read (no UTF-8)"
    return page(url, token)


def main(arguments: list[str] | None = None) -> None:
    """The command `nas-health`.

    Args:
        arguments: Of the command line, by default those of this process.

    Raises:
        SystemExit: With 0 if all is well, 1 if not, 2 for wrong usage.
    """
    match sys.argv[1:] if arguments is None else arguments:
        case ["pulse", path, seconds] if seconds.isascii() and seconds.isdigit():
            wrong = pulse(Path(path), float(seconds), time.time())
        case ["page", url]:
            wrong = page(url, None)
        case ["page", url, token_file]:
            wrong = _guarded_page(url, Path(token_file))
        case _:
            print(USAGE, file=sys.stderr)
            raise SystemExit(2)
    if wrong:
        print(wrong, file=sys.stderr)
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
