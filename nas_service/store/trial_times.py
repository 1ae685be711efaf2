"""Times of Optuna's trials: UTC without a zone in the tables, local without a zone in memory.

Optuna 5 defines both forms. Versions before revision 4 of the tables wrote local times where Optuna
reads UTC; the migration to it has marked their trials with the attribute ZONE.
"""

from datetime import UTC, datetime

from optuna.trial import FrozenTrial

ZONE = "time_zone"  # user attribute of a trial whose times are of an unknown zone
UNKNOWN = "unknown"  # its value


def utc_now() -> datetime:
    """The time now, as a table of trials stores it."""
    return datetime.now(UTC).replace(tzinfo=None)


def local_time(stored: datetime | None) -> datetime | None:
    """A stored time as Optuna's trials have it.

    Args:
        stored: of a table of trials: UTC without a zone, or None.

    Returns:
        The local time without a zone. Its `fold` tells apart the two times of the hour that comes
        twice when clocks are set back; Optuna's own conversion loses it.
    """
    if stored is None:
        return None
    return datetime.fromtimestamp(stored.replace(tzinfo=UTC).timestamp())


def utc_time(local: datetime | None) -> datetime | None:
    """The time of a trial in memory with its zone, UTC; None where there is none."""
    return None if local is None else local.astimezone(UTC)


def zone_is_known(trial: FrozenTrial) -> bool:
    """False for a trial whose times an older version wrote in a zone that is not stored."""
    return bool(trial.user_attrs.get(ZONE) != UNKNOWN)
