"""A worker whose trainings all end their process leaves the study to others."""

import hands
from hands import History, Orders, WorkerProcess

from nas_service.worker.worker import SICK

TRAININGS = 8


def test_09_sick_worker(tmp_path):
    url = f"sqlite:///{tmp_path}/nas.db"
    (tmp_path / "ends").write_text("all segv 99")
    hands.study(url, TRAININGS)
    sick = WorkerProcess(Orders(url, tmp_path, lease_s=60.0), hands.employ)
    assert sick.end() == 5, sick.said
    assert f"{SICK} trainings in a row ended their process" in sick.said
    found = History.of(url)
    assert [a["ending"] for a in found.attempts] == ["crashed"] * SICK
    assert {r["state"] for r in found.leases} == {"waiting"}, "nothing is given up"
    well = WorkerProcess(Orders(url, tmp_path))
    assert well.end() == 0, well.said
    History.of(url).check(TRAININGS)
