"""Reports as HTML files that load nothing else and work without a network."""

from pathlib import Path
from typing import TYPE_CHECKING

from hw_models import HardwareReport
from hw_models.files.text_file import write_text
from nas_service.report.hardware_plots import hardware_figures
from nas_service.report.pages import pages

if TYPE_CHECKING:
    from nas_service.searches.recosting import Recosted
    from nas_service.searches.results import Result


def write(result: "Result", path: Path) -> Path:
    """Writes the report about a study.

    The file appears complete or not at all.

    Args:
        result: The study.
        path: The HTML file. Missing folders are created.

    Returns:
        The path.
    """
    return write_text(path, render(result))


def render(result: "Result") -> str:
    """The report about a study as HTML. Every text of the store is escaped."""
    from nas_service.report.study_page import study_page

    return study_page(result)


def write_hardware(report: HardwareReport, path: Path, title: str) -> Path:
    """Writes one hardware report as an HTML file.

    Args:
        report: The hardware report.
        path: The HTML file. Missing folders are created.
        title: Of the page.

    Returns:
        The path.
    """
    return write_text(path, render_hardware(report, title))


def render_hardware(report: HardwareReport, title: str) -> str:
    """A hardware report as HTML.

    Args:
        report: The hardware report.
        title: Of the page.

    Returns:
        The text of one page, which loads nothing else.
    """
    page = pages().get_template("hardware.html")
    return page.render(report=report, title=title, figures=hardware_figures(report))


def write_recosted(recosted: "Recosted", path: Path) -> Path:
    """Writes the page of a study that was costed anew.

    Args:
        recosted: The study before and after.
        path: The HTML file. Missing folders are created.

    Returns:
        The path.
    """
    from nas_service.report.study_page import recosted_page

    return write_text(path, recosted_page(recosted))
