"""The images that a study's candidates see: one split, for every number of time steps."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from nas_service.data import source_of
from nas_service.data.dataset import Source
from nas_service.data.density import density_of, frame_shares
from nas_service.data.images import Images, Split, split
from nas_service.spaces.input_density import InputDensity
from nas_service.study.spec import StudySpec

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class StudyImages:
    """Training, validation and test images of a study, read when they are first needed."""

    spec: StudySpec
    source: Source
    folder: Path
    data: Split  # with the fewest time steps of the space
    _splits: dict[int, Split] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, spec: StudySpec, folder: Path, source: Source | None = None) -> "StudyImages":
        """Reads a study's training and validation images, and logs the notes on their files.

        Args:
            spec: The study.
            folder: Where the data sets are.
            source: The study's data set, where it is open already.

        Returns:
            The images; test images are read when they are asked for.

        Raises:
            DataError: The data are missing or damaged.
        """
        source, steps = source or source_of(spec.data), min(spec.space.time_steps)
        data = _split(spec, source, folder, steps)
        for note in data.train.notes:
            log.warning("%s", note)
        return cls(spec, source, folder, data, {steps: data})

    @property
    def digest(self) -> str:
        """16 hex digits of the training and validation images."""
        return self.data.train.digest[:8] + self.data.validation.digest[:8]

    def density(self, counts_bits: bool = True) -> InputDensity:
        """The density of the training images' bits, with the fewest time steps of the space.

        Args:
            counts_bits: See `InputDensity`.

        Returns:
            The density, measured.
        """
        return density_of(self.data.train, counts_bits)

    def input_rates(
        self, density: InputDensity, time_steps: int
    ) -> dict[str, float | tuple[float, ...]]:
        """Share of the input's bits that are set, by the name of the layer that reads them.

        Args:
            density: Of the study.
            time_steps: Steps of an inference.

        Returns:
            One number of images, one for each step of recordings; empty where the density counts
            no bits, so that what the layer read has to be measured.
        """
        if not density.counts_bits:
            return {}
        if not self.source.task.events:
            return {"stem": density.share}
        return {"stem": tuple(frame_shares(self.split(time_steps).train).tolist())}

    def split(self, time_steps: int) -> Split:
        """Training and validation images; a recording of events has `time_steps` frames."""
        if not self.source.task.events:
            return self.data
        if time_steps not in self._splits:
            self._splits[time_steps] = _split(self.spec, self.source, self.folder, time_steps)
        return self._splits[time_steps]

    def test(self, time_steps: int) -> Images:
        """Test images, scaled as the training images are."""
        images = self.source.read_test(self.folder, time_steps)
        return images.scaled(self.data.mean, self.data.deviation)


def _split(spec: StudySpec, source: Source, folder: Path, time_steps: int) -> Split:
    held_out = spec.data.validation_samples or source.validation_samples
    images = source.read_train(folder, time_steps)
    return split(images, spec.data.train_samples, held_out, spec.data.split_seed)
