"""Weights that candidates of a study share: each starts from what others have trained.

The pool holds the tensors of every block that was trained last, by place, operation and shape; a
new network takes what fits it, edge by edge. Ranks among candidates that were trained briefly
are then those of the pool as well as their own: benchmarks/inheritance.py measures how much.
"""

import fcntl
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from nas_service.errors import DataError
from nas_service.snn.checkpoint import write
from nas_service.snn.network import Network
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import EDGE_NAMES

POOL = "shared.safetensors"


def inherit(network: Network, architecture: Architecture, pool: Path) -> float:
    """Puts the pool's weights into the network; returns the share of its numbers that they are.

    Raises DataError for a pool that cannot be read.
    """
    known, state = _read(pool), network.state_dict()
    keys = _keys(network, architecture)
    taken = {name: known[key] for name, key in keys.items() if key in known}
    network.load_state_dict({**state, **taken})
    numbers = {name: state[name].numel() for name in keys}
    share: float = sum(numbers[name] for name in taken) / sum(numbers.values())
    return share


def contribute(network: Network, architecture: Architecture, pool: Path) -> None:
    """Puts the network's weights into the pool; whoever writes at the same time waits."""
    state = network.state_dict()
    mine = {key: state[name] for name, key in _keys(network, architecture).items()}
    pool.parent.mkdir(parents=True, exist_ok=True)
    with pool.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write(_read(pool) | mine, pool)


def _read(pool: Path) -> dict[str, Tensor]:
    if not pool.is_file():
        return {}
    try:
        return load_file(pool)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{pool}: not the shared weights of a study ({error})") from error


def _keys(network: Network, a: Architecture) -> dict[str, str]:
    """For every tensor of floats of the network, its name in the pool."""
    operations = {
        f"body.cell{k}.edges.edge{name}": operation
        for k, cell in enumerate(a.cells)
        for pair, operation in zip(EDGE_NAMES, cell.operations, strict=True)
        for name in (pair, pair[::-1])
    }
    found = {}
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            edge = ".".join(name.split(".")[:4])
            sizes = "x".join(map(str, tensor.shape))
            found[name] = f"{name} {operations.get(edge, '')} {sizes}"
    return found
