"""Names of worker processes, also such as another program or a hand has written."""

import os

import pytest

from nas_service.store.process_id import is_dead, worker_name

HOST, BOOT, PID, STARTED = worker_name().split("/")


def test_a_process_of_this_machine_lives_or_is_gone():
    assert not is_dead(worker_name())
    assert is_dead(f"{HOST}/{BOOT}/{os.getpid()}/1")
    assert is_dead(f"{HOST}/{BOOT}/99999999/1")


@pytest.mark.parametrize("pid", ["²", "٣", "1_0", "+1", "-1", " 1", "", "9" * 5000, "x"])
def test_what_is_no_process_number_is_not_known_to_be_dead(pid):
    assert not is_dead(f"{HOST}/{BOOT}/{pid}/1")


@pytest.mark.parametrize("name", ["", "lab", "another/host/1/1", f"{HOST}/{BOOT}"])
def test_workers_of_elsewhere_are_not_known_to_be_dead(name):
    assert not is_dead(name)
