"""A headless Chromium for the tests of pages, which notes errors and every request of a page.

`pip install playwright` brings the driver alone; the browser is the system's (`apt install
chromium`). Where it is missing the tests are skipped, and fail where the variable CI is set.
NAS_TEST_SCREENSHOTS names a folder that keeps the pictures of all pages.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",  # a page crashes where the shared memory is small or full
]  # fmt: skip
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
WITHOUT_HOST = ("about", "blob", "data", "file")  # schemes that ask no machine
PATIENCE_ms = 90_000  # a busy machine draws a page slowly
SERIOUS = ("serious", "critical")
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 400, "height": 800}


@dataclass
class PageLog:
    """What a page wrote on its console as an error, and what it requested."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def beyond(self) -> list[str]:
        """The requests to other machines."""
        return [url for url in self.requests if _leaves(url)]


def _leaves(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in WITHOUT_HOST and parts.hostname not in LOOPBACK


def program() -> str:
    """The path of the system's browser; without one the test is skipped, and fails under CI."""
    paths = filter(None, map(shutil.which, PROGRAMS))
    if path := next(paths, None):
        return path
    lack = "no Chromium on this machine: install Debian's package chromium"
    if os.environ.get("CI"):
        pytest.fail(lack)
    pytest.skip(lack)


# One for each file of tests: while a driver runs, no other test of its process can use asyncio.
@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """The browser, which all tests of a file share."""
    path = program()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=FLAGS, timeout=PATIENCE_ms)
        yield opened
        opened.close()


@pytest.fixture
def page_log() -> PageLog:
    """The log of the test's page; a test that provokes an error checks and clears it."""
    return PageLog()


@pytest.fixture
def page(browser: "Browser", page_log: PageLog) -> Iterator["Page"]:
    """A page of a new profile, 1280 pixels wide, without errors and without requests beyond."""
    context = browser.new_context(viewport=WIDE, accept_downloads=True)
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE_ms)
    opened.on("console", lambda m: page_log.errors.append(m.text) if m.type == "error" else None)
    opened.on("pageerror", lambda error: page_log.errors.append(str(error)))
    opened.on("dialog", lambda dialog: page_log.errors.append(f"dialog {dialog.message}"))
    opened.on("request", lambda request: page_log.requests.append(request.url))
    yield opened
    context.close()
    assert page_log.errors == []
    assert page_log.beyond == []


def serious_faults(page: "Page") -> list[str]:
    """The faults of a page that axe-core rates as serious or critical: rule, then elements."""
    from axe_playwright_python.sync_playwright import Axe

    results: dict[str, Any] = Axe().run(page).response
    return [
        f"{fault['id']}: {node['html'][:120]}"
        for fault in results["violations"]
        if fault["impact"] in SERIOUS
        for node in fault["nodes"]
    ]


def is_scrolled_sideways(page: "Page") -> bool:
    """True where the page is wider than its window."""
    root = "document.documentElement"
    return bool(page.evaluate(f"{root}.scrollWidth > {root}.clientWidth"))


def take_pictures(page: "Page", name: str, folder: Path) -> None:
    """Writes pictures of the whole page at 1280 and 400 pixels, NAME-1280.png and NAME-400.png."""
    folder = Path(os.environ.get("NAS_TEST_SCREENSHOTS") or folder)
    folder.mkdir(parents=True, exist_ok=True)
    for size in (NARROW, WIDE):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.screenshot(path=folder / f"{name}-{size['width']}.png", full_page=True)
