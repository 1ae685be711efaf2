"""The density of a data set's bits. N images, T frames, C channels, H W pixels."""

import numpy as np
from numpy.typing import NDArray

from nas_service.data.images import Images, Pixels
from nas_service.spaces.input_density import InputDensity
from nas_service.spaces.task import PIXEL_BITS

SAMPLE_B = 2**24  # of pixels that are read to measure a density
LARGEST = 2**PIXEL_BITS - 1  # of the values that a chip is given: higher counts of events are cut


def density_of(images: Images, counts_bits: bool = True) -> InputDensity:
    """Measures the density of images or recordings, of a large data set in a sample.

    Args:
        images: The images.
        counts_bits: False to count a value that is not 0 as all of its bits. Of scaled images
            this is every value.

    Returns:
        The density; recordings keep their number of frames.
    """
    frames = images.shape[0] if images.stock.events else 0
    if not counts_bits and not frames:
        return InputDensity(counts_bits=False)
    shares = frame_shares(images, counts_bits)
    return InputDensity(float(shares.mean()), frames, counts_bits=counts_bits)


def frame_shares(images: Images, counts_bits: bool = True) -> NDArray[np.float64]:
    """Share of set bits in each frame of recordings [T], or of images [1].

    Args:
        images: The images.
        counts_bits: False to count a value that is not 0 as all of its bits.

    Returns:
        The shares, 0..1.
    """
    pixels = _sample(images)
    axes = (0, 2, 3, 4) if images.stock.events else (0, 1, 2, 3)
    each = pixels.size // (pixels.shape[1] if images.stock.events else 1)
    if counts_bits:
        set_bits = np.bitwise_count(np.minimum(pixels, LARGEST)).sum(axes, dtype=np.int64)
        return np.atleast_1d(set_bits / (each * PIXEL_BITS))
    return np.atleast_1d((pixels != 0).sum(axes, dtype=np.int64) / each)


def _sample(images: Images) -> Pixels:
    """Pixels of at most SAMPLE_B bytes of the images, at equal distances."""
    pixels = images.stock.pixels
    most = max(1, SAMPLE_B // max(1, pixels[:1].nbytes))
    step = -(-len(images) // most)
    return pixels[images.rows[::step]]
