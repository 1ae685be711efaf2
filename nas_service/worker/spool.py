"""Results on the disk of this machine until the store has them: no outage loses a training.

Their worker keeps them locked, so that also one of another container sees whether it lives.
"""

import fcntl
import json
import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from hw_models import FileError
from hw_models.files.json_file import read_json
from nas_service.errors import NasError, StoreError
from nas_service.metrics import Evaluation
from nas_service.store.process_id import is_dead
from nas_service.store.records import Lease
from nas_service.store.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpooledResult:
    """A result whose worker has ended before the store had it."""

    file: Path
    lease: Lease
    worker: str  # name of the worker that measured it
    evaluation: Evaluation


@dataclass(frozen=True)
class Spool:
    """A folder with the results of one store, one file each."""

    folder: Path

    @classmethod
    def of(cls, store: Store) -> "Spool":
        """The spool of a store, below NAS_SPOOL or else the user's folder for state.

        Raises:
            StoreError: The folder cannot be made.
        """
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
        place = Path(os.environ.get("NAS_SPOOL") or state / "nas" / "spool") / store.name
        try:
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreError(
                f"spool {place}: {error.strerror}; name a folder with NAS_SPOOL"
            ) from None
        return cls(place)

    @contextmanager
    def keeping(
        self, study_id: int, lease: Lease, worker: str, evaluation: Evaluation
    ) -> Iterator[None]:
        """Keeps a result until the block has archived it.

        On a full disk a warning is logged, and there is no copy.

        Args:
            study_id: The study.
            lease: Of the trial, at the attempt that was evaluated.
            worker: Name of the worker.
            evaluation: The result.

        Yields:
            Nothing; a block that ends without an error deletes the copy.
        """
        file = self.folder / f"{uuid.uuid4().hex}.json"
        head = {"study_id": study_id, "owner": worker}
        head |= {"lease": lease.id, "trial": lease.trial, "attempt": lease.attempt}
        text = json.dumps(head | {"evaluation": evaluation.to_json()}, allow_nan=False)
        with ExitStack() as locked:
            try:
                locked.enter_context(_write(file, text))
            except OSError as error:
                log.warning(
                    "spool %s: %s; the result has no copy on this disk", file, error.strerror
                )
            yield
            self.drop(file)

    def results(self, study_id: int) -> Iterator[SpooledResult]:
        """Results of a study whose workers have ended; StoreError names a damaged file."""
        for file in sorted(self.folder.glob("*.json")):
            result = _read(file, study_id)
            if result is not None and (is_dead(result.worker) or _is_unlocked(file)):
                yield result

    def drop(self, file: Path) -> None:
        """Deletes a result that the store has."""
        file.unlink(missing_ok=True)


def _write(file: Path, text: str) -> TextIO:
    """Writes a file whole or not at all; it is locked until it is closed, or this process ends."""
    part = file.with_suffix(".part")
    with ExitStack() as on_error:
        on_error.callback(part.unlink, missing_ok=True)
        out = on_error.enter_context(part.open("w", encoding="utf-8"))
        with suppress(OSError):  # a disk without locks
            fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
        part.rename(file)
        on_error.pop_all()
    return out


def _is_unlocked(file: Path) -> bool:
    """True where no living process keeps the result, on this machine or another one."""
    try:
        with file.open() as result:
            fcntl.flock(result, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # it lives, or has just archived the result
        return False
    return True


def _read(file: Path, study_id: int) -> SpooledResult | None:
    """None for the result of another study, and for one that another worker has just archived."""
    try:
        tree = read_json(file)
        if tree["study_id"] != study_id:
            return None
        number, trial, attempt = (_integer(tree[key]) for key in ("lease", "trial", "attempt"))
        lease = Lease(number, trial, attempt)
        evaluation = Evaluation.from_json(tree["evaluation"])
        return SpooledResult(file, lease, str(tree["owner"]), evaluation)
    except FileError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise StoreError(f"spool {error}; move the file away") from None
    except KeyError as error:
        raise StoreError(f"spool {file}: damaged (no key {error}); move it away") from None
    except (ValueError, TypeError, NasError) as error:
        raise StoreError(f"spool {file}: damaged ({error}); move it away") from None


def _integer(value: object) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r:.40} is no whole number")
    return value
