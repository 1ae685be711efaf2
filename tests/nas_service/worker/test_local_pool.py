"""Signals that ask a worker to end."""

import signal
import threading

import pytest

from nas_service.worker.local_pool import end_on_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_interrupts_the_wait_for_it(number):
    """It comes while the main thread holds the lock of the event that the signal sets."""
    asked_to_end = threading.Event()
    by_machine = end_on_signals(asked_to_end)
    handler = signal.getsignal(number)
    with asked_to_end._cond:
        call = threading.Thread(target=handler, args=(number, None), daemon=True)
        call.start()
        call.join(30)
        assert not call.is_alive()
    assert asked_to_end.wait(30)
    assert by_machine.is_set() == (number == signal.SIGTERM)
