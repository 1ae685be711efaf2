"""Parameters of enqueued trials, checked against the space before they are drawn.

Optuna itself ignores unknown names, and draws a number out of its range after a warning.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from nas_service.errors import NasError, did_you_mean
from nas_service.samplers.nearest import ENQUEUED
from nas_service.spaces.cell_space import CellSpace

__all__ = ["ENQUEUED", "ImpossibleTrial", "check_enqueued"]


class ImpossibleTrial(NasError):
    """Somebody enqueued a trial that the space does not contain. It fails, and only it."""


class _Checked:
    """Draws the enqueued values as a trial does, and notes which of them are impossible."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._parameters = parameters
        self.names: set[str] = set()
        self.faults: list[str] = []

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        if self._is_enqueued(name) and self._parameters[name] not in choices:
            self._note(name, f"one of {', '.join(map(str, choices))}")
        return choices[0]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        value = self._parameters.get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if self._is_enqueued(name) and not (is_number and value in range(low, high + 1, step)):
            self._note(name, f"{low}..{high}" + (f" in steps of {step}" if step > 1 else ""))
        return low

    def _is_enqueued(self, name: str) -> bool:
        self.names.add(name)
        return name in self._parameters

    def _note(self, name: str, possible: str) -> None:
        self.faults.append(f"{name} = {self._parameters[name]!r:.80}: {possible} is possible")


def check_enqueued(space: CellSpace, parameters: Mapping[str, Any]) -> None:
    """Checks the parameters that a trial was enqueued with.

    Args:
        space: The study's space.
        parameters: Values by name; the sampler draws those that are missing.

    Raises:
        ImpossibleTrial: A value is impossible, or a name is unknown. The message holds all.
    """
    if not parameters:
        return
    checked = _Checked(parameters)
    space.draw(checked)
    faults = checked.faults + [
        f"{name!r:.80} is no parameter of the space{did_you_mean(name, checked.names)}"
        for name in parameters
        if name not in checked.names
    ]
    if faults:
        raise ImpossibleTrial(f"enqueued with {'; '.join(faults)}")
