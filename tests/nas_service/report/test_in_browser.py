"""The report in a real browser: pointing, clicking, keys, widths, paper, contrast; no request."""

from typing import TYPE_CHECKING

import pytest
from browser import NARROW, WIDE, PageLog, is_scrolled_sideways, serious_faults, take_pictures
from reported_studies import evaluation

from nas_service import report
from nas_service.searches.results import Result

if TYPE_CHECKING:
    from playwright.sync_api import Page

A4 = {"width": 688, "height": 1017}  # inside of its margins


@pytest.fixture
def result(opened) -> Result:
    known = [evaluation(4, 0.9), evaluation(8, 0.95), evaluation(5, 0.6), evaluation(6, 0.85)]
    return opened([*known, evaluation(7, None, "<img src=x onerror=alert(1)>", ("energy_uJ",))])


def test_the_report(result: Result, page: "Page", page_log: PageLog, tmp_path) -> None:
    """One page for all, as a browser takes seconds to begin."""
    path = report.write(result, tmp_path / "report.html")
    page.goto(path.as_uri())
    front = page.locator("svg.plot").first.locator("circle.front")
    assert front.count() == len(result.front) == 2

    # pointing shows the figures and marks the candidate in every picture
    front.first.hover(force=True)
    assert page.locator(".hover").is_visible()
    assert "accuracy" in page.locator(".hover").inner_text()
    assert page.locator("a.pointed").count() >= 1

    # a click opens the candidate's card, a key as well
    cards = page.locator("details.card")
    closed = [n for n in range(cards.count()) if cards.nth(n).get_attribute("open") is None]
    trial = (cards.nth(closed[0]).get_attribute("id") or "").removeprefix("trial-")
    link = page.locator(f'svg.plot a[data-trial="{trial}"]').first
    link.click(force=True)
    assert page.url.endswith(f"#trial-{trial}")
    assert page.locator(f"#trial-{trial}").get_attribute("open") is not None
    other = page.locator('svg.plot a[data-trial][tabindex="0"]').first
    other.focus()
    page.keyboard.press("Enter")
    assert page.url.endswith(f"#trial-{other.get_attribute('data-trial')}")

    # a candidate that is not on the front leads to its row, in a table that opens
    page.locator("svg.plot a[data-trial]:has(.feasible)").first.click(force=True)
    page.locator("#all details[open]").wait_for()
    assert page.locator("tr.chosen").count() == 1

    # hostile text stays text, widths fit, paper fits, contrast is enough in both schemes
    assert page.locator("img").count() == 0
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        assert not is_scrolled_sideways(page)
    assert serious_faults(page) == []
    take_pictures(page, "report", tmp_path)
    page.emulate_media(color_scheme="dark")
    assert serious_faults(page) == []
    page.set_viewport_size(A4)  # type: ignore[arg-type]
    page.emulate_media(media="print")
    assert not is_scrolled_sideways(page)
    assert page_log.requests == [path.as_uri()]


def test_without_scripts_the_links_and_titles_are_there(result: Result, browser, tmp_path) -> None:
    path = report.write(result, tmp_path / "report.html")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    mark = page.locator("svg.plot a[data-trial]:has(.feasible)").first
    assert "accuracy" in (mark.locator("title").text_content() or "")
    trial = mark.get_attribute("data-trial")
    assert mark.get_attribute("href") == f"#trial-{trial}"
    assert page.locator(f"#trial-{trial}").count() == 1
    context.close()
