"""What a layer reads of the maps of its sources: whether it fits, and what is pooled and sent."""

import math
from collections.abc import Iterator, Sequence

from hw_models.layer import Layer, Side, area, pair


def fits(layer: Layer, sources: Sequence[Layer]) -> bool:
    """True where a layer reads the sum or the concatenation of the maps of these layers.

    Other readers, of a part of a map or of regrouped channels, are `rearranged`.

    Args:
        layer: The reader.
        sources: The layers it reads; none for the image.

    Returns:
        Whether channels and map of the layer are those of its sources.
    """
    return misfit(layer, sources) is None


def misfit(layer: Layer, sources: Sequence[Layer]) -> tuple[str, str] | None:
    """What keeps a layer from reading its sources.

    Args:
        layer: The reader.
        sources: The layers it reads; none for the image.

    Returns:
        The key that does not fit and what would be right; None where all fits.
    """
    if not sources:
        return None
    channels = _channels(sources)
    if layer.kind == "linear":
        if _joined(layer, sources) or any(
            _flattened(layer.in_channels, c, sources) for c in channels
        ):
            return None
        right = " or ".join(f"{c} times the {sources[0].map_pixels}" for c in sorted(channels))
        square = " (or of a smaller square)" if isinstance(sources[0].map_size, int) else ""
        place = f"pixels of the map of {sources[0].name!r}{square}"
        return "in_channels", f"{right} {place}, or rearranged = true,"
    if layer.in_channels not in channels:
        right = " or ".join(map(str, sorted(channels)))
        return "in_channels", f"{right}, the channels of {_names(sources)}, or rearranged = true,"
    for source in sources:
        if source.map_size != layer.in_size and not _divides(layer.in_size, source.map_size):
            return "in_size", f"{source.map_size}, the map of {source.name!r}, or a part of it,"
    return None


def _divides(part: Side, whole: Side) -> bool:
    """True where whole windows of pixels make the smaller map of the larger one."""
    return not any(n % size for n, size in zip(pair(whole), pair(part), strict=True))


def _names(sources: Sequence[Layer]) -> str:
    return " and ".join(repr(x.name) for x in sources[:3])


def _channels(sources: Sequence[Layer]) -> set[int]:
    """Channels of the concatenation of maps, and of their sum if they have equally many."""
    channels = {x.out_channels for x in sources}
    return {sum(x.out_channels for x in sources), *(channels if len(channels) == 1 else ())}


def reads_free_poolings(layer: Layer, sources: Sequence[Layer]) -> bool:
    """True where a layer reads pooled maps without the additions for all of them.

    Args:
        layer: The reader.
        sources: The layers it reads.

    Returns:
        Whether some of its poolings are charged to nobody.
    """
    return layer.input_adds < sum(_pooled_maps(layer, sources).values())


def uncharged_poolings(
    layers: Sequence[Layer], predecessors: Sequence[Sequence[int]]
) -> Iterator[tuple[Layer, Layer, int]]:
    """The poolings between layers that nobody is charged for.

    A map that several layers read pooled alike is charged once, to any of them.

    Args:
        layers: The layers of a network.
        predecessors: Positions of the layers that each layer reads.

    Yields:
        A reader, the source whose map it reads pooled, and the pixels that it reads of it.
    """
    charged: set[tuple[str, int]] = set()
    free = []
    for layer, read in zip(layers, predecessors, strict=True):
        pooled = _pooled_maps(layer, [layers[i] for i in read])
        unpaid = {key: adds for key, adds in pooled.items() if key not in charged}
        if layer.input_adds >= sum(unpaid.values()):
            charged |= unpaid.keys()
        else:
            free += [(layer, *key) for key in unpaid]
    named = {x.name: x for x in layers}
    yield from ((x, named[name], n) for x, name, n in free if (name, n) not in charged)


def sent_bits(layers: Sequence[Layer], reads: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Bits that each layer sends in a time step.

    What one reader reads pooled, and nothing else, is pooled before it is sent, whichever of the
    two is charged for it: as values of the reader's bits, or as the spikes of the whole map where
    these are fewer. All other layers send a bit for each value of their map.

    Args:
        layers: The layers of a network.
        reads: Positions of the layers that each layer reads, in the same time step and late.

    Returns:
        Bits by layer.
    """
    sent = [0] * len(layers)
    for layer, read in zip(layers, reads, strict=True):
        for i in read:
            source = layers[i]
            taken = source.map_pixels if len(read) > 1 else _taken_bits(layer, source)
            sent[i] = max(sent[i], taken)
    each = zip(layers, sent, strict=True)
    return tuple(x.out_channels * (bits or x.map_pixels) for x, bits in each)


def _taken_bits(layer: Layer, source: Layer) -> int:
    """Bits that a layer takes of each channel of the only layer that it reads."""
    whole = layer.rearranged or _joined(layer, [source])
    pixels = source.map_pixels if whole else _read_map(layer, source, [source])[0]
    return min(source.out_pixels, pixels * layer.input_bits)


def _pooled_maps(layer: Layer, sources: Sequence[Layer]) -> dict[tuple[str, int], int]:
    """Additions for each source whose map a layer reads pooled, by its name and the pixels read."""
    if layer.rearranged or not sources or _joined(layer, sources):
        return {}
    read = ((x, *_read_map(layer, x, sources)) for x in sources)
    return {
        (x.name, pixels): x.out_channels * pixels * (taps - 1)
        for x, pixels, taps in read
        if taps > 1
    }


def _read_map(layer: Layer, source: Layer, sources: Sequence[Layer]) -> tuple[int, int]:
    """Pixels that a layer reads of a source's map, and how many of the map each is made of."""
    size = layer.in_size
    if layer.kind == "linear":
        fitting = (c for c in _channels(sources) if _flattened(layer.in_channels, c, sources))
        pixels = layer.in_channels // min(fitting)
        size = source.map_size if pixels == source.map_pixels else math.isqrt(pixels)
    taps = (n // part for n, part in zip(pair(source.map_size), pair(size), strict=True))
    return area(size), math.prod(taps)


def _joined(layer: Layer, sources: Sequence[Layer]) -> bool:
    """True for all values of all sources, side by side."""
    return layer.in_channels == sum(x.out_channels * x.map_pixels for x in sources)


def _flattened(features: int, channels: int, sources: Sequence[Layer]) -> bool:
    """True for channels times each source's map, or a square that pooling can make of it."""
    pixels, rest = divmod(features, channels)
    if rest or not pixels:
        return False
    side = math.isqrt(pixels)
    square = side**2 == pixels
    return all(
        pixels == x.map_pixels or (square and side <= min(pair(x.map_size))) for x in sources
    )
