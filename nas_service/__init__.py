"""Architecture search for quantised spiking neural networks within a crossbar chip's budgets."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike
    from typing import Any

    from nas_service.export.loaded import LoadedNetwork
    from nas_service.searches.recosting import Recosted
    from nas_service.searches.results import Result
    from nas_service.study.plugins import Plugin
    from nas_service.study.spec import StudySpec

__all__ = ["load", "plugin", "recost", "search"]


def search(
    study: "str | PathLike[str] | Mapping[str, Any] | StudySpec",
    storage: "str | PathLike[str]" = "sqlite:///nas.db",
    workers: int | None = None,
    data: "str | PathLike[str]" = "data",
) -> "Result":
    """Creates or resumes a study, runs it to its end on this machine, and reads its result.

    Args:
        study: A study file, its tables as a dict, or a specification.
        storage: URL of the store, SQLite or PostgreSQL, or a `Path` of an SQLite file.
        workers: Number of processes, by default one for each processor core.
        data: Folder of the data sets.

    Returns:
        The result; see `Result.front`, `below_reference` and `frame`.

    Raises:
        NasError: The study, its data, the store or the number of workers cannot be used, or too
            many trials failed.
        KeyboardInterrupt: By Ctrl-C, after the workers have released their trials; the same call
            continues.
    """
    from nas_service import api  # torch and Optuna are loaded when they are used

    return api.search(study, storage, workers, data)


def load(path: "str | PathLike[str]") -> "LoadedNetwork":
    """Loads a network that `nas export --format safetensors` wrote.

    Args:
        path: The file.

    Returns:
        The network; `predict` classifies raw images.

    Raises:
        DataError: The file is missing, damaged or of another kind.
    """
    from nas_service import api  # torch is loaded when it is used

    return api.load(path)


def recost(
    result: "Result",
    profile: str | None = None,
    settings: "Mapping[str, Any] | None" = None,
    budgets: "Mapping[str, float] | None" = None,
) -> "Recosted":
    """Costs all candidates of a study on another chip or under other budgets; nothing is trained.

    Args:
        result: What `search` returned.
        profile: Name or file of the chip's profile, by default the study's with its overrides.
        settings: Settings of the chip, which replace those that candidates carry.
        budgets: Limits by metric, which replace those of the study or join them. A new one is at
            least the limit where more of the metric is better, else at most.

    Returns:
        The study before and after; see `Recosted.changes`, whose `traced` are costs counted in
        recorded inputs, where the study keeps some.

    Raises:
        NasError: Nothing is changed, or a name or value is not possible.
    """
    from nas_service.searches import recosting  # loaded when it is used

    return recosting.recost(result, profile, settings, budgets)


def plugin(path: "str | PathLike[str]") -> "Plugin":
    """Loads a plug-in, as `nas --plugin` does: members of the user's own, for this process.

    Workers that `search` starts load it as well. `docs/plugin_example.py` shows one.

    Args:
        path: A Python file, which is run.

    Returns:
        The plug-in, with its hash and the names of its members.

    Raises:
        SpecError: The file cannot be read, fails, or adds a member that is not possible; nothing is
            changed.
    """
    from nas_service import api  # loaded when it is used

    return api.plugin(path)
