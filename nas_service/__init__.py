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

    Args:
        study: A study file, or a specification.
        storage: URL of the store, an SQLite file or a PostgreSQL database.
        workers: Number of processes, by default one for each processor core.
        data: Folder of the data sets.

    Returns:
        The result; see `Result.front` and `Result.frame`.

    Raises:
        NasError: The study, its data or the store cannot be used, or too many trials failed.
    """
    from nas_service import api  # torch and Optuna are loaded when they are used

    return api.search(study, storage, workers, data)
