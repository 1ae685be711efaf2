"""A training for which memory runs out: its child alone ends, and it is tried once more."""

import hands
from hands import History, Orders, WorkerProcess


def worked(folder, ends):
    """A study of two trainings whose first candidate's end so; what it left."""
    url = f"sqlite:///{folder}/nas.db"
    (folder / "ends").write_text(ends)
    hands.study(url, 2)
    hand = WorkerProcess(Orders(url, folder), hands.employ)
    assert hand.end() == 0, hand.said
    found = History.of(url)
    found.check(2)
    return found


def test_07_once_is_tried_again(tmp_path):
    found = worked(tmp_path, "first oom 1")
    crashed, won = found.of_trial(0)
    assert (crashed["ending"], won["ending"]) == ("crashed", "won")
    assert crashed["reason"].startswith("oom:")
    assert found.trials[0].user_attrs["outcome"] == "trained"


def test_07_twice_is_too_large(tmp_path):
    """A result of its own: not feasible, not of the budget, and with its real costs."""
    found = worked(tmp_path, "first oom 99")
    assert [a["ending"] for a in found.of_trial(0)] == ["crashed", "won"]
    told = found.trials[0]
    assert told.user_attrs["outcome"] == "rejected"
    assert "too large to train: twice oom" in told.user_attrs["reason"]
    assert max(told.constraints.values()) > 0
    assert told.user_attrs["energy_uJ"] > 0
