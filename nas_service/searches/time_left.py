"""How long a study will still take, by its last trainings and its workers."""

from statistics import fmean

from nas_service.searches.session import Search
from nas_service.store import attempts


def time_left_s(search: Search, trainings: int, workers: int) -> float | None:
    """The time until a number of trainings is done.

    Args:
        search: The study.
        trainings: That are left.
        workers: That work side by side.

    Returns:
        Seconds, estimated from the mean of the last trainings; None where none has ended yet, or
        no worker is alive.
    """
    if workers < 1 or trainings < 1:
        return None
    with search.store.transactions.begin() as db:
        durations = attempts.last_durations(db, search.id)
    return trainings * fmean(durations) / min(workers, trainings) if durations else None
