"""The failed trials of a study: on which machines they failed, and when they end the study.

All functions but `forgive` run in the caller's transaction.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from nas_service.store.machines import machine_of
from nas_service.store.process_id import host_of
from nas_service.store.store import Store
from nas_service.store.tables import attempts, leases

SHOWN = 3  # machines that a message names
SHOWN_REASON = 120  # characters of a reason in it


@dataclass(frozen=True)
class Failures:
    """The failed trials of a study that count.

    Attributes:
        total: their number.
        by_machine: of those that failed on one machine alone, the number on each.
        hosts: a host name of each of these machines.
        machines: number of machines that have worked on the study; 0 where no trial failed.
        reason: the most frequent one.
    """

    total: int
    by_machine: Mapping[str, int]
    hosts: Mapping[str, str]
    machines: int
    reason: str

    def too_many(self, limit: int) -> bool:
        """True where they end the study: more than `limit`, those of the worst machine left out.

        Where one machine alone has worked on the study, its failures count as well.
        """
        worst = max(self.by_machine.values(), default=0) if self.machines > 1 else 0
        return self.total - worst > limit

    def too_many_on(self, worker: str, limit: int) -> bool:
        """True where this worker's machine alone has more than `limit`, and others have worked."""
        return self.machines > 1 and self.by_machine.get(machine_of(worker), 0) > limit

    @property
    def where(self) -> str:
        """How many trials failed on which hosts and mostly why, for messages."""
        counted = Counter(self.by_machine).most_common()
        parts = [f"{count} on {self.hosts[machine]}" for machine, count in counted[:SHOWN]]
        others = self.total - sum(count for _, count in counted[:SHOWN])
        parts += [f"{others} elsewhere"] if others else []
        return f"{', '.join(parts)} ({self.reason[:SHOWN_REASON]})"


def read_failures(db: Connection, study_id: int) -> Failures:
    """The failed trials of a study that count.

    Args:
        db: the transaction.
        study_id: the study.

    Returns:
        Their numbers.
    """
    failed = sa.and_(leases.c.study_id == study_id, leases.c.state == "failed")
    workers = _workers_of_failures(db, failed)
    if not workers:
        return Failures(0, {}, {}, 0, "")
    hosts = {machine_of(w): host_of(w) for names in workers for w in names}
    machines = [{machine_of(w) for w in names} for names in workers]
    alone = Counter(min(each) for each in machines if len(each) == 1)
    reasons = Counter(db.execute(sa.select(leases.c.reason).where(failed)).scalars())
    reason = next((text for text, _ in reasons.most_common(1)), "")
    return Failures(len(workers), alone, hosts, len(_machines(db, study_id)), reason or "")


def _workers_of_failures(db: Connection, failed: "sa.ColumnElement[bool]") -> list[set[str]]:
    """For each failed trial the workers whose attempts at its candidate failed."""
    joined = leases.outerjoin(attempts, attempts.c.lease_id == leases.c.lease_id)
    columns = (leases.c.lease_id, leases.c.digest, attempts.c.worker, attempts.c.result_kind)
    query = sa.select(*columns).select_from(joined).where(failed)
    keys: dict[int, object] = {}  # a trial that awaited another one failed with its candidate
    workers: dict[object, set[str]] = defaultdict(set)
    for lease_id, digest, worker, kind in db.execute(query):
        keys[lease_id] = digest or lease_id
        if worker and kind != "from_archive":
            workers[keys[lease_id]].add(worker)
    return [workers[key] for key in keys.values()]


def _machines(db: Connection, study_id: int) -> set[str]:
    """The machines that have worked on a study."""
    query = sa.select(attempts.c.worker).where(attempts.c.study_id == study_id).distinct()
    return {machine_of(worker) for worker in db.execute(query).scalars()}


def forgive(store: Store, study_id: int) -> int:
    """Lets the failed trials of a study count no more; they stay failed, and are listed.

    Args:
        store: the store.
        study_id: the study.

    Returns:
        Their number.
    """
    these = (leases.c.study_id == study_id, leases.c.state == "failed")
    with store.exclusive(study_id) as db:
        return db.execute(leases.update().where(*these).values(state="forgiven")).rowcount
