"""Architecture search for quantised spiking neural networks within a crossbar chip's budgets."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas_service.searches.results import Result
    from nas_service.study.spec import StudySpec

__all__ = ["search"]


def search(
    study: "str | Path | StudySpec",
    storage: str = "sqlite:///nas.db",
    workers: int | None = None,
    data: str | Path = "data",
) -> "Result":
    """Creates or resumes a study, runs it to its end on this machine, and reads its result.

    `study` is a study file or a specification, `storage` a database URL, `data` the folder of
    data sets. Raises NasError where one of them is not sound. See `Result.front`, `.frame()`.
    """
    from nas_service import api  # torch and Optuna are loaded when they are used

    return api.search(study, storage, workers, data)
