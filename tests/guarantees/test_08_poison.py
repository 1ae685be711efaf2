"""A trial that breaks every process that trains it: given up behind so many attempts, and named."""

import json
import subprocess
import sys

import hands
from hands import History, Orders, WorkerProcess

from nas_service.store.store import Store

LEASE_s = 3.0


def test_08_poison(tmp_path):
    url = f"sqlite:///{tmp_path}/nas.db"
    (tmp_path / "ends").write_text("first segv 99")
    hands.study(url, 6, max_attempts=3)
    orders = Orders(url, tmp_path, LEASE_s, gates=("run",))
    with hands.crew(
        WorkerProcess(orders, hands.employ), WorkerProcess(orders, hands.employ)
    ) as pair:
        for hand in pair:
            hand.at("run")
        for hand in pair:
            hand.pass_on("run")
        assert [hand.end() for hand in pair] == [0, 0], [hand.said for hand in pair]
    found = History.of(url)
    (poison,) = (r for r in found.leases if r["state"] == "failed")
    tried = found.of_trial(poison["trial"])
    assert [a["ending"] for a in tried] == ["crashed"] * 3
    assert len({a["owner"] for a in tried}) == 2, "both tried it"
    assert found.trials[poison["trial"]].state.name == "FAIL"
    assert sum(r["outcome"] == "trained" for r in found.archive) == 6

    words = ["status", hands.NAME, "--storage", url, "--json"]
    status = subprocess.run(
        [sys.executable, "-m", "nas_service", *words], capture_output=True, check=True
    )
    failures = json.loads(status.stdout)["failures"]
    assert list(failures) == [str(poison["trial"])]
    assert "quarantined: crash: SIGSEGV, 3 times over" in failures[str(poison["trial"])]

    store = Store(url)
    store.studies.set_budget(found.leases[0]["study_id"], 7)
    store.close()
    more = WorkerProcess(orders.__class__(url, tmp_path), hands.employ)
    assert more.end() == 0, more.said
    assert len(History.of(url).of_trial(poison["trial"])) == 3, "never offered again"
