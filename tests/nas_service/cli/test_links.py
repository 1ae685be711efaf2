"""Files that commands write where a symbolic link is: followed, refused if it leads nowhere."""

from pathlib import Path

import pytest

from hw_models.errors import FileError
from hw_models.files.text_file import write_text
from nas_service.cli.launch_options import write
from nas_service.errors import NasError
from nas_service.export.formats import FORMATS, demand_new, write_files


@pytest.fixture
def link(tmp_path):
    """A link to a file that does not exist."""
    path = tmp_path / "page.html"
    path.symlink_to(tmp_path / "elsewhere" / "page.html")
    return path


def test_a_link_to_a_file_is_followed(link, tmp_path):
    target = tmp_path / "elsewhere" / "page.html"
    target.parent.mkdir()
    target.write_text("old")
    assert write_text(link, "new") == link
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["elsewhere", "page.html", "page.html"]


def test_a_link_that_leads_nowhere_is_refused(link):
    with pytest.raises(FileError, match=r"page.html: cannot be written \(a link to a file that"):
        write_text(link, "new")
    with pytest.raises(NasError, match=r"-o .*page.html: a link to a file that does not exist"):
        write("text", link, "sbatch")
    assert link.is_symlink()
    assert not link.parent.joinpath("elsewhere").exists()


def test_an_export_replaces_no_link_unasked(tmp_path):
    kind = FORMATS["safetensors"]
    link = tmp_path / f"net{kind.suffix}"
    link.symlink_to("nowhere")
    for attempt in (
        lambda: demand_new(tmp_path / "net", kind),
        lambda: write_files({kind.suffix: b"x"}, tmp_path / "net"),
    ):
        with pytest.raises(NasError, match="exists: --force replaces it"):
            attempt()
    assert link.readlink() == Path("nowhere")
