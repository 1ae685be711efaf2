"""The evaluator of a study in its store: on the data, and at the density, that it began with."""

import logging
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from nas_service.errors import StoreError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.searches.input_density import record, recorded
from nas_service.searches.session import Search, check_data, demand_plugins

log = logging.getLogger(__name__)


def open_evaluator(search: Search, folder: Path) -> Evaluator:
    """Reads the data of a study in its store.

    Args:
        search: The study.
        folder: Where the data sets are.

    Returns:
        The evaluator of the study's candidates.

    Raises:
        DataError: The data are missing or damaged.
        StudyError: They are not those that the study began with, or one of its plug-ins is not
            loaded.
    """
    demand_plugins(search)
    return on_study_data(search, Evaluator.open(search.spec, folder, density=recorded(search)))


def on_study_data(search: Search, evaluator: Evaluator) -> Evaluator:
    """The evaluator with the density that the study keeps, on data that are proved to be its.

    A study that keeps none was begun by an earlier release, whose trainings counted every value
    that is not 0 as all of its bits: its screening counts as its trainings did.

    Args:
        search: The study.
        evaluator: On data of this machine.

    Returns:
        The evaluator.

    Raises:
        StudyError: The study began with other data.
    """
    check_data(search, evaluator.data_digest)
    density = recorded(search)
    if density is None:
        density = evaluator.images.density(counts_bits=False)
        with suppress(StoreError):  # a reader may not write; the next worker does
            record(search.study, density, evaluator.data_digest)
    if not density.counts_bits:
        log.warning(
            "study %s was begun by an earlier release: %s of the input's bits count as set when "
            "candidates are screened, as in its trainings",
            search.name,
            f"{100 * density.share:.3g} %",
        )
    return replace(evaluator, density=density)
