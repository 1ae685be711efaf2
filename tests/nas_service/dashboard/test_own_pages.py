"""The dashboard's own pages, asked without a browser: answers, refusals, and what they cost."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from dashboard_site import HOSTILE, Answer, ask
from shown_studies import BELOW, FAILED, FEASIBLE, FRONT, OVER, SMALL, fill_store

from nas_service.dashboard import what_if
from nas_service.dashboard.pages import Pages
from nas_service.dashboard.server import make_app
from nas_service.searches.session import Search
from nas_service.spaces.architecture import Architecture
from nas_service.store.store import Store

ID = 4  # of the study with every kind of candidate


@pytest.fixture(scope="module")
def search(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Search]:
    path = tmp_path_factory.mktemp("pages") / "nas.db"
    path.write_bytes(sqlite_template.read_bytes())
    store = Store(f"sqlite:///{path}", write=True)
    yield fill_store(store)
    store.close()


@pytest.fixture(scope="module")
def app(search: Search) -> Any:
    return make_app(search.store.optuna, port=8080, own=Pages(search.store))


def get(app: Any, path: str, **environ: str) -> Answer:
    path, _, query = path.partition("?")
    return ask(app, path, QUERY_STRING=query, **environ)


def text(app: Any, path: str) -> str:
    answer = get(app, path)
    assert answer.status == 200, answer.body[:2000]
    return answer.body.decode()


PAGES = ["/", f"/studies/{ID}", f"/studies/{ID}/trials/6", f"/studies/{ID}/what-if",
         f"/studies/{ID}/what-if?crossbar_size=32", "/compare"]  # fmt: skip


def test_every_kind_of_candidate_has_a_page(app: Any) -> None:
    words = {6: "on the front", 2: "feasible", 4: "below reference: accuracy", OVER: "infeasible",
             8: "rejected before training"}  # fmt: skip
    for trial, what in words.items():
        assert what in text(app, f"/studies/{ID}/trials/{trial}")


def test_a_plot_has_each_feasible_candidate_once(app: Any) -> None:
    page = text(app, f"/studies/{ID}")
    kinds = ("front", "feasible", "below")
    marks = {k: len(re.findall(f'class="{k}(?: beyond)?" transform', page)) for k in kinds}
    assert marks == {"front": len(FRONT), "feasible": len(FEASIBLE), "below": len(BELOW)}
    assert f'<a href="{ID}/trials/{FRONT[0]}" data-trial' in page
    assert FAILED in page


def test_the_overview_says_what_each_study_is(app: Any) -> None:
    page = text(app, "/")
    assert page.index(">digits</a>") < page.index(">baseline</a>") < page.index(">empty</a>")
    assert "1 worker" in page
    assert FAILED in page
    assert "No trial is finished yet." in page
    assert "Made by another program." in page


def test_a_repair_shows_what_it_changes(app: Any) -> None:
    page = text(app, f"/studies/{ID}/trials/8")
    assert "<dt>channels</dt><dd>12 → 4</dd>" in page
    assert "Cheapest repair" not in text(app, f"/studies/{ID}/trials/6")


def test_another_budget_lets_candidates_leave(app: Any) -> None:
    page = text(app, f"/studies/{ID}/what-if?budget.energy_uJ=0.4")
    row = re.search(r'<th scope="row"><a href="trials/6".*?</tr>', page, re.DOTALL)
    assert row is not None
    assert "leaves" in row[0]
    assert "over energy_uJ" in row[0]


BAD = [
    ("crossbar_size=0", "a whole number from 1 to 65536"),
    ("crossbar_size=64.5", "a whole number from 1 to 65536"),
    ("adc_bits=99", "a whole number from 1 to 16"),
    ("profile=/etc/passwd", "unknown profile"),
    ("profile=../../x.toml", "unknown profile"),
    ("budget.energy_uJ=nan", "a number is needed"),
    ("budget.energy_uJ=-1", "energy_uJ"),
    ("budget.latency_ms=1", "unknown parameter"),
    ("x=1", "unknown parameter"),
    ("adc_bits=4&adc_bits=5", "given twice"),
    ("&".join(f"x{n}=1" for n in range(99)), "more than 40 parameters"),
    ("adc_bits=" + 5000 * "4", "at most 4000 are read"),
]


def test_bad_values_are_refused_with_a_sentence(app: Any) -> None:
    for query, reason in BAD:
        answer = get(app, f"/studies/{ID}/what-if?{query}")
        assert answer.status == 400, query
        assert reason in answer.body.decode(), query


def test_what_is_not_there_is_named(app: Any) -> None:
    missing = {
        "/studies/99": "no study 99",
        "/studies/1": "another program",
        f"/studies/{ID}/trials/999": "no finished trial 999",
        f"/studies/{ID}/trials/10": FAILED,
        f"/studies/{ID}/trials/-1": "no such page",
        "/studies/x": "no such page",
        f"/studies/{10**12}": "no such page",
        "/compare?a=4&amp;b=99": "no study 99",
    }
    for path, reason in missing.items():
        answer = get(app, path.replace("&amp;", "&"))
        assert answer.status == 404, path
        assert reason in answer.body.decode(), path


def test_a_study_without_trials_has_every_page(app: Any) -> None:
    for path in ("/studies/2", "/studies/2/what-if", "/studies/2/what-if?adc_bits=5",
                 f"/compare?a=2&b={ID}"):  # fmt: skip
        text(app, path)


def test_files_to_take_away(app: Any) -> None:
    answer = get(app, f"/studies/{ID}/trials/6/architecture.json")
    assert Architecture.from_json(answer.json).cells == (SMALL, SMALL)
    assert answer.headers["Content-Disposition"].endswith("digits-6-architecture.json")
    assert get(app, f"/studies/{ID}/trials/6/evaluation.json").json["trial"] == 6
    assert b"Content-Security-Policy" in get(app, f"/studies/{ID}/trials/6/hardware.html").body


def test_links_work_below_any_address(app: Any) -> None:
    for path in PAGES:
        links = re.findall(r'(?:href|src|action)="([^"]*)"', text(app, path))
        assert links
        assert [link for link in links if link.startswith("/") or "://" in link] == []


def test_a_page_is_sent_again_only_when_its_study_has_changed(app: Any, search: Search) -> None:
    first = get(app, f"/studies/{ID}")
    tag = first.headers["ETag"]
    again = get(app, f"/studies/{ID}", HTTP_IF_NONE_MATCH=tag)
    assert (again.status, again.body) == (304, b"")
    baseline = search.store.studies.get("baseline")
    search.store.studies.set_budget(baseline.id, 99)
    assert get(app, f"/studies/{ID}", HTTP_IF_NONE_MATCH=tag).status == 304
    search.store.studies.set_budget(search.id, 13)
    changed = get(app, f"/studies/{ID}", HTTP_IF_NONE_MATCH=tag)
    assert changed.status == 200
    assert b"of 13" in changed.body


def test_a_question_is_computed_once(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    recost = what_if.recost

    def count(*args: Any) -> Any:
        asked.append(args)
        return recost(*args)

    monkeypatch.setattr(what_if, "recost", count)
    for _ in range(3):
        text(app, f"/studies/{ID}/what-if?adc_bits=7")
    assert len(asked) == 1


def test_reading_changes_nothing(app: Any, search: Search) -> None:
    sent: list[str] = []

    @sqlalchemy.event.listens_for(search.store.engine, "before_cursor_execute")
    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement.split()[0].upper())

    for path in PAGES:
        text(app, f"{path}{'&' if '?' in path else '?'}first=0" if path == "/" else path)
    sqlalchemy.event.remove(search.store.engine, "before_cursor_execute", note)
    assert set(sent) <= {"SELECT", "WITH"}


def test_other_methods_and_hosts_are_refused(app: Any) -> None:
    for path in (*PAGES, "/page.css", "/page.js"):
        assert get(app, path, REQUEST_METHOD="DELETE").status == 405
        assert get(app, path, HTTP_HOST="evil.example").status == 403
        head = get(app, path, REQUEST_METHOD="HEAD")
        assert (head.status, head.body) == (200, b"")


def test_optuna_dashboard_has_a_link_to_the_own_pages(app: Any) -> None:
    for path in ("/dashboard", "/dashboard/studies/4"):
        answer = get(app, path)
        assert answer.body.count(b'<a href="/"') == 1
        assert int(answer.headers["Content-Length"]) == len(answer.body)
        head = get(app, path, REQUEST_METHOD="HEAD")
        assert head.headers["Content-Length"] == answer.headers["Content-Length"]
    assert b"<a href" not in get(app, "/api/studies").body


def test_the_token_protects_every_page(search: Search) -> None:
    app = make_app(search.store.optuna, port=8080, token="x" * 40, own=Pages(search.store))
    for path in (*PAGES, "/page.css", "/page.js", f"/studies/{ID}/trials/6/evaluation.json"):
        assert get(app, path).status == 401


def test_pages_run_no_script_but_their_own(app: Any) -> None:
    for path in PAGES:
        answer = get(app, path)
        policy = answer.headers["Content-Security-Policy"]
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert len({part.split()[0] for part in policy.split(";")}) == policy.count(";") + 1
        assert re.findall(r"<script(?! src)|<[a-z][^>]* on[a-z]+=", answer.body.decode()) == []


def test_hostile_text_stays_text(search: Search, app: Any) -> None:
    assert HOSTILE.split("\x1b")[0] not in text(app, "/")
    assert "&lt;script&gt;alert(1)" in text(app, "/")
    assert "\x1b" not in text(app, "/")


def test_a_page_that_fails_says_so(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("nas_service.dashboard.studies.read", broken)
    answer = get(
        make_app(search.store.optuna, port=8080, own=Pages(search.store)), f"/studies/{ID}"
    )
    assert answer.status == 500
    assert b"secret" not in answer.body
