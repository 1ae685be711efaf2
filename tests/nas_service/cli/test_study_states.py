"""Studies without a usual front: every verb says so in a line, and ends by a code that fits."""

import json
import re

import pytest
from click.testing import CliRunner
from dashboard_site import ask
from study_states import STATES, store_with_all

from nas_service.cli.main import main
from nas_service.dashboard.own_studies import OwnStudies
from nas_service.dashboard.pages import Pages
from nas_service.dashboard.server import make_app
from nas_service.store.store import Store

NO_TRIAL = r"no trial yet: `nas resume no-trial` or `nas worker --study no-trial` begins"
FAILED = r"no trial has a result yet: 2 failed \(`nas status only-failed` says why\), 0 unfinished"
BELOW = r"2 feasible, below reference \(accuracy 50.0 %\): not on the front"
# By verb: its words, and for each state its exit code and what it says.
VERBS = {
    "front": ("front STUDY", {
        "no-trial": (3, NO_TRIAL),
        "none-feasible": (3, "nothing feasible among 2 candidates"),
        "over-budget": (3, r"budgets that bind: accuracy >= 0.99"),
        "below-reference": (3, f"{BELOW}: trials 0, 1"),
        "one-objective": (0, "hypervolume 0.800"),
        "four-objectives": (0, "hypervolume 0.1"),
        "only-failed": (3, FAILED),
    }),
    "status": ("status STUDY", {
        "no-trial": (0, NO_TRIAL),
        "none-feasible": (0, "nothing feasible among 2 candidates"),
        "over-budget": (0, r"budgets that bind: accuracy >= 0.99"),
        "below-reference": (0, BELOW),
        "one-objective": (0, r"feasible +2"),
        "four-objectives": (0, r"feasible +2"),
        "only-failed": (0, f"{FAILED}.*trial 1 failed: RuntimeError: second"),
    }),
    "show": ("show STUDY 0", {
        "no-trial": (2, f"study 'no-trial' has no finished trial 0: {NO_TRIAL}"),
        "none-feasible": (0, "trial 0 of none-feasible: rejected"),
        "over-budget": (0, "breaks accuracy by 9.09 %"),
        "below-reference": (0, "feasible, below reference: accuracy"),
        "one-objective": (0, "trial 0 of one-objective: trained"),
        "four-objectives": (0, "trial 0 of four-objectives: trained"),
        "only-failed": (2, r"has no finished trial 0: it failed \(RuntimeError: first\)"),
    }),
    "report": ("report STUDY -o page.html", {
        "no-trial": (0, NO_TRIAL),
        "none-feasible": (0, "no candidate is feasible: `nas front none-feasible` shows"),
        "over-budget": (0, "no candidate is feasible: `nas front over-budget` shows"),
        "below-reference": (0, f"the front is empty: {BELOW}"),
        "one-objective": (0, "^report: page.html$"),
        "four-objectives": (0, "^report: page.html$"),
        "only-failed": (0, FAILED),
    }),
    "recost": ("recost STUDY --budget area_mm2=9", {
        "no-trial": (3, NO_TRIAL),
        "none-feasible": (3, "front of 0, was 0"),
        "over-budget": (3, "front of 0, was 0"),
        "below-reference": (3, "front of 0, was 0"),
        "one-objective": (0, "front of 1, was 1"),
        "four-objectives": (0, "front of 2, was 2"),
        "only-failed": (3, FAILED),
    }),
    "export": ("export STUDY 0 --format safetensors", {
        "no-trial": (2, NO_TRIAL),
        "none-feasible": (2, "trial 0 .*rejected|no trained"),
        "over-budget": (2, "weights"),
        "below-reference": (2, "weights"),
        "one-objective": (2, "weights"),
        "four-objectives": (2, "weights"),
        "only-failed": (2, r"it failed \(RuntimeError: first\)"),
    }),
    "retrain": ("retrain STUDY", {
        "no-trial": (2, f"no feasible candidate to retrain: {NO_TRIAL}"),
        "none-feasible": (2, "no feasible candidate to retrain: `nas front none-feasible` shows"),
        "over-budget": (2, "no feasible candidate to retrain: `nas front over-budget` shows"),
        "below-reference": (2, f"has an empty front, {BELOW}; --top"),
        "only-failed": (2, f"no feasible candidate to retrain: {FAILED}"),
    }),
}  # fmt: skip
CASES = [(verb, state) for verb, (_, answers) in VERBS.items() for state in answers]
BEST = {"one-objective": [0], "four-objectives": [0, 1]}  # trials that the dashboard calls best


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a store of one study in each state."""
    folder = tmp_path_factory.mktemp("states")
    store_with_all(f"sqlite:///{folder}/nas.db")
    return folder


@pytest.fixture
def nas(folder, monkeypatch):
    """Runs the command in this folder."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("NAS_STORAGE", raising=False)

    def run(*words):
        done = CliRunner().invoke(main, words, env={"COLUMNS": "80"})
        assert isinstance(done.exception, SystemExit | None), done.exception
        return done

    return run


@pytest.mark.parametrize(("verb", "state"), CASES)
def test_every_verb_says_so(nas, folder, verb, state):
    words, answers = VERBS[verb]
    code, text = answers[state]
    done = nas(*(state if word == "STUDY" else word for word in words.split()))
    assert re.search(text, " ".join(done.output.split())), done.output
    assert done.exit_code == code
    if verb == "report":
        assert f"<title>{state}" in (folder / "page.html").read_text()
    if code == 2:
        assert done.stderr.startswith("nas: ")
        assert done.stdout == ""


@pytest.mark.parametrize("state", STATES)
def test_json_has_every_state(nas, state):
    front = json.loads(nas("front", state, "--json").stdout)
    assert [c["trial"] for c in front["front"]] == BEST.get(state, [])
    assert json.loads(nas("status", state, "--json").stdout)["study"] == state


PAGES = {  # what the page of each study says
    "no-trial": NO_TRIAL,
    "none-feasible": "nothing feasible among 2 candidates",
    "over-budget": "budgets that bind: accuracy .* 0.99",
    "below-reference": "worse than the reference of an objective: not on the front",
    "one-objective": "on the front 1 feasible",
    "four-objectives": "on the front 2 feasible",
    "only-failed": f"{FAILED}.*trial 1: RuntimeError: second",
}


def test_the_dashboard_has_every_state(folder):
    store = Store(f"sqlite:///{folder}/nas.db")
    app = make_app(store.optuna, port=8080, own=Pages(store), known=OwnStudies(store))
    summaries = ask(app, "/api/studies").json["study_summaries"]
    assert {s["study_name"] for s in summaries} == set(STATES)
    for summary in summaries:
        name, number = summary["study_name"], summary["study_id"]
        data = ask(app, f"/api/studies/{number}", QUERY_STRING="after=0")
        assert [t["number"] for t in data.json["best_trials"]] == BEST.get(name, [])
        for path in (f"/studies/{number}", f"/studies/{number}/what-if"):
            page = ask(app, path)
            assert page.status == 200, (name, path)
        text = re.sub(r"<[^>]+>", " ", ask(app, f"/studies/{number}").body.decode())
        assert re.search(PAGES[name], " ".join(text.split())), (name, text[:3000])
    store.close()
