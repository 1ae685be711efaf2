"""The pages of the dashboard in a real browser."""

import shutil
import subprocess
from pathlib import Path

import pytest
from dashboard_site import Site

pytestmark = pytest.mark.process

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


def browse(site: Site, path: str, folder: Path) -> str:
    """The page as the browser has it after its scripts have run."""
    command = [
        *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
        *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
        *("--disable-sync", f"--user-data-dir={folder / 'profile'}", "--window-size=1400,1800"),
        *("--virtual-time-budget=15000", "--dump-dom", f"http://127.0.0.1:{site.port}{path}"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


browser = pytest.mark.skipif(CHROMIUM is None, reason="needs the browser chromium")


@browser
def test_the_page_shows_the_study(site: Site, tmp_path: Path) -> None:
    dom = browse(site, "/dashboard/studies/1", tmp_path)
    assert "digits" in dom
    assert "Pareto Front" in dom
    assert "Infeasible" in dom  # the legend of the time line: the page knows them apart
    assert "NOW LOADING" not in dom


@browser
def test_the_page_shows_a_hostile_name_as_text(site: Site, tmp_path: Path) -> None:
    dom = browse(site, "/dashboard", tmp_path)
    assert "&lt;img src=x onerror=" in dom
    assert "<img src=" not in dom
    assert "<title>Optuna Dashboard</title>" in dom
