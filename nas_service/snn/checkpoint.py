"""Trainings and weights on disk, as safetensors: nothing that is read can run code.

A checkpoint holds the network, its optimizer and the state of every die, so that a training that
was killed goes on behind its last epoch as if nothing had happened.
"""

import hashlib
import json
import logging
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nas_service.errors import DataError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """A checkpoint's file, and what it is a training of: another one is not continued.

    `notes` are kept with every epoch, and filled from those of a training that is continued.
    """

    path: Path
    identity: str  # of architecture, data, recipe and seed
    notes: dict[str, Any] = field(default_factory=dict)  # as JSON has them

    def keep(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, die: torch.Generator, epoch: int
    ) -> None:
        """The state behind an epoch, in place of the one before."""
        tensors = {NETWORK + name: t for name, t in network.state_dict().items()}
        for i, values in optimizer.state_dict()["state"].items():
            tensors |= {f"{OPTIMIZER}{i}.{n}": torch.as_tensor(v) for n, v in values.items()}
        tensors |= {"die": die.get_state(), "global_die": torch.get_rng_state()}
        facts = {"epoch": epoch, "identity": self.identity, "notes": self.notes}
        text = json.dumps(facts, allow_nan=False)
        write(tensors, self.path, {"training": text, "digest": _digest(tensors, text)})

    def resume(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, die: torch.Generator, last: int
    ) -> int:
        """Puts the state back; returns the epochs that are done, 0 where there is nothing.

        A file that is damaged, of another training or behind the `last` epoch is said in the log
        and left alone; then nothing was changed.
        """
        if not self.path.is_file():
            return 0
        try:
            tensors, facts = _read(self.path)
            epoch, notes = self._checked(facts, last)
            state = _State.of(tensors, network, optimizer)
        except Exception as error:  # safetensors, json and torch raise several unrelated types
            log.warning("%s: training starts again, checkpoint not usable (%s)", self.path, error)
            return 0
        state.put(network, optimizer, die)
        self.notes.update(notes)
        return epoch

    def _checked(self, facts: dict[str, Any], last: int) -> tuple[int, dict[str, Any]]:
        if facts["identity"] != self.identity:
            raise ValueError("of another training")
        epoch, notes = facts["epoch"], facts["notes"]
        if type(epoch) is not int or not 1 <= epoch <= last:
            raise ValueError(f"behind epoch {epoch}, 1..{last} is possible")
        return epoch, dict(notes)

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)


NETWORK, OPTIMIZER = "network.", "optimizer."  # in front of the names of their tensors
KEPT: dict[type[torch.optim.Optimizer], set[str]] = {
    torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"},
    torch.optim.SGD: {"momentum_buffer"},
}


@dataclass(frozen=True)
class _State:
    """What a checkpoint holds, known to fit the training that it goes into."""

    network: dict[str, Tensor]
    optimizer: dict[int, dict[str, Tensor]]  # by parameter
    die: Tensor
    global_die: Tensor

    @classmethod
    def of(
        cls, tensors: dict[str, Tensor], network: nn.Module, optimizer: torch.optim.Optimizer
    ) -> "_State":
        """Raises ValueError, or what torch raises for the state of a die, where it does not fit."""
        rest = dict(tensors)
        dice = [rest.pop(name) for name in ("die", "global_die")]
        for state in dice:
            torch.Generator().set_state(state)
        parts: dict[str, Tensor] = {}
        for name in [n for n in rest if n.startswith(NETWORK)]:
            parts[name.removeprefix(NETWORK)] = rest.pop(name)
        _demand_alike(parts, network.state_dict())
        return cls(parts, _optimizer_state(rest, optimizer), *dice)

    def put(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, die: torch.Generator
    ) -> None:
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": self.optimizer, "param_groups": groups})
        network.load_state_dict(self.network)
        die.set_state(self.die)
        torch.set_rng_state(self.global_die)


def _optimizer_state(
    tensors: dict[str, Tensor], optimizer: torch.optim.Optimizer
) -> dict[int, dict[str, Tensor]]:
    """By parameter; one that never had a gradient has none."""
    found: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        place, _, key = name.removeprefix(OPTIMIZER).partition(".")
        if not name.startswith(OPTIMIZER) or not place.isdecimal():
            raise ValueError(f"{name} is no part of a training")
        found.setdefault(int(place), {})[key] = tensor
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    scalar = torch.zeros(())
    for at, state in found.items():
        if at >= len(parameters):
            raise ValueError(f"{OPTIMIZER}{at}: there are {len(parameters)} parameters")
        keys = KEPT[type(optimizer)]
        _demand_alike(state, {k: scalar if k == "step" else parameters[at] for k in keys})
    return found


def _demand_alike(found: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    """ValueError where tensors are missing, or others than these, in name, shape or type."""
    if odd := sorted(found.keys() ^ own.keys()):
        raise ValueError(f"{odd[0]} is missing or does not belong to it")
    for name, tensor in own.items():
        if (found[name].shape, found[name].dtype) != (tensor.shape, tensor.dtype):
            there = f"{found[name].dtype} {list(found[name].shape)}"
            raise ValueError(f"{name} is {there}, not {tensor.dtype} {list(tensor.shape)}")


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts as they were kept; ValueError for a file that was changed since."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
        metadata = file.metadata()
    if metadata["digest"] != _digest(tensors, metadata["training"]):
        raise ValueError("damaged")
    return tensors, json.loads(metadata["training"], parse_constant=_no_number)


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number")


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    """SHA-256 of all that a checkpoint says: safetensors itself would not see a changed bit."""
    content = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        content.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        content.update(flat.view(torch.uint8).numpy().data)
    return content.hexdigest()


def write(tensors: dict[str, Tensor], path: Path, facts: dict[str, str] | None = None) -> None:
    """Tensors as safetensors, written beside their place and renamed into it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, suffix=".part")
    os.close(handle)
    try:
        save_file(
            {name: t.detach().cpu().contiguous() for name, t in tensors.items()}, beside, facts
        )
        Path(beside).replace(path)
    finally:
        Path(beside).unlink(missing_ok=True)


def save_weights(network: nn.Module, path: Path) -> None:
    write(network.state_dict(), path)


def load_weights(network: nn.Module, path: Path) -> None:
    """Weights back into a network of the same architecture; DataError names a damaged file."""
    try:
        network.load_state_dict(load_file(path))
    except Exception as error:  # safetensors and torch raise several unrelated types
        raise DataError(f"{path}: not the weights of this network ({error})") from error
