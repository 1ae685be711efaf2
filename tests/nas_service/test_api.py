"""What `import nas_service` gives, and how often preparing a study does the same work."""

from collections import Counter
from pathlib import Path

import pytest

import nas_service
import nas_service.worker.worker
from nas_service import api, data
from nas_service.evaluation import images, screening
from nas_service.samplers import greybox_cells
from nas_service.searches import creation
from nas_service.store.store import Store
from nas_service.study.loading import load_spec
from nas_service.study.sections import Space

STUDIES = Path(__file__).parents[2] / "studies"


def test_a_search_can_be_called_whatever_is_imported():
    """No module of ours takes the name of the function."""
    assert callable(nas_service.search)


@pytest.fixture
def calls(monkeypatch):
    """How often the costly steps of preparing a study are called, by name."""
    counts = Counter()

    def count(owner, name):
        original = getattr(owner, name)

        def counted(*args, **kwargs):
            counts[name] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)

    for owner, name in ((creation, "resolve"), (creation, "sampler_of"), (Space, "build")):
        count(owner, name)
    for module in (data, creation, images, screening, greybox_cells):
        if hasattr(module, "source_of"):
            count(module, "source_of")
    return counts


def test_a_study_is_checked_once(calls, tmp_path):
    """The sampler has its own space and data source."""
    spec = load_spec(STUDIES / "digits.toml")
    api.prepare(spec, lambda: Store(f"sqlite:///{tmp_path}/nas.db", create=True), Path())
    assert calls == {"resolve": 1, "sampler_of": 1, "build": 2, "source_of": 2}
