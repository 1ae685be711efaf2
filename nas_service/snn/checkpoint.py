"""Trainings and weights on disk, as safetensors: nothing that is read can run code.

A checkpoint holds the network, its optimizer and the state of every die, so that a training that
was killed goes on behind its last epoch as if nothing had happened.
"""

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
        state = optimizer.state_dict()
        tensors = {f"network.{name}": t for name, t in network.state_dict().items()}
        for i, values in state["state"].items():
            tensors |= {f"optimizer.{i}.{name}": torch.as_tensor(v) for name, v in values.items()}
        tensors |= {"die": die.get_state(), "global_die": torch.get_rng_state()}
        facts = {"epoch": epoch, "identity": self.identity, "notes": self.notes}
        facts["groups"] = state["param_groups"]
        write(tensors, self.path, {"training": json.dumps(facts)})

    def resume(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, die: torch.Generator
    ) -> int:
        """Puts the state back; returns the epochs that are done, 0 where there is nothing.

        A file that is damaged, or of another training, is said in the log and left alone.
        """
        if not self.path.is_file():
            return 0
        try:
            tensors, facts = _read(self.path)
            if facts["identity"] != self.identity:
                raise ValueError("of another training")
            _restore(network, optimizer, die, tensors, facts)
        except Exception as error:  # safetensors, json and torch raise several unrelated types
            log.warning("%s: training starts again, checkpoint not usable (%s)", self.path, error)
            return 0
        self.notes.update(facts["notes"])
        return int(facts["epoch"])

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(path, framework="pt") as file:
        facts = json.loads(file.metadata()["training"])
    return load_file(path), facts


def _restore(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    die: torch.Generator,
    tensors: dict[str, Tensor],
    facts: dict[str, Any],
) -> None:
    """All or nothing: the network is changed last of what can be refused."""
    network_state = {n.removeprefix("network."): t for n, t in tensors.items() if "network." in n}
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "optimizer":
            number, _, key = rest.partition(".")
            state.setdefault(int(number), {})[key] = tensor
    groups = [{**g, **_tuples(g)} for g in facts["groups"]]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    network.load_state_dict(network_state)
    die.set_state(tensors["die"])
    torch.set_rng_state(tensors["global_die"])


def _tuples(group: dict[str, Any]) -> dict[str, Any]:
    """JSON has no pairs: an optimizer's betas."""
    return {"betas": tuple(group["betas"])} if "betas" in group else {}


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
