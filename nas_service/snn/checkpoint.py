"""Trainings and weights on disk, as safetensors: nothing that is read can run code.

A checkpoint holds the network, its optimizer and the state of every random generator, so that a
training that was interrupted continues after its last epoch and ends with the same weights.
"""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hw_models.files.numerals import parse_whole
from nas_service.errors import DataError

log = logging.getLogger(__name__)

# Names of tensors in the file: prefixes, and the states of the random generators. Files of
# earlier versions have the same names, so they must not change.
NETWORK, OPTIMIZER = "network.", "optimizer."
ORIGIN = "origin"  # a text in files of weights
DIGEST = "sha256"  # among its facts
OWN_GENERATOR, GLOBAL_GENERATOR = "die", "global_die"

OPTIMIZER_STATE: dict[type[torch.optim.Optimizer], set[str]] = {
    torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"},
    torch.optim.SGD: {"momentum_buffer"},
}


@dataclass(frozen=True)
class CheckpointFile:
    """The checkpoint of one training.

    `notes` are saved with every epoch; `resume` fills them from the file.
    """

    path: Path
    identity: str  # of architecture, data, recipe and seed: no other training is continued
    notes: dict[str, Any] = field(default_factory=dict)  # JSON values

    def save(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        epoch: int,
    ) -> None:
        """Writes the state after an epoch over that of the epoch before.

        Args:
            network: The network.
            optimizer: The optimizer of its parameters.
            generator: Draws the order of the images and their augmentation.
            epoch: The number of epochs that are done.
        """
        tensors = {NETWORK + name: t for name, t in network.state_dict().items()}
        for i, values in optimizer.state_dict()["state"].items():
            tensors |= {f"{OPTIMIZER}{i}.{n}": torch.as_tensor(v) for n, v in values.items()}
        tensors |= {
            OWN_GENERATOR: generator.get_state(),
            GLOBAL_GENERATOR: torch.get_rng_state(),
        }
        facts = {"epoch": epoch, "identity": self.identity, "notes": self.notes}
        text = json.dumps(facts, allow_nan=False)
        write(tensors, self.path, {"training": text, "digest": digest_of(tensors, text)})

    def resume(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        last: int,
    ) -> int:
        """Restores the state of the last epoch that was saved.

        A file that is damaged, of another training or later than the `last` epoch is left alone
        and reported in the log; nothing is changed then.

        Args:
            network: The network, changed in place.
            optimizer: The optimizer of its parameters, changed in place.
            generator: Draws the order of the images and their augmentation; changed in place.
            last: The last epoch of the training.

        Returns:
            The number of epochs that are done; 0 where there is nothing to continue.
        """
        if not self.path.is_file():
            return 0
        try:
            tensors, facts = _read(self.path)
            epoch, notes = self._checked(facts, last)
            state = _TrainingState.of(tensors, network, optimizer)
        except Exception as error:  # safetensors, json and torch raise several unrelated types
            log.warning("%s: training starts again, checkpoint not usable (%s)", self.path, error)
            return 0
        state.restore(network, optimizer, generator)
        self.notes.update(notes)
        return epoch

    def delete(self) -> None:
        """Deletes the file if there is one."""
        self.path.unlink(missing_ok=True)

    def _checked(self, facts: dict[str, Any], last: int) -> tuple[int, dict[str, Any]]:
        """Epoch and notes of a file of this training; ValueError for another one."""
        if facts["identity"] != self.identity:
            raise ValueError("of another training")
        epoch, notes = facts["epoch"], facts["notes"]
        if type(epoch) is not int or not 1 <= epoch <= last:
            raise ValueError(f"after epoch {epoch}, 1..{last} is possible")
        return epoch, dict(notes)


@dataclass(frozen=True)
class _TrainingState:
    """The tensors of a checkpoint, checked to fit the training that they are restored into."""

    network: dict[str, Tensor]
    optimizer: dict[int, dict[str, Tensor]]  # by the parameter's number
    generator: Tensor
    global_generator: Tensor

    @classmethod
    def of(
        cls, tensors: dict[str, Tensor], network: nn.Module, optimizer: torch.optim.Optimizer
    ) -> "_TrainingState":
        """The state that the tensors of a file describe.

        Raises:
            ValueError: A tensor is missing, unknown, or of another shape or type.
            RuntimeError: The state of a random generator is none.
        """
        rest = dict(tensors)
        generators = [rest.pop(name) for name in (OWN_GENERATOR, GLOBAL_GENERATOR)]
        for state in generators:
            torch.Generator().set_state(state)
        parts: dict[str, Tensor] = {}
        for name in [n for n in rest if n.startswith(NETWORK)]:
            parts[name.removeprefix(NETWORK)] = rest.pop(name)
        demand_fitting(parts, network.state_dict(), finite=False)
        return cls(parts, _optimizer_state(rest, optimizer), *generators)

    def restore(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator
    ) -> None:
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": self.optimizer, "param_groups": groups})
        network.load_state_dict(self.network)
        generator.set_state(self.generator)
        torch.set_rng_state(self.global_generator)


def _optimizer_state(
    tensors: dict[str, Tensor], optimizer: torch.optim.Optimizer
) -> dict[int, dict[str, Tensor]]:
    """State by the parameter's number; a parameter that never had a gradient has none."""
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, key = name.removeprefix(OPTIMIZER).partition(".")
        if not name.startswith(OPTIMIZER) or (index := parse_whole(number)) is None:
            raise ValueError(f"{name} is no part of a training")
        states.setdefault(index, {})[key] = tensor
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for index, state in states.items():
        if index >= len(parameters):
            raise ValueError(f"{OPTIMIZER}{index}: there are {len(parameters)} parameters")
        demand_fitting(state, _expected_state(optimizer, parameters[index]), finite=False)
    return states


def _expected_state(optimizer: torch.optim.Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    """Tensors with the shapes and types that the optimizer keeps for a parameter."""
    keys = OPTIMIZER_STATE[type(optimizer)]
    return {key: torch.zeros(()) if key == "step" else parameter for key in keys}


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts as they were saved; ValueError for a file that was changed since."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
        metadata = file.metadata()
    if metadata["digest"] != digest_of(tensors, metadata["training"]):
        raise ValueError("damaged")
    return tensors, json.loads(metadata["training"], parse_constant=_reject_constant)


def _reject_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def digest_of(tensors: Mapping[str, Tensor], text: str) -> str:
    """SHA-256 of all that a file holds: safetensors itself does not notice a changed bit.

    Args:
        tensors: By name.
        text: What the file says about them.

    Returns:
        64 hexadecimal digits.
    """
    content = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        content.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        content.update(flat.view(torch.uint8).numpy().data)
    return content.hexdigest()


def write(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Writes tensors as safetensors into a temporary file, which then replaces `path`.

    Args:
        tensors: By name.
        path: The file; its folder is made if need be.
        metadata: Texts that are stored with the tensors.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    os.close(handle)
    try:
        dense = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        save_file(dense, temporary, metadata)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def save_weights(network: nn.Module, path: Path, origin: dict[str, str] | None = None) -> None:
    """Writes the weights of a network as safetensors.

    Args:
        network: The network.
        path: The file; its folder is made where it is missing.
        origin: Which training the weights are of; stored in the file.
    """
    # One text: safetensors writes several in any order, and equal trainings give equal files.
    tensors, facts = network.state_dict(), origin or {}
    facts = facts | {DIGEST: digest_of(tensors, _origin_text(facts))}
    write(tensors, path, {ORIGIN: _origin_text(facts)})


def _origin_text(origin: Mapping[str, str]) -> str:
    return json.dumps(origin, sort_keys=True)


def origin_of(path: Path) -> dict[str, str]:
    """Which training the weights in a file are of, as `save_weights` stored it.

    Args:
        path: The file.

    Returns:
        The facts; empty for a file of an earlier version.

    Raises:
        DataError: The file is damaged or missing.
    """
    facts = _facts_of_weights(path)
    facts.pop(DIGEST, None)
    return facts


def _facts_of_weights(path: Path) -> dict[str, str]:
    """What a file says about its weights; see `origin_of`."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get(ORIGIN, "{}"))
        return {str(key): str(value) for key, value in facts.items()}
    except Exception as error:  # safetensors raises several unrelated types
        raise DataError(f"{path}: not the weights of a network: cut, damaged or missing") from error


def load_weights(network: nn.Module, path: Path) -> None:
    """Loads weights into a network of the same architecture.

    Args:
        network: Changed in place.
        path: A file that `save_weights` wrote.

    Raises:
        DataError: The file is damaged, or holds the weights of another network.
    """
    tensors = read_tensors(path, what := "the weights of this network")
    try:
        demand_fitting(tensors, network.state_dict())
    except ValueError as error:
        raise DataError(f"{path}: not {what}: {error}") from None
    _demand_unchanged(tensors, path)
    network.load_state_dict(tensors)


def _demand_unchanged(tensors: Mapping[str, Tensor], path: Path) -> None:
    """DataError for a file that was changed since; files of earlier versions have no digest."""
    facts = _facts_of_weights(path)
    stored = facts.pop(DIGEST, None)
    if stored is not None and stored != digest_of(tensors, _origin_text(facts)):
        raise DataError(f"{path}: damaged: its content was changed since it was written")


def demand_fitting(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, finite: bool = True
) -> None:
    """Refuses tensors that are not those of a network or of its training.

    Args:
        tensors: By name, as a file has them.
        expected: Tensors of the names, shapes and types that are needed.
        finite: Refuse numbers that are not finite; a training may continue from them.

    Raises:
        ValueError: One is missing, unknown, of another shape or type, or not finite.
    """
    if odd := sorted(tensors.keys() ^ expected.keys()):
        raise ValueError(f"tensor {odd[0]!r:.60} is missing or unknown")
    for name, own in expected.items():
        stored = tensors[name]
        if (stored.shape, stored.dtype) != (own.shape, own.dtype):
            raise ValueError(
                f"tensor {name} is {stored.dtype} {list(stored.shape)}, must be {own.dtype} "
                f"{list(own.shape)}"
            )
        if finite and not torch.isfinite(stored).all():
            raise ValueError(f"tensor {name} holds numbers that are not finite")


def read_tensors(path: Path, what: str) -> dict[str, Tensor]:
    """Reads the tensors of a safetensors file.

    Args:
        path: The file.
        what: What it should hold, for errors.

    Returns:
        name -> tensor, on the CPU.

    Raises:
        DataError: The file is missing, damaged or of another kind.
    """
    try:
        return load_file(path)
    except OSError as error:
        raise DataError(
            f"{path}: not {what}: cannot be read ({error.strerror or 'missing'})"
        ) from error
    except Exception as error:  # safetensors raises several unrelated types
        raise DataError(f"{path}: not {what}: cut, damaged or no safetensors file") from error
