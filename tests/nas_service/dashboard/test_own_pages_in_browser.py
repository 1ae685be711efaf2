"""The dashboard's own pages in a real browser: what is drawn, clicked, typed and refused."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import PageLog, is_scrolled_sideways, serious_faults, take_pictures
from dashboard_site import HOSTILE
from shown_studies import BELOW, FAILED, FEASIBLE, FRONT, OVER, fill_store

from nas_service.dashboard.pages import Pages
from nas_service.dashboard.server import _listen, make_app
from nas_service.searches.session import Search
from nas_service.store.store import Store

if TYPE_CHECKING:
    from playwright.sync_api import Page

PAGES = {
    "overview": "/",
    "study": "/studies/4",
    "candidate": "/studies/4/trials/6",
    "rejected": "/studies/4/trials/8",
    "what-if": "/studies/4/what-if?crossbar_size=32",
    "compare": "/compare?a=3&b=4",
    "error": "/studies/99",
}


@dataclass(frozen=True)
class Served:
    """The pages over a store of this process, which the tests may change."""

    url: str
    search: Search


@pytest.fixture(scope="module")
def served(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    path = tmp_path_factory.mktemp("pages") / "nas.db"
    path.write_bytes(sqlite_template.read_bytes())
    store = Store(f"sqlite:///{path}", write=True)
    search = fill_store(store)
    with _listen("127.0.0.1", 0) as server:
        server.set_app(make_app(store.optuna, port=server.server_port, own=Pages(store)))
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield Served(f"http://127.0.0.1:{server.server_port}", search)
        server.shutdown()
        thread.join()
    store.close()


def test_the_front_page_shows_every_feasible_point_and_opens_it(
    served: Served, page: "Page"
) -> None:
    page.goto(f"{served.url}/")
    page.get_by_role("link", name="digits", exact=True).click()
    front = page.locator("main figure").first
    assert front.locator("a circle.front").count() == len(FRONT)
    assert front.locator("a circle.feasible").count() == len(FEASIBLE)
    assert front.locator("a .below").count() == len(BELOW)
    never = {str(trial) for trial in (*BELOW, OVER, *FEASIBLE)}
    assert never.isdisjoint(_trials(page, "circle.front"))
    assert _trials(page, "circle.front") == set(map(str, FRONT))
    front.locator("a:has(circle.front)").first.click()
    page.get_by_role("heading", name="Trial").wait_for()
    assert page.url.rsplit("/", 1)[1] in _texts(FRONT)
    assert page.locator("h1 .badge.front").is_visible()


def _trials(page: "Page", mark: str) -> set[str]:
    """The trials of the marks of a kind in the first plot."""
    links = page.locator("main figure").first.locator(f"a:has({mark})")
    return set(
        links.evaluate_all("links => links.map(a => a.getAttribute('href').split('/').pop())")
    )


def _texts(trials: list[int]) -> list[str]:
    return list(map(str, trials))


def test_the_keyboard_opens_a_candidate(served: Served, page: "Page") -> None:
    page.goto(f"{served.url}/studies/4")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("main figure a[href]:not([tabindex='-1'])").first.focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Trial").wait_for()


def test_the_what_if_page_moves_the_front(served: Served, page: "Page", page_log: PageLog) -> None:
    page.goto(f"{served.url}/studies/4/what-if")
    assert page.locator("#answer a circle.front").count() == len(FRONT)
    page.get_by_label("energy at most").fill("0.4")
    page.locator("#answer").get_by_text("leaves").first.wait_for()
    assert page.locator("#answer a path.front").count() == len(FRONT) - 1
    assert page.locator("#answer a path.earlier").count() == len(FRONT)
    page.get_by_label("crossbar size").fill("32")
    page.wait_for_url("**crossbar_size=32**")
    page.locator("#answer path.move").first.wait_for(state="attached")
    page.get_by_label("converter").fill("99")
    page.get_by_text("a whole number from 1 to 16 is needed").wait_for()
    assert "400" in page_log.errors.pop()
    page.get_by_label("converter").fill("")
    page.locator("#answer").get_by_text("Candidates of both fronts").wait_for()
    assert "budget.energy_uJ=0.4" in page.url


def test_the_console_deletes_nothing(served: Served, page: "Page", page_log: PageLog) -> None:
    page.goto(f"{served.url}/studies/4")
    for path in ("/api/studies/4", "/studies/4", "/studies/4/trials/6"):
        call = f"fetch('{path}', {{method: 'DELETE'}}).then(answer => answer.status)"
        assert page.evaluate(call) == 405
    assert all("405" in error for error in page_log.errors)
    page_log.errors.clear()
    assert served.search.store.studies.has("digits")


def test_hostile_names_stay_text(served: Served, page: "Page") -> None:
    page.goto(f"{served.url}/")
    assert page.get_by_text(HOSTILE[:30]).count() == 1
    assert page.locator("img").count() == 0
    assert page.title() == "Studies · nas"


def test_a_page_is_live(served: Served, page: "Page") -> None:
    page.goto(f"{served.url}/studies/4")
    page.get_by_text("of 12", exact=False).first.wait_for()
    served.search.store.studies.set_budget(served.search.id, 77)
    page.get_by_text("8 of 77").wait_for()
    assert page.get_by_text("live", exact=True).is_visible()
    served.search.store.studies.set_budget(served.search.id, 12)


def test_a_link_leads_to_optuna_dashboard(served: Served, page: "Page") -> None:
    page.goto(f"{served.url}/studies/4")
    href = page.get_by_role("link", name="optuna-dashboard", exact=True).get_attribute("href")
    answer = page.request.get(f"{served.url}/studies/{href}")
    assert answer.ok
    assert "Optuna Dashboard" in answer.text()


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_readable(
    served: Served, page: "Page", page_log: PageLog, name: str, tmp_path: Path
) -> None:
    page.goto(served.url + PAGES[name])
    assert FAILED not in page.title()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert serious_faults(page) == []
        take_pictures(page, name if scheme == "light" else f"{name}-dark", tmp_path)
        page.set_viewport_size({"width": 400, "height": 800})
        assert not is_scrolled_sideways(page)
        page.set_viewport_size({"width": 1280, "height": 900})
        assert not is_scrolled_sideways(page)
    page_log.errors[:] = [e for e in page_log.errors if "404" not in e or name != "error"]
