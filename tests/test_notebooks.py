"""The notebooks in docs/ run from top to bottom, and what they show is there."""

import json
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

DOCS = Path(__file__).parents[1] / "docs"
SHOWN = {  # what each notebook is about has to be among its outputs
    "first_search": ("front of", "plotly", "hypervolume", "layer"),
    "chips": ("rram_28nm", "area_mm2", "conv2"),
}


def test_every_notebook_is_run_here():
    assert {path.stem for path in DOCS.glob("*.ipynb")} == set(SHOWN)


@pytest.mark.process
@pytest.mark.training
@pytest.mark.filterwarnings("default")  # those of the kernel's own libraries
@pytest.mark.parametrize("name", SHOWN)
def test_a_notebook_runs(name, tmp_path):
    path = Path(shutil.copy(DOCS / f"{name}.ipynb", tmp_path))
    book = nbformat.read(path, as_version=4)
    NotebookClient(book, timeout=None, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = json.dumps([output for cell in book.cells for output in cell.get("outputs", ())])
    assert [text for text in SHOWN[name] if text not in outputs] == []
