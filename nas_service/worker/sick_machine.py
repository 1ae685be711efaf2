"""A machine on which more trials fail than on the others: its workers end, the study continues."""

from nas_service.errors import SickWorker
from nas_service.store.failures import read_failures
from nas_service.store.machines import machine_of
from nas_service.store.process_id import host_of
from nas_service.worker.assignment import Assignment


def check_failures(assignment: Assignment) -> None:
    """Compares the failed trials of this machine with those of the others.

    Args:
        assignment: The study and the worker.

    Raises:
        SickWorker: More trials than the study allows have failed on this machine alone, while
            other machines work on the study, too.
    """
    search, worker = assignment.search, assignment.queue.worker
    limit = assignment.spec.search.max_failures
    with search.store.transactions.begin() as db:
        failures = read_failures(db, search.id)
    if failures.too_many_on(worker, limit):
        count, host = failures.by_machine[machine_of(worker)], host_of(worker)
        raise SickWorker(
            f"study {search.name!r}: {count} trials failed on {host} alone, more than "
            f"search.max_failures = {limit}: this worker ends, other machines continue"
        )
