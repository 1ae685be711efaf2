"""Results on this machine's own disk until the store has them: an outage loses no training."""

import json
import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nas_service.errors import NasError, StoreError
from nas_service.metrics import Evaluation
from nas_service.store.process_id import is_dead
from nas_service.store.records import Lease
from nas_service.store.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Waiting:
    """A result that its worker could not tell."""

    file: Path
    lease: Lease
    owner: str
    evaluation: Evaluation


@dataclass(frozen=True)
class Spool:
    """A folder of results, one file each, of one store."""

    folder: Path

    @classmethod
    def of(cls, store: Store) -> "Spool":
        """NAS_SPOOL, else the user's folder for state; StoreError where it cannot be written."""
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
        self, study_id: int, lease: Lease, owner: str, evaluation: Evaluation
    ) -> Iterator[None]:
        """Keeps a result until what happens inside has told it; on a full disk tells it at once."""
        file = self.folder / f"{uuid.uuid4().hex}.json"
        head = {"study_id": study_id, "owner": owner}
        head |= {"lease": lease.id, "trial": lease.trial, "attempt": lease.attempt}
        text = json.dumps(head | {"evaluation": evaluation.to_json()}, allow_nan=False)
        try:
            _write(file, text)
        except OSError as error:
            log.warning("spool %s: %s; the result has no copy here", file, error.strerror)
        yield
        self.drop(file)

    def left(self, study_id: int) -> Iterator[Waiting]:
        """Results of a study whose workers have ended. What is damaged stays, and is named."""
        for file in sorted(self.folder.glob("*.json")):
            found = _read(file, study_id)
            if found is not None and is_dead(found.owner):
                yield found

    def drop(self, file: Path) -> None:
        file.unlink(missing_ok=True)


def _write(file: Path, text: str) -> None:
    beside = file.with_suffix(".part")
    try:
        with beside.open("w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        beside.rename(file)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _read(file: Path, study_id: int) -> Waiting | None:
    """None for another study's, and for what another worker has taken up this moment."""
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
        if tree["study_id"] != study_id:
            return None
        number, trial, attempt = (_whole(tree[key]) for key in ("lease", "trial", "attempt"))
        lease = Lease(number, trial, attempt)
        return Waiting(file, lease, str(tree["owner"]), Evaluation.from_json(tree["evaluation"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, NasError) as error:
        raise StoreError(f"spool {file}: damaged ({error}); move it away") from None


def _whole(value: object) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r:.40} is no whole number")
    return value
