"""Weights that the candidates of a study share: each starts from what others have trained.

The pool holds the latest tensors of every block that was trained, by name, operation and shape; a
new network takes those that fit it, edge by edge. The ranking of candidates that were trained
briefly then depends on the pool too: benchmarks/inheritance.py measures how much.
"""

import fcntl
from pathlib import Path

from torch import Tensor

from nas_service.snn.checkpoint import read_tensors, write
from nas_service.snn.network import Network
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import EDGE_NAMES

POOL = "shared.safetensors"


def inherit(network: Network, architecture: Architecture, pool: Path) -> float:
    """Copies the pool's weights into a network.

    Args:
        network: Changed in place.
        architecture: The architecture of the network.
        pool: The file of shared weights; it may be missing.

    Returns:
        The share of the network's numbers that were inherited, 0..1.

    Raises:
        DataError: The pool cannot be read.
    """
    shared, state = _read(pool), network.state_dict()
    keys = _keys(network, architecture)
    inherited = {name: shared[key] for name, key in keys.items() if key in shared}
    network.load_state_dict({**state, **inherited})
    sizes = {name: state[name].numel() for name in keys}
    share: float = sum(sizes[name] for name in inherited) / sum(sizes.values())
    return share


def contribute(network: Network, architecture: Architecture, pool: Path) -> None:
    """Puts a network's weights into the pool; processes that write at the same time queue.

    Args:
        network: The trained network.
        architecture: The architecture of the network.
        pool: The file of shared weights; it may be missing.

    Raises:
        DataError: The pool cannot be read.
    """
    state = network.state_dict()
    own = {key: state[name] for name, key in _keys(network, architecture).items()}
    pool.parent.mkdir(parents=True, exist_ok=True)
    with pool.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write(_read(pool) | own, pool)


def _read(pool: Path) -> dict[str, Tensor]:
    if not pool.is_file():
        return {}
    return read_tensors(pool, "the shared weights of a study")


def _keys(network: Network, architecture: Architecture) -> dict[str, str]:
    """The name in the pool of every tensor of floats of the network."""
    operations = {
        f"body.cell{k}.edges.edge{name}": operation
        for k, cell in enumerate(architecture.cells)
        for pair, operation in zip(EDGE_NAMES, cell.operations, strict=True)
        for name in (pair, pair[::-1])
    }
    keys = {}
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            edge = ".".join(name.split(".")[:4])
            sizes = "x".join(map(str, tensor.shape))
            keys[name] = f"{name} {operations.get(edge, '')} {sizes}"
    return keys
