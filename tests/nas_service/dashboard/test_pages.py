"""The pages of optuna-dashboard over our store in a real browser."""

from typing import TYPE_CHECKING

from browser import PageLog
from dashboard_site import HOSTILE, Site

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_the_page_shows_the_study(site: Site, page: "Page") -> None:
    page.goto(f"http://127.0.0.1:{site.port}/dashboard/studies/1")
    page.get_by_text("Pareto Front").first.wait_for()
    page.get_by_text("Infeasible").first.wait_for()  # in the legend of the time line
    assert page.get_by_text("digits").count() > 0


def test_the_page_shows_a_hostile_name_as_text(site: Site, page: "Page") -> None:
    page.goto(f"http://127.0.0.1:{site.port}/dashboard")
    page.get_by_text(HOSTILE[:20]).first.wait_for()
    assert page.locator("img[src=x]").count() == 0
    assert page.title() == "Optuna Dashboard"


def test_the_pages_console_changes_nothing(site: Site, page: "Page", page_log: PageLog) -> None:
    page.goto(f"http://127.0.0.1:{site.port}/dashboard")
    for method in ("DELETE", "PUT", "POST", "PATCH"):
        call = f"fetch('/api/studies/1', {{method: '{method}'}}).then(answer => answer.status)"
        assert page.evaluate(call) == 405
    page.wait_for_function("true")
    assert len(page_log.errors) == 4
    assert all("405" in error for error in page_log.errors)  # the browser writes them
    page_log.errors.clear()


def test_errors_and_requests_beyond_this_machine_are_noticed(
    page: "Page", page_log: PageLog
) -> None:
    page.goto("data:text/html,<title>x</title>")
    page.evaluate("console.error('broken')")
    page.evaluate("fetch('http://192.0.2.1/').catch(() => 0) && 0")
    assert page_log.errors[0] == "broken"
    assert page_log.beyond == ["http://192.0.2.1/"]
    page.goto("about:blank")
    page_log.errors.clear()
    page_log.requests.clear()
