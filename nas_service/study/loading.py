"""Study files read and checked: every fault at once, each with its key and what is possible."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hw_models import FileError
from hw_models.files.toml_file import read_toml
from nas_service.errors import NasError, SpecError, did_you_mean
from nas_service.spaces.architecture_document import read_architecture
from nas_service.study.faults import reason
from nas_service.study.sections import STORED
from nas_service.study.spec import StudySpec

Location = tuple[int | str, ...]  # of a fault, from the outermost key on

RENAMED = {
    "space.candidates": 'deduplicate_by = "function" or "genotype"',
    "quantization.per": "granularity",
    "quantization.scale": "step_size",
    "quantization.when": 'mode = "qat" or "ptq"',
    "hardware.set": "overrides",
    "hardware.space": "search_space",
    "hardware.chips": "monte_carlo_chips",
    "search.warm": "warm_start_from",
    "search.start": "initial",
    "search.stall": "early_stop = { patience, min_gain }",
    "search.checks": "constraint_order",
    "search.halving": "reduction_factor",
}
"""What keys of earlier versions are called now."""


def load_spec(path: Path) -> StudySpec:
    """Reads a study file.

    Args:
        path: The TOML file; architectures that `search.initial` names lie beside it.

    Returns:
        The study.

    Raises:
        SpecError: It cannot be read, or is wrong; every fault is listed with its key.
    """
    try:
        tree = read_toml(path)
    except FileError as error:
        raise SpecError(f"{error}{_meant(path)}") from None
    _read_initial(tree, path)
    return parse_spec(json.dumps(tree, default=str), str(path))


def _meant(path: Path) -> str:
    """The study file that is probably meant by a path without a file, or how to get one."""
    if os.path.lexists(path):
        return ""
    try:
        names = [name for name in os.listdir(path.parent) if name.endswith(".toml")]
    except (OSError, ValueError):
        return ""
    hint = did_you_mean(path.name, names) or did_you_mean(f"{path.name}.toml", names)
    return hint or "; `nas init` writes a study to start from"


def spec_from_tables(tables: Mapping[str, Any]) -> StudySpec:
    """Reads a study from the tables of a study file.

    Args:
        tables: The tables by name, as a TOML reader returns them; they are not changed. Files that
            `search.initial` names lie in the current folder.

    Returns:
        The study.

    Raises:
        SpecError: It is wrong; every fault is listed with its key.
    """
    try:
        tree = json.loads(json.dumps(tables, default=_plain))
    except (TypeError, ValueError, RecursionError):
        needed = "text as keys, no table that holds itself, no number of thousands of digits"
        raise SpecError(f"study: not the tables of a study file ({needed})") from None
    _read_initial(tree, Path("study"))
    return parse_spec(json.dumps(tree), "study")


def _plain(value: Any) -> Any:
    """A value of NumPy or a path as JSON has it."""
    if isinstance(value, Mapping):
        return dict(value)
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _read_initial(tree: Any, path: Path) -> None:
    """Puts architectures in the place of the names of their files."""
    search = tree.get("search")
    entries: Any = search.get("initial") if isinstance(search, dict) else None
    for position, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, str) and entry.lower().endswith(".json"):
            try:
                entries[position], _ = read_architecture(path.parent / entry)
            except (FileError, SpecError) as error:
                place = f"{path}: search.initial.{position}"
                where = f"{place}: {entry}" if isinstance(error, SpecError) else place
                raise SpecError(f"{where}: {error}") from None


def parse_spec(text: str, where: str, *, stored: bool = False) -> StudySpec:
    """Reads a study from JSON.

    Args:
        text: The JSON document.
        where: Its origin, for the errors.
        stored: It is of a store: values that only earlier versions accepted are kept.

    Returns:
        The study, validated.

    Raises:
        SpecError: It is wrong; every fault is listed with its key.
    """
    try:
        return StudySpec.model_validate_json(text, context=STORED if stored else None)
    except ValidationError as error:
        raise SpecError("\n".join(f"{where}: {line}" for line in _explain(error))) from None
    except NasError as error:  # raised by a validator: one sentence that is complete by itself
        raise SpecError(f"{where}: {error}") from None


def with_until(spec: StudySpec, until: int) -> StudySpec:
    """The same study, whose trainings end at another epoch.

    Args:
        spec: The study.
        until: The epoch.

    Returns:
        The study.

    Raises:
        SpecError: The schedule of the study has no such epoch.
    """
    tree = spec.model_dump(mode="json")
    tree["training"]["until"] = until
    return parse_spec(json.dumps(tree), f"study {spec.name!r}", stored=True)


def _causes(faults: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without lists that are only too short because one of their values is wrong, and without the
    forms that a value of several possible forms does not have."""
    faults = _of_the_nearest_form(faults)
    locations = [fault["loc"] for fault in faults]

    def follows(fault: ErrorDetails) -> bool:
        at = fault["loc"]
        return fault["type"] == "too_short" and any(
            len(p) > len(at) and p[: len(at)] == at for p in locations
        )

    return [fault for fault in faults if not follows(fault)]


def _of_the_nearest_form(faults: list[ErrorDetails]) -> list[ErrorDetails]:
    """Of each value of several possible forms the faults in the form with the fewest wrong types.

    Of forms with equally many, the one that looks deepest into the value is the nearest; forms that
    are equally near are all kept.
    """
    forms: dict[Location, dict[Location, list[ErrorDetails]]] = {}
    for fault in faults:
        location = fault["loc"]
        at = next((n for n, part in enumerate(location) if _is_branch(part)), len(location))
        forms.setdefault(location[:at], {}).setdefault(location[at : at + 1], []).append(fault)

    def distance(form: Iterable[ErrorDetails]) -> tuple[int, int]:
        faults = list(form)
        types = sum(fault["type"].endswith("_type") for fault in faults)
        return types, -max(len(fault["loc"]) for fault in faults)

    kept: list[ErrorDetails] = []
    for each in forms.values():
        kept += each.pop((), [])
        if each:
            nearest = min(map(distance, each.values()))
            kept += [fault for form in each.values() if distance(form) == nearest for fault in form]
    return [fault for fault in faults if fault in kept]


def _explain(error: ValidationError) -> list[str]:
    """For each wrong key `key: what is wrong (what would be right)`."""
    forms: dict[str, list[ErrorDetails]] = {}
    for fault in _causes(error.errors()):
        forms.setdefault(_key(fault), []).append(fault)
    return [f"{key}: {_reason(key, faults)}" for key, faults in forms.items()]


def _key(fault: ErrorDetails) -> str:
    """The dotted key, as the user wrote it."""
    *tables, last = fault["loc"] or ("study",)
    written = [str(part) for part in tables if not _is_branch(part)]
    if fault["type"] == "extra_forbidden" or not _is_branch(last):
        written.append(str(last))
    return ".".join(written)


def _reason(key: str, faults: list[ErrorDetails]) -> str:
    unknown = (fault for fault in faults if fault["type"] == "extra_forbidden")
    if (fault := next(unknown, None)) is not None:
        return f"unknown key{_possible(key, fault)}"
    return reason(faults)


def _possible(key: str, fault: ErrorDetails) -> str:
    if key in RENAMED:
        return f", it is now {RENAMED[key]}"
    allowed = _keys_at(fault["loc"][:-1])
    hint = did_you_mean(str(fault["loc"][-1]), allowed)
    return f"{hint} (possible: {', '.join(sorted(allowed))})"


def _is_branch(part: int | str) -> bool:
    """Names that pydantic adds for the member of a union, which no user wrote."""
    return isinstance(part, str) and (
        part.startswith(("tuple[", "dict[", "function-"))
        or part in ("str", "bool", "int", "float", "[key]")
    )


def _keys_at(location: tuple[int | str, ...]) -> set[str]:
    """Keys possible in the table that an error points into."""
    model: type[BaseModel] = StudySpec
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    return set(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for a in get_args(annotation) if (m := _model_in(a))), None)
