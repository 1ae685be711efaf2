"""Signals that ask this process to end: of a user, a closed terminal, a container, a batch system.

Nothing that takes long is imported, so handlers are in place before torch and Optuna are loaded:
process 1 of a container ignores signals that have none.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from nas_service.errors import Interrupted

# Batch systems send SIGUSR1, SIGUSR2 or SIGXCPU before a limit.
ENDING = (
    *(signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU),
    *(KEYS := (signal.SIGINT, signal.SIGQUIT)),  # Ctrl-C and Ctrl-\
)
REPEATED = (signal.SIGINT, signal.SIGTERM)  # a second one of these asks for haste
HASTE_s = 10.0  # after which a worker that was asked for haste ends in any case


class EndSignals:
    """The signals that have asked this process to end, and what the next one does."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._act: Callable[[int], None] = lambda number: None
        self._terminals: list[int] = []  # file descriptors of output
        self._timer: threading.Timer | None = None

    @property
    def by_machine(self) -> bool:
        """True where the first signal was none of a user's keys."""
        return bool(self.numbers) and self.numbers[0] not in KEYS

    @property
    def is_urgent(self) -> bool:
        """True after SIGQUIT, or after a second SIGINT or SIGTERM; a terminal may repeat others."""
        repeated = sum(number in REPEATED for number in self.numbers)
        return signal.SIGQUIT in self.numbers or repeated > 1

    def install(self) -> None:
        """Handles the signals from now on, but those that `nohup` has this process ignore.

        Ctrl-C is an exception: shells ignore it for commands in the background.
        """
        self._terminals = [number for number in (1, 2) if os.isatty(number)]
        for number in ENDING:
            if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._handle)

    def interrupt(self) -> None:
        """From now on a signal raises Interrupted in the main thread; one that was noted, now.

        Signals that a terminal may repeat are raised once.

        Raises:
            Interrupted: A signal has come before.
        """
        self._act = self._raise
        if self.numbers:
            raise Interrupted(_text(self.numbers[0]))

    def ask(self, asked_to_end: threading.Event) -> None:
        """From now on a signal sets the event; one that was noted, now.

        Args:
            asked_to_end: Is set by the first signal.
        """

        def act(number: int) -> None:
            self._hurry(number)
            # In a thread of its own: this one may hold the event's lock, to wait for the event.
            threading.Thread(target=asked_to_end.set).start()

        self._act = act
        if self.numbers:
            act(self.numbers[0])

    def _handle(self, number: int, _: FrameType | None) -> None:
        self.numbers.append(number)
        if number == signal.SIGHUP:
            self._leave_terminals()
        self._act(number)

    def _raise(self, number: int) -> None:
        if len(self.numbers) == 1 or number in (*REPEATED, signal.SIGQUIT):
            raise Interrupted(_text(number))

    def _hurry(self, number: int) -> None:
        """Ends the process after HASTE_s where that is urgent."""
        if self.is_urgent and self._timer is None:
            self._timer = threading.Timer(HASTE_s, os._exit, [128 + number])
            self._timer.daemon = True
            self._timer.start()

    def _leave_terminals(self) -> None:
        """Drops output to terminals from now on, because writing to a closed one is an error."""
        for terminal in self._terminals:
            with suppress(OSError):
                os.write(terminal, f"nas: {_text(signal.SIGHUP)}\n".encode())
            with open(os.devnull, "w") as nothing:
                os.dup2(nothing.fileno(), terminal)
        self._terminals.clear()


_watched: EndSignals | None = None


def _text(number: int) -> str:
    name = signal.Signals(number).name
    return "interrupted" if number == signal.SIGINT else f"interrupted by {name}"


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextmanager
def watched(last: bool = True) -> Iterator[None]:
    """Inside, signals that ask this process to end are noted, until a function below says more.

    Args:
        last: The process ends after the block: further signals are ignored once one has come.

    Yields:
        Nothing.
    """
    global _watched
    if not _is_main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in ENDING}
    _watched = signals = EndSignals()
    signals.install()
    try:
        yield
    finally:
        _watched = None
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_IGN if last and signals.numbers else handler)


def interrupt() -> None:
    """As `EndSignals.interrupt`, of the signals that are watched."""
    if _watched is not None:
        _watched.interrupt()


def end_on_signals(asked_to_end: threading.Event) -> EndSignals:
    """In a worker: a signal that asks it to end, from now on or noted before, sets the event.

    Args:
        asked_to_end: Is set by the first signal.

    Returns:
        The signals. Once they are urgent, the process ends within HASTE_s.
    """
    signals = _watched or EndSignals()
    signals.install()
    signals.ask(asked_to_end)
    return signals


def by_machine() -> bool:
    """As `EndSignals.by_machine`, of the signals that are watched."""
    return _watched is not None and _watched.by_machine


def is_urgent() -> bool:
    """As `EndSignals.is_urgent`, of the signals that are watched."""
    return _watched is not None and _watched.is_urgent


@contextmanager
def replaced(act: Callable[[int], object]) -> Iterator[None]:
    """Inside, each of the signals that this process handles calls `act` alone.

    Args:
        act: Called with the number of the signal.

    Yields:
        Nothing.
    """
    known = {number: signal.getsignal(number) for number in ENDING if _is_main_thread()}
    handlers = {number: handler for number, handler in known.items() if callable(handler)}
    for number in handlers:
        signal.signal(number, lambda n, _: act(n))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def postponed() -> Iterator[None]:
    """Signals that come inside are handled after the block."""
    numbers: list[int] = []
    with replaced(numbers.append):
        yield
    for number in numbers:
        signal.raise_signal(number)


@contextmanager
def blocked() -> Iterator[None]:
    """Inside, signals wait, also for processes that are started: these can unblock them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
