"""Layer lists: the JSON form of a workload."""

import difflib
from dataclasses import asdict, fields
from typing import Any

from hw_models.errors import WorkloadError
from hw_models.layer import SIDES, Layer

MAX_LAYERS = 10_000


def read_layers(data: object) -> tuple[tuple[Layer, ...], Any]:
    """Reads a layer list.

    Args:
        data: `{"time_steps": T, "layers": [...]}` with the fields of `Layer`; a linear layer
            may give `in_features` and `out_features` for its channels.

    Returns:
        The layers, and the time steps, which are not checked yet.

    Raises:
        WorkloadError: Naming layer, key and what would be right.
    """
    top = _table(data, {"time_steps", "layers"}, {"time_steps", "layers"}, "layer list")
    layers = top["layers"]
    if not isinstance(layers, list) or len(layers) > MAX_LAYERS:
        raise WorkloadError(f"layers: a list of 1..{MAX_LAYERS} tables is needed")
    return tuple(_layer(x, f"layer{i}") for i, x in enumerate(layers)), top["time_steps"]


def stored_layer(layer: Layer) -> dict[str, Any]:
    """A layer as a layer list holds it, without the less common keys that say nothing."""
    pairs = asdict(layer).items()
    return {
        k: list(v) if isinstance(v, tuple) else v
        for k, v in pairs
        if k not in _RARE or v != _RARE[k]
    }


_LISTS = {*SIDES, "spike_rate", "sources", "feedback"}
_FEATURES = {"in_features": "in_channels", "out_features": "out_channels"}
_KEYS = {f.name for f in fields(Layer)}
_RARE = {"pooled_size": None, "padding": None, "rearranged": False}


def _layer(data: object, name: str) -> Layer:
    keys = _KEYS | set(_FEATURES)
    values = _table(data, keys, {"kind"}, name)
    if not isinstance(values["kind"], str) or not isinstance(values.get("name", name), str):
        raise WorkloadError(f"{name}: kind and name must be text")
    if values["kind"] == "linear":
        values = {_FEATURES.get(key, key): value for key, value in values.items()}
    lists = [
        k for k, v in values.items() if isinstance(v, list) and (k not in SIDES or len(v) == 2)
    ]
    values = values | {key: tuple(values[key]) for key in lists if key in _LISTS}
    needed = {"in_channels", "out_channels"}
    return Layer(**{"name": name, **_table(values, _KEYS, needed, name)})


def _table(data: object, keys: set[str], needed: set[str], what: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise WorkloadError(f"{what}: a table is needed, not {data!r:.60}")
    for key in data:
        if key not in keys:
            near = difflib.get_close_matches(str(key), sorted(keys), n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise WorkloadError(f"{what}: unknown key {key!r:.60}{hint}")
    if missing := sorted(needed - set(data)):
        raise WorkloadError(f"{what}: missing {missing}")
    return data
