"""The layers that candidates of a space can have, of which equal ones are one.

S shapes, L slots, O operations, F numbers of a layer, K distinct layers.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw_models import LayerTable
from hw_models.layer_index import without_graph
from hw_models.layer_table import NUMBERS
from nas_service.spaces.batch import Index

POOLED = 1  # in a layer's variant: the head alone reads it, and pools it
MOST_KEYS = 2**22  # that are numbered by a table of all
MOST_NUMBERS = 2**62  # that one whole number can hold
READ, MAP, FIRST = range(3)  # columns beside the numbers of a layer


@dataclass(frozen=True, eq=False)
class ShapeTable:
    """Layers of every shape, in every slot, under every operation; the last is no operation."""

    kinds: Index  # [S, L, O + 1] which of the layers
    numbers: NDArray[np.float64]  # [K, F] of a layer
    beside: NDArray[np.float64]  # [K, 3] bits that the head reads, values of a map, 1 in slot 0

    @classmethod
    def of(
        cls, numbers: NDArray[np.float64], maps: NDArray[np.float64], width: int
    ) -> "ShapeTable":
        """Numbers the layers that differ.

        Args:
            numbers: Of every layer [S, L, O + 1, F].
            maps: Values of a node of each cell [S, cells].
            width: Slots of a cell and the layer after it.

        Returns:
            The distinct layers.
        """
        beside = np.zeros((*numbers.shape[:-1], 3))
        channels, bits = NUMBERS.index("in_channels"), NUMBERS.index("input_bits")
        head = numbers[:, -2, 0]
        beside[:, -2 - width :, :, READ] = (head[:, channels] * head[:, bits])[:, None, None]
        for cell in range(maps.shape[1]):
            beside[:, width * (cell + 1), :, MAP] = maps[:, cell, None]
        beside[:, 0, :, FIRST] = 1
        rows = np.concatenate([numbers, beside], -1)
        distinct, kinds = np.unique(rows.reshape(-1, rows.shape[-1]), axis=0, return_inverse=True)
        own = numbers.shape[-1]
        return cls(kinds.reshape(rows.shape[:-1]), distinct[:, :own], distinct[:, own:])

    def layers(self, kind: Index, steps: Index, variant: Index, bits: Index) -> LayerTable:
        """Layers [K] of these kinds.

        Args:
            kind: Positions among the distinct layers.
            steps: Time steps of an inference.
            variant: Twice the maps that are added up before the layer, and POOLED.
            bits: Of a weight.

        Returns:
            The layers, with spike rates of 0.
        """
        numbers, beside = self.numbers[kind].T.copy(), self.beside[kind].T
        columns = dict(zip(NUMBERS, numbers, strict=True))
        columns["input_adds"] = columns["input_adds"] + (variant // 2) * beside[MAP]
        columns["weight_bits"] = np.where(columns["out_channels"] > 0, bits, 1).astype(np.float64)
        sent = columns["out_channels"] * columns["pooled_pixels"]
        least = np.minimum(beside[READ], columns["out_channels"] * columns["pixels"])
        return without_graph(
            **columns,
            # Only the head pools what it reads; see `Workload.sent_bits`.
            sent_bits=np.where(variant % 2 == POOLED, least, sent),
            rates=np.zeros((len(kind), 1)),
            time_steps=steps.astype(np.float64),
        )


@dataclass(frozen=True, eq=False)
class Keys:
    """What things differ in, as columns [K] of the combinations that occur."""

    columns: tuple[Index, ...]
    which: Index  # positions in the columns, of the shape of what was numbered

    @classmethod
    def of(cls, *parts: Index) -> "Keys":
        """The distinct combinations of whole numbers from 0, in arrays that fit together."""
        sizes = [int(part.max()) + 1 for part in parts]
        if math.prod(sizes) >= MOST_NUMBERS:
            all_parts = np.broadcast_arrays(*parts)
            rows = np.stack([part.ravel() for part in all_parts])
            columns, which = np.unique(rows, axis=1, return_inverse=True)
            return cls(tuple(columns), which.reshape(all_parts[0].shape))
        keys = np.zeros(1, dtype=np.intp)
        for part, size in zip(parts, sizes, strict=True):
            keys = keys * size + part
        distinct, which = _numbered(keys, math.prod(sizes))
        return cls(np.unravel_index(distinct, sizes), which)


def _numbered(keys: Index, count: int) -> tuple[Index, Index]:
    """The keys that occur, in ascending order, and the position of each key among them."""
    if count > MOST_KEYS:
        distinct, which = np.unique(keys, return_inverse=True)
        return distinct, which.reshape(keys.shape)
    occurs = np.zeros(count, dtype=np.bool_)
    occurs[keys] = True
    distinct = np.flatnonzero(occurs)
    numbers = np.empty(count, dtype=np.intp)
    numbers[distinct] = np.arange(len(distinct))
    return distinct, numbers[keys]
