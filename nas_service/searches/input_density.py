"""The density of a study's input as the study keeps it, measured when it was created."""

import optuna

from nas_service.errors import DataError, StudyError
from nas_service.searches.session import Search
from nas_service.spaces.input_density import ASSUMED, InputDensity

DENSITY = "input_density"  # attribute of a study


def record(study: optuna.Study, density: InputDensity, data_digest: str) -> None:
    """Keeps the density of the data that a study begins with; a kept one of these data stays.

    Processes that create the study at once write the same, as they measured the same data.

    Args:
        study: The study.
        density: Measured in its data.
        data_digest: `Evaluator.data_digest` of these data.
    """
    if study.user_attrs.get(DENSITY, {}).get("data") != data_digest:
        study.set_user_attr(DENSITY, {"data": data_digest, **density.to_json()})


def density_of(search: Search) -> InputDensity:
    """The density that a study keeps; that of all bits where it keeps none."""
    return recorded(search) or ASSUMED


def recorded(search: Search) -> InputDensity | None:
    """The density that a study keeps.

    Args:
        search: The study.

    Returns:
        The density; None of a study that was begun before densities were kept.

    Raises:
        StudyError: What is kept is no density.
    """
    kept = search.study.user_attrs.get(DENSITY)
    if kept is None:
        return None
    try:
        if not isinstance(kept, dict):
            raise DataError(f"input density {kept!r:.80}: a table is needed")
        return InputDensity.from_json({k: v for k, v in kept.items() if k != "data"})
    except DataError as error:
        raise StudyError(f"study {search.name!r} in {search.store.shown}: {error}") from None
