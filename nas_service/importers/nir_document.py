"""NIR graphs from what a file holds: a table of nodes, and the names of those that read each other.

nir builds its nodes from such tables too, but demands what older files do not have, and checks
inner graphs for types that it knows of few kinds of nodes.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

import numpy as np

from hw_models import WorkloadError
from nas_service.importers.nir_graph import KINDS, unknown_kind
from nas_service.importers.nir_values import wrong

SHAPES = {"Input": "shape", "Output": "shape", "Flatten": "input_type"}  # None where they say none
OPTIONAL = {"input_shape": None}  # that nir demands, but older versions of it did not write
TEXT = ("padding",)  # may be text: "same", "valid"


def graph_of(what: str, data: Mapping[str, Any]) -> Any:
    """A NIRGraph.

    Args:
        what: Its name, for errors.
        data: Its entries as nested dictionaries of arrays.

    Raises:
        WorkloadError: An entry is missing, unknown or of another type; the message names it.
    """
    import nir

    if (kind := data.get("type")) != "NIRGraph":
        raise WorkloadError(f"{what} is a {kind!s:.60}: a NIRGraph is needed")
    for key in ("nodes", "edges"):
        if key not in data:
            raise WorkloadError(f"{what}: the graph has no {key}: {key!r} is needed")
    if not isinstance(data["nodes"], Mapping):
        raise WorkloadError(f"{what}: nodes: a group of nodes is needed")
    nodes = {name: _node(name, node) for name, node in data["nodes"].items()}
    return nir.NIRGraph(nodes, list(np.atleast_1d(data["edges"])), type_check=False)


def _node(name: str, data: Any) -> Any:
    import nir

    kind = data.get("type") if isinstance(data, Mapping) else None
    if kind == "NIRGraph":
        return graph_of(f"node {name!r:.100}", data)
    if kind is None:
        raise wrong(name, "its kind is missing: 'type' is needed")
    if kind not in KINDS:
        raise unknown_kind(name, str(kind))
    values = _arguments(
        name, kind, {k: v for k, v in data.items() if k not in ("type", "metadata")}
    )
    try:
        return getattr(nir, kind)(**values)
    except Exception as error:  # nir checks by assertions and by use
        reason = str(error) if isinstance(error, AssertionError | ValueError) else ""
        raise wrong(name, f"({kind}) its values do not fit together {reason:.100}") from error


def _arguments(name: str, kind: str, values: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a node of nir."""
    import nir

    if shape_key := SHAPES.get(kind):
        shape = values.pop(shape_key, None)
        end = "output" if kind == "Output" else "input"
        values[f"{end}_type"] = {end: shape}
    known = {f.name: f for f in fields(getattr(nir, kind)) if f.init and f.name != "metadata"}
    if unknown := sorted(values.keys() - known.keys()):
        raise wrong(name, f"({kind}) unknown {unknown[0]!r:.60}: known are {', '.join(known)}")
    values = {key: None for key in OPTIONAL if key in known} | values
    for key, f in known.items():
        if key not in values and f.default is MISSING:
            raise wrong(name, f"({kind}) {key!r} is missing")
    for key, value in values.items():
        _demand_numbers(name, kind, key, value)
    return values


def _demand_numbers(name: str, kind: str, key: str, value: Any) -> None:
    if value is None or (key in TEXT and isinstance(value, str)):
        return
    if isinstance(value, Mapping) and set(value) <= {"input", "output"}:
        value = next(iter(value.values()))
    if value is not None and np.asarray(value).dtype.kind not in "biuf":
        raise wrong(name, f"({kind}) {key} = {value!r:.60}: numbers are needed")
