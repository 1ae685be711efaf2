"""What a container's health check asks: did the worker give a sign of life, does a page answer.

A worker touches the file that NAS_PULSE names. `nas-health` reads no store and loads no torch, as
it is run every few seconds beside each worker.
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
    """One sign of life, where NAS_PULSE names a file for it."""
    if path := environment.get("NAS_PULSE"):
        Path(path).touch()


def keep_beating(ended: threading.Event, environment: Mapping[str, str]) -> None:
    """A sign of life now and every BEAT_s, until `ended` is set."""
    beat(environment)
    threading.Thread(target=_beat_until, args=(ended, environment), daemon=True).start()


def _beat_until(ended: threading.Event, environment: Mapping[str, str]) -> None:
    while not ended.wait(BEAT_s):
        beat(environment)


def pulse(path: Path, within_s: float, now: float) -> str:
    """What is wrong with a worker's signs of life; empty where the last is fresh enough."""
    try:
        age_s = now - path.stat().st_mtime
    except OSError as error:
        return f"{path}: {error.strerror}"
    return f"{path}: the last sign of life is {age_s:.0f} s old" if age_s > within_s else ""


def page(url: str, token: str | None) -> str:
    """What is wrong with a page on this machine; empty where it answers 200."""
    asked = urllib.request.Request(url)  # noqa: S310  the container's own address
    if token is not None:
        word = base64.b64encode(f"nas:{token}".encode()).decode()
        asked.add_header("Authorization", f"Basic {word}")
    try:
        with urllib.request.urlopen(asked, timeout=ANSWER_s) as answer:  # noqa: S310  the same
            return "" if answer.status == 200 else f"{url}: {answer.status}"
    except (OSError, urllib.error.URLError) as error:
        return f"{url}: {error}"


def main(words: list[str] | None = None) -> None:
    """Exits 0 if well, 1 if not, 2 where asked something else."""
    match sys.argv[1:] if words is None else words:
        case ["pulse", path, seconds] if seconds.isdigit():
            wrong = pulse(Path(path), float(seconds), time.time())
        case ["page", url]:
            wrong = page(url, None)
        case ["page", url, token_file]:
            wrong = page(url, Path(token_file).read_text().strip())
        case _:
            print(USAGE, file=sys.stderr)
            raise SystemExit(2)
    if wrong:
        print(wrong, file=sys.stderr)
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
