"""Errors of the service: what each means, and what its catcher does."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from nas_service.synonyms import nearest

T = TypeVar("T")


class NasError(Exception):
    """An error that the user can correct. The command line prints one line and exits.

    Attributes:
        exit_code: Exit code of the command.
    """

    exit_code = 2


class SpecError(NasError):
    """A study file, an architecture or an option is invalid. Nothing was changed."""


class DataError(NasError):
    """A data file is missing or damaged. Raised before a trial begins."""


class StoreError(NasError):
    """The store cannot be reached, or cannot be used in this way."""

    exit_code = 4


class StoreUnreachable(StoreError):
    """The store's server cannot be reached from this machine, or lets it not in."""


class StudyError(NasError):
    """A study does not exist, or differs from the one in the store."""


class TooManyFailures(NasError):
    """The study is stopped because too many trials failed."""

    exit_code = 5


class MachineFault(NasError):
    """This machine cannot do the work. Its worker ends, no candidate is charged."""

    exit_code = 4


class SickWorker(MachineFault):
    """Trainings fail on this machine again and again. Its worker ends, others continue."""


class NothingFitted(NasError):
    """Measurements from which no figure of a chip can be determined. Nothing was written."""

    exit_code = 6


class LeaseLost(NasError):
    """Another worker may have taken over the trial. The worker stops this training only."""


class Interrupted(KeyboardInterrupt):
    """The user or the machine asked the process to stop. The worker releases its trial first.

    It is no Exception, so that code that continues after errors ends by Ctrl-C as well.

    Attributes:
        exit_code: Exit code of the command.
    """

    exit_code = 130


def not_installed(package: str, extra: str) -> NasError:
    """The error of a command that needs an optional package which is missing.

    Args:
        package: Name of the package.
        extra: The extra of this project that brings it.

    Returns:
        The error, to be raised.
    """
    return NasError(f"{package} is not installed: pip install 'nas-service[{extra}]' brings it")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A suggestion for an unknown word.

    Args:
        word: The unknown word.
        known: All known words.

    Returns:
        The text `, did you mean 'x'?` with the known word that is most probably meant; empty if
        there is none.
    """
    near = nearest(word, known)
    return f", did you mean {near!r}?" if near else ""


def pick(table: Mapping[str, T], name: str, what: str, key: str = "") -> T:
    """The entry of a table.

    Args:
        table: Entries by name.
        name: The requested name.
        what: What the entries are, for the message.
        key: The key of the study file that holds the name, for the message.

    Returns:
        The entry of that name.

    Raises:
        SpecError: No entry has this name. The message lists the known ones.
    """
    if name in table:
        return table[name]
    known = ", ".join(sorted(table))
    place = f"{key}: " if key else ""
    hint = did_you_mean(name, table)
    raise SpecError(f"{place}unknown {what} {name!r:.80} (known: {known}){hint}")
