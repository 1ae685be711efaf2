"""The share of a network's input bits that are set, which its costs depend on."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nas_service.errors import DataError


@dataclass(frozen=True)
class InputDensity:
    """Share of the bits of a network's input that are set, as a chip reads them.

    Attributes:
        share: Of the bits in one time step, 0..1.
        frames: Time steps that the measured recordings were binned to; 0 for images, which are the
            same at every step.
        measured: False where the share is assumed.
        counts_bits: False where a value that is not 0 counts as all of its bits, as in studies
            that were begun before densities were stored.
    """

    share: float = 1.0
    frames: int = 0
    measured: bool = True
    counts_bits: bool = True

    def at(self, time_steps: Any) -> Any:
        """The share in one of `time_steps` steps.

        Bins of other sizes hold the same events: the bits of a recording are taken as constant.

        Args:
            time_steps: Steps of an inference, a number or an array.

        Returns:
            The share, 0..1, in the shape of `time_steps`.
        """
        if not self.frames:
            return self.share + 0 * time_steps
        return np.minimum(self.share * self.frames / time_steps, 1.0)

    @property
    def text(self) -> str:
        """The density for people."""
        origin = "measured" if self.measured else "assumed; --data FOLDER measures it"
        if not self.counts_bits:
            origin = "as the study's earlier trainings counted them"
        steps = f" in each of {self.frames} time steps" if self.frames else ""
        return f"input: {100 * self.share:.3g} % of its bits are set{steps} ({origin})"

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> "InputDensity":
        """The inverse of `to_json`.

        Raises:
            DataError: It is no density.
        """
        if not isinstance(data, dict) or not data.keys() == KINDS.keys():
            raise DataError(f"input density {data!r:.80}: a table of {', '.join(KINDS)} is needed")
        if wrong := [k for k, v in data.items() if type(v) not in KINDS[k]]:
            raise DataError(
                f"input density: {wrong[0]} = {data[wrong[0]]!r:.80} is of a wrong type"
            )
        density = cls(**data)
        if not (0 <= density.share <= 1 and density.frames >= 0):
            raise DataError(f"input density {data!r:.80}: a share 0..1 and frames >= 0 are needed")
        return density


KINDS: dict[str, tuple[type, ...]] = {
    "share": (float, int),
    "frames": (int,),
    "measured": (bool,),
    "counts_bits": (bool,),
}
ASSUMED = InputDensity(measured=False)  # every bit is set
LEAST = InputDensity(share=0.0, measured=False)
