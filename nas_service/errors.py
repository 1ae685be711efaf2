"""Errors of the service. Each says who raises it and what the catcher does."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


class NasError(Exception):
    """Any error that is the user's to mend: the command line prints one line and exits."""

    exit_code = 2


class SpecError(NasError):
    """A study file or an architecture says something impossible. Nothing was touched."""


class DataError(NasError):
    """A data file is missing or damaged. Raised before a trial is used."""


class StoreError(NasError):
    """The store cannot be reached, or must not be used as asked."""

    exit_code = 4


class StudyError(NasError):
    """A study that does not exist, or differs from the one in the store."""


class TooManyFailures(NasError):
    """So many trials failed that going on would burn the queue."""

    exit_code = 5


class SickWorker(TooManyFailures):
    """Trainings end their processes one after the other here: this worker must not go on."""


class LeaseLost(NasError):
    """Another worker may have the trial: its training ends here, and the worker goes on."""


class Interrupted(NasError):
    """The user or the machine asked for an end: the trial in hand is released, not lost."""

    exit_code = 130


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A half-sentence `, did you mean 'x'?`, or nothing when no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def pick(table: Mapping[str, T], name: str, what: str) -> T:
    """`table[name]`, or a SpecError that lists the known names."""
    if name in table:
        return table[name]
    known = ", ".join(sorted(table))
    raise SpecError(f"unknown {what} {name!r} (known: {known}){did_you_mean(name, table)}")
