"""Plug-ins in the test's process, whose tables are afterwards as they were."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nas_service.study import plugins

EXAMPLE = Path(__file__).parents[2] / "docs" / "plugin_example.py"


@contextmanager
def own_tables() -> Iterator[None]:
    """What is loaded inside is unloaded at the end."""
    before, loaded, stand_ins = plugins.tables(), [*plugins.LOADED], {*plugins.STAND_INS}
    named = os.environ.get(plugins.VARIABLE)
    try:
        yield
    finally:
        plugins.restore(before)
        plugins.LOADED[:] = loaded
        plugins.STAND_INS.clear()
        plugins.STAND_INS.update(stand_ins)
        os.environ.pop(plugins.VARIABLE, None)
        if named is not None:
            os.environ[plugins.VARIABLE] = named
