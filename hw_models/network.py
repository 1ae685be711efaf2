"""A network to be costed: its layers, what was assumed of them, and the chip it asks for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hw_models.assumption import Assumption
from hw_models.files.json_file import read_json
from hw_models.layer_list import read_layers
from hw_models.workload import Workload


@dataclass(frozen=True)
class Network:
    """A network from a file.

    Args:
        workload: Its layers.
        assumed: Figures that nobody gave.
        chip: Settings of the chip that the file brings.
    """

    workload: Workload
    assumed: tuple[Assumption, ...] = ()
    chip: Mapping[str, Any] = field(default_factory=dict)


def read_layer_list(path: Path) -> Network:
    """Reads the network of a layer list.

    Args:
        path: The JSON file.

    Returns:
        The workload, and what was assumed.

    Raises:
        FileError: It cannot be read.
        WorkloadError: It is no layer list.
    """
    read = read_layers(read_json(path))
    return Network(Workload(read.layers, read.time_steps), read.assumed)
