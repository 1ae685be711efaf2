"""NIR graphs from what a file holds: a table of nodes, and the names of those that read each other.

nir builds its nodes from such tables too, but demands what older files do not have, and checks
inner graphs for types that it knows of few kinds of nodes.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

import numpy as np
from h5py import Empty  # type: ignore[import-untyped]

from hw_models import WorkloadError
from nas_service.importers.nir_graph import KINDS, unknown_kind
from nas_service.importers.nir_values import wrong

SHAPES = {"Input": "shape", "Output": "shape", "Flatten": "input_type"}  # None where they say none
OPTIONAL = ("input_shape",)  # that nir demands, but older versions of it did not write
TEXT = {"padding": ("same", "valid")}  # keys that may be text


def graph_of(what: str, data: Mapping[str, Any]) -> Any:
    """A NIRGraph.

    Args:
        what: Its name, for errors.
        data: Its entries as nested dictionaries of arrays.

    Returns:
        The graph, whose inner graphs are read, too.

    Raises:
        WorkloadError: An entry is missing, unknown or of another type; the message names it.
    """
    import nir

    _demand_graph(what, data)
    nodes = {name: _node(name, node) for name, node in data["nodes"].items()}
    return nir.NIRGraph(nodes, list(np.atleast_1d(data["edges"])), type_check=False)


def _demand_graph(what: str, data: Mapping[str, Any]) -> None:
    kind = data.get("type")
    if not isinstance(kind, str) or kind != "NIRGraph":
        raise WorkloadError(f"{what} is a {kind!s:.60}: a NIRGraph is needed")
    for key in ("nodes", "edges"):
        if key not in data:
            raise WorkloadError(f"{what}: the graph has no {key}: {key!r} is needed")
    if not isinstance(data["nodes"], Mapping):
        raise WorkloadError(f"{what}: nodes: a group of nodes is needed")


def _node(name: str, data: Any) -> Any:
    kind = data.get("type") if isinstance(data, Mapping) else None
    if not isinstance(kind, str):
        raise wrong(name, "its kind is missing: 'type', a text, is needed")
    if kind == "NIRGraph":
        return graph_of(f"node {name!r:.100}", data)
    if kind not in KINDS:
        raise unknown_kind(name, kind)
    return _built(name, kind, _arguments(kind, data))


def _arguments(kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a node as the arguments of its class, its shape among them."""
    values = {k: v for k, v in data.items() if k not in ("type", "metadata")}
    values = {k: None if isinstance(v, Empty) else v for k, v in values.items()}
    if key := SHAPES.get(kind):
        end = "output" if kind == "Output" else "input"
        values[f"{end}_type"] = {end: values.pop(key, None)}
    return values


def _built(name: str, kind: str, values: dict[str, Any]) -> Any:
    """The node of nir with these values; WorkloadError for those that it cannot have."""
    import nir

    node = getattr(nir, kind)
    known = {f.name: f.default for f in fields(node) if f.init and f.name != "metadata"}
    values = {key: None for key in OPTIONAL if key in known} | values
    for key in values:
        _demand_value(name, kind, key, values[key], known)
    for key, default in known.items():
        if key not in values and default is MISSING:
            raise wrong(name, f"({kind}) {key!r} is missing")
    try:
        return node(**values)
    except Exception as error:  # nir checks by assertions and by use
        sizes = ", ".join(f"{key} {np.shape(value)}" for key, value in values.items())
        raise wrong(name, f"({kind}) its values do not fit together: {sizes:.200}") from error


def _demand_value(name: str, kind: str, key: str, value: Any, known: Mapping[str, Any]) -> None:
    """WorkloadError for a key that nir does not know, and for values that are no numbers."""
    if key not in known:
        raise wrong(name, f"({kind}) unknown {key!r:.60}: known are {', '.join(known)}")
    if isinstance(value, Mapping) and key.endswith("_type"):
        value = next(iter(value.values()))
    if key in TEXT and isinstance(value, str):
        if value not in TEXT[key]:
            right = f"numbers or one of {', '.join(TEXT[key])} are needed"
            raise wrong(name, f"({kind}) {key} = {value!r:.60}: {right}")
        return
    if value is None:
        if known[key] is MISSING and key not in OPTIONAL and not key.endswith("_type"):
            raise wrong(name, f"({kind}) {key} is empty: numbers are needed")
        return
    if np.asarray(value).dtype.kind not in "biuf":
        raise wrong(name, f"({kind}) {key} = {value!r:.60}: numbers are needed")
