"""Notes on attempts at trials whose memory is nearly used: a worker lost then was killed for it.

A kernel that kills a whole container for memory leaves no other trace.
"""

from sqlalchemy.engine import Connection

from nas_service.store import attempts
from nas_service.store.records import Lease
from nas_service.store.store import Store

MARK = "memory: "  # with which a note begins


def note(store: Store, lease: Lease, text: str | None) -> None:
    """Notes how much memory is in use during an attempt, or removes the note.

    Args:
        store: the store.
        lease: of the trial.
        text: the note; None where there is enough memory again.
    """
    with store.transactions.begin() as db:
        attempts.note(db, lease, None if text is None else MARK + text)


def killed_for_memory(db: Connection, lease: Lease) -> bool:
    """True for an attempt whose memory was nearly used when its worker was lost."""
    return (attempts.reason(db, lease) or "").startswith(MARK)
