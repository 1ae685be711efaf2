"""Figures that a network does not say and its costs need."""

from dataclasses import asdict, dataclass
from typing import Any

NAMED = 3  # layers that a text names before it only counts them


@dataclass(frozen=True)
class Assumption:
    """A figure that was assumed for layers of a network.

    Args:
        figure: Its key in a layer list.
        value: What was assumed.
        layers: Names of the layers; empty for all.
        remedy: Where it can be said: an option of `nas cost`, or a key of the file.
    """

    figure: str
    value: Any
    layers: tuple[str, ...]
    remedy: str

    @property
    def text(self) -> str:
        """The assumption as one line, with the place where the figure can be said."""
        return f"{self.figure} = {self.value} in {self._places()} ({self.remedy} says it)"

    def _places(self) -> str:
        if not self.layers:
            return "all layers"
        rest = len(self.layers) - NAMED
        return ", ".join(self.layers[:NAMED]) + (f" and {rest} more" if rest > 0 else "")

    @classmethod
    def from_json(cls, data: Any) -> "Assumption":
        """The inverse of `to_json`."""
        texts = {name: str(data[name]) for name in ("figure", "remedy")}
        return cls(**texts, value=data["value"], layers=tuple(map(str, data["layers"])))

    def to_json(self) -> dict[str, Any]:
        """The assumption as JSON values."""
        return asdict(self) | {"layers": list(self.layers)}
