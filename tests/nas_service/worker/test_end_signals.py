"""Signals that ask a process to end: noted, raised, or passed to a worker's event."""

import os
import signal
import threading

import pytest

from nas_service.errors import Interrupted
from nas_service.worker import end_signals
from nas_service.worker.end_signals import ENDING, end_on_signals, watched

MACHINES = (
    *(signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU),
)  # and others send these; a user's keys are the others


def send(*numbers):
    for number in numbers:
        signal.raise_signal(number)


@pytest.mark.parametrize("number", ENDING)
def test_each_signal_asks_a_worker_to_end(number):
    """Also one that comes while the main thread holds the lock of the event that it sets."""
    asked_to_end = threading.Event()
    signals = end_on_signals(asked_to_end)
    with asked_to_end._cond:
        send(number)
    assert asked_to_end.wait(90)
    assert signals.by_machine == (number in MACHINES)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_before_the_worker_is_ready_is_not_lost(number):
    """As it comes while torch is imported, by an import that swallows the exception."""
    with watched():
        send(number)
        asked_to_end = threading.Event()
        end_on_signals(asked_to_end)
        assert asked_to_end.wait(90)


def test_a_noted_signal_interrupts_and_so_does_a_later_one():
    with watched():
        send(signal.SIGTERM)
        with pytest.raises(Interrupted, match=r"^interrupted by SIGTERM$"):
            end_signals.interrupt()
    with watched():
        end_signals.interrupt()
        with pytest.raises(Interrupted, match=r"^interrupted$"):
            send(signal.SIGINT)
        assert not end_signals.by_machine()


def test_signals_that_a_terminal_repeats_interrupt_once():
    """The kernel and the shell both send SIGHUP; a second Ctrl-C is meant."""
    with watched():
        end_signals.interrupt()
        with pytest.raises(Interrupted):
            send(signal.SIGHUP)
        send(signal.SIGHUP, signal.SIGCONT, signal.SIGHUP)
        with pytest.raises(Interrupted):
            send(signal.SIGINT)
        with pytest.raises(Interrupted):
            send(signal.SIGINT)


@pytest.mark.parametrize(
    ("numbers", "urgent"),
    [
        ([signal.SIGHUP] * 3, False),
        ([signal.SIGTERM], False),
        ([signal.SIGUSR1, signal.SIGTERM], False),  # a batch system's notice, then its limit
        ([signal.SIGTERM, signal.SIGHUP], False),  # systemd
        ([signal.SIGTERM, signal.SIGTERM], True),
        ([signal.SIGINT, signal.SIGTERM], True),
        ([signal.SIGQUIT], True),
    ],
)
def test_haste(monkeypatch, numbers, urgent):
    codes = []
    monkeypatch.setattr(end_signals, "HASTE_s", 0.0)
    monkeypatch.setattr(os, "_exit", codes.append)
    with watched():
        signals = end_on_signals(threading.Event())
        send(*numbers)
        assert (signals.is_urgent, end_signals.is_urgent()) == (urgent, urgent)
        if urgent:
            signals._timer.join(90)
    assert codes == ([128 + numbers[-1]] if urgent else [])


def test_what_nohup_ignores_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with watched():
        end_signals.interrupt()
        send(signal.SIGHUP)
        with pytest.raises(Interrupted):  # a shell ignores it for commands in the background
            send(signal.SIGINT)


def test_handlers_come_back_and_a_process_that_ends_is_left_alone():
    before = [signal.getsignal(number) for number in ENDING]
    with watched():
        pass
    assert [signal.getsignal(number) for number in ENDING] == before
    with watched(last=False):
        send(signal.SIGTERM)
    assert [signal.getsignal(number) for number in ENDING] == before
    with watched(last=True):
        send(signal.SIGTERM)
    send(*ENDING)  # while torch is unloaded


def test_other_threads_leave_the_handlers_alone():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work():
        with watched():
            end_signals.interrupt()
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_postponed_signal_comes_after_the_block():
    steps = []

    def work():
        with end_signals.postponed():
            send(signal.SIGTERM)
            steps.append("done")
        steps.append("not reached")

    with watched():
        end_signals.interrupt()
        with pytest.raises(Interrupted):
            work()
    assert steps == ["done"]


def test_output_to_a_closed_terminal_is_no_error(monkeypatch, capfd):
    """A hang-up is written to the terminal while it is there; then output goes nowhere."""
    primary, secondary = os.openpty()
    kept = os.dup(1)
    os.dup2(secondary, 1)
    try:
        with watched():
            send(signal.SIGHUP)
            os.close(secondary)
            assert os.read(primary, 100) == b"nas: interrupted by SIGHUP\r\n"
            os.close(primary)
            os.write(1, b"more")
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def test_processes_that_are_started_inherit_blocked_signals():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with end_signals.blocked():
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) >= set(ENDING)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
