"""What a network is for: square images, or frames of events, and their classes."""

from dataclasses import dataclass

from nas_service.errors import SpecError

PIXEL_BITS = 8  # of a pixel of an image, or of a count of events
LARGEST_PIXEL, LARGEST_COUNT = 2**8 - 1, 2**16 - 1


@dataclass(frozen=True)
class Task:
    """Classification of images [channels, size, size] into classes.

    With `events`, a sample is a recording binned into one frame [channels, size, size] per time
    step; without, it is one image that is the same at every step (direct encoding).
    """

    channels: int
    size: int
    classes: int
    events: bool = False
    largest_pixel: int = LARGEST_PIXEL  # value that a pixel of an image can have

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Of one image or frame."""
        return self.channels, self.size, self.size

    @property
    def encoding(self) -> str:
        """How images become spikes: `direct`, or `events` for recordings."""
        return "events" if self.events else "direct"

    @property
    def largest(self) -> int:
        """The largest value of a sample: of a pixel, or of a count of events."""
        return LARGEST_COUNT if self.events else self.largest_pixel

    @property
    def chance(self) -> float:
        """Accuracy of a guess, 0..1: the fallback for a candidate that is not trained."""
        return 1 / self.classes

    def last_side(self, cells: int, stem_stride: int = 1) -> int:
        """Side of the last cell's map; every cell after the first halves it.

        Args:
            cells: Number of cells.
            stem_stride: Stride of the stem's convolution.

        Returns:
            The side in pixels.

        Raises:
            SpecError: An odd side would be halved.
        """
        side = (self.size - 1) // stem_stride + 1
        halvings = int(2 ** (cells - 1))
        if side % halvings:
            raise SpecError(
                f"cells = {cells}: maps of {side} pixels do not halve {cells - 1} times, "
                f"{side / halvings:g} pixels would be left"
            )
        return side // halvings

    def head_side(self, cells: int, head_pool: int, stem_stride: int = 1) -> int:
        """Side of the map that the classifier reads.

        Args:
            cells: Number of cells.
            head_pool: Side of the average pooling before the classifier; 0 pools the whole map.
            stem_stride: Stride of the stem's convolution.

        Returns:
            The side in pixels.

        Raises:
            SpecError: The sizes do not divide.
        """
        side = self.last_side(cells, stem_stride)
        if side % (head_pool or side):
            raise SpecError(
                f"head_pool = {head_pool}: images of {self.size} pixels leave a map of "
                f"{side} pixels after {cells} cells, which {head_pool} does not divide"
            )
        return side // (head_pool or side)
