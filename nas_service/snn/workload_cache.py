"""Workloads of a whole space without building its networks. N candidates, K cells, L layers.

Every operation keeps the shape of its map, so what an edge costs depends on the sizes and on its
own operation alone: a candidate is a choice among the layers of all edges with all operations.
"""

import itertools
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw_models import LayerTable, Workload
from hw_models.layer_index import LayerIndex
from hw_models.layer_table import NOTHING, NUMBERS, numbers_of
from nas_service.snn.block_layers import BlockLayers, Blocks
from nas_service.snn.shape_table import POOLED, Keys, ShapeTable
from nas_service.snn.wiring import Maps, wired
from nas_service.spaces.architecture import Architecture, widths_of
from nas_service.spaces.batch import CandidateBatch, Index
from nas_service.spaces.cell import EDGE_NAMES, EDGES
from nas_service.spaces.cell_space import CellSpace
from nas_service.spaces.cell_table import ALL_CELLS, CellTable, Slot
from nas_service.spaces.operations import BACK, OPERATIONS
from nas_service.spaces.task import Task

Shape = tuple[int | tuple[int, ...], int, int]  # channels, head_pool, hidden: all they depend on


@dataclass(frozen=True, eq=False)
class WorkloadCache:
    """Layers of every candidate of a space."""

    space: CellSpace
    task: Task
    votes: int = 1
    _composed: dict[Shape, tuple[Blocks, Maps]] = field(default_factory=dict, repr=False)
    _bodies: dict[tuple[int, ...], tuple[Blocks, Maps]] = field(default_factory=dict, repr=False)
    _numbers: dict[Shape, tuple[NDArray[np.float64], Maps]] = field(
        default_factory=dict, repr=False
    )
    _tables: dict[Any, ShapeTable] = field(default_factory=dict, repr=False)

    def workload(self, architecture: Architecture) -> Workload:
        """The workload of one candidate: what `trace` returns, without building a network."""
        a = architecture
        blocks, maps = self._blocks((a.channels, a.head_pool, a.hidden))
        layers = {name: layer for (name, operation), layer in blocks.items() if not operation}
        for k, cell in enumerate(a.cells):
            for edge in cell.live().edges:
                name = cell.operations[edge.pair].removeprefix(BACK)
                for matrix in edge.operation.suffixes:
                    layer = blocks[f"cell{k}.edge{EDGE_NAMES[edge.pair]}{matrix}", name]
                    layers[f"cell{k}.edge{edge.name}{matrix}"] = layer
        return wired(a, layers, maps)

    def _blocks(self, shape: Shape) -> tuple[Blocks, Maps]:
        """Layers by block and operation; the operation is empty outside of cells."""
        if shape not in self._composed:
            widths = widths_of(shape[0], self.space.cells)
            body, maps = self._body(widths)
            self._composed[shape] = {**body, **self._layers.head(widths, *shape[1:])}, maps
        return self._composed[shape]

    def _body(self, widths: tuple[int, ...]) -> tuple[Blocks, Maps]:
        """Layers before the head, which depend on the channels alone."""
        if widths not in self._bodies:
            self._bodies[widths] = self._layers.body(widths)
        return self._bodies[widths]

    @cached_property
    def _layers(self) -> BlockLayers:
        space = self.space
        return BlockLayers(self.task, space.operations, space.stem_stride, self.votes)

    # --- many candidates ---------------------------------------------------------------------

    def table(self, batch: CandidateBatch) -> LayerTable:
        """The workloads of many candidates, as arrays.

        Args:
            batch: N candidates of the space.

        Returns:
            Layers in the order of `workload` [N, L]; edges without weights are empty layers.
            Spike rates are 0, so that costs are the least that a candidate can have.
        """
        return self.index(batch).table()

    def index(self, batch: CandidateBatch) -> LayerIndex:
        """The workloads of many candidates, as choices among the layers that occur in them.

        Args:
            batch: N candidates of the space.

        Returns:
            As `table`; the first layer of a candidate is never one that follows in another.
        """
        shapes, which = self._shapes(batch)
        cells, picked = self._cells_of(batch)
        count, slots, width = len(which), self._slots, len(self.slots) + 1
        operations = np.zeros((count, slots), dtype=np.intp)
        sources = np.full((count, slots, cells.reads.shape[-1]), -1, dtype=np.intp)
        sources[:, -1, 0] = slots - 2
        loops, variants = np.zeros((2, count, slots), dtype=np.intp)
        for k, cell in enumerate(picked.T):
            inside = slice(width * k + 1, width * (k + 1))
            follow = width * (k + 1)
            operations[:, inside] = cells.operations[cell]
            loops[:, inside] = (k + 1) * cells.loops[cell]
            reads = cells.reads[cell]
            sources[:, inside.start : follow + 1] = np.where(reads < 0, -1, reads + width * k)
            variants[:, follow] = 2 * cells.additions[cell]
        alone = cells.alone[picked[:, -1]]
        rows = np.flatnonzero(alone >= 0)
        variants[rows, follow - width + alone[rows]] += POOLED
        bits = np.asarray(self._bits(batch), dtype=np.intp)
        steps = batch.sizes["time_steps"][:, None]
        kinds = shapes.kinds[which[:, None], np.arange(slots), operations]
        keys = Keys.of(kinds, steps, variants, bits)
        distinct = shapes.layers(*keys.columns)
        return LayerIndex(distinct, keys.which, sources, loops, steps.astype(np.float64))

    def connected(self, batch: CandidateBatch) -> NDArray[np.bool_]:
        """Candidates whose every cell lets its input through [N]."""
        cells, picked = self._cells_of(batch)
        return np.asarray(cells.connected[picked].all(-1))

    def live_operations(self, batch: CandidateBatch) -> Index:
        """Numbers of the operations on live edges, one more than any for none [N, K, E]."""
        cells, picked = self._cells_of(batch)
        return np.asarray(cells.live_operations[picked])

    def live_operations_of(self, cells: Index) -> Index:
        """The same of cells by their numbers [C, E]."""
        if self.space.cell_count <= ALL_CELLS:
            return np.asarray(self._all_cells.live_operations[cells])
        return CellTable.of(cells, self.space.states, self.slots).live_operations

    @cached_property
    def directed_edges(self) -> tuple[Slot, ...]:
        """Edges in each direction that they can have in the space, E of them."""
        return tuple(slot for slot in self.slots if slot.matrix == 0)

    @property
    def layers_after_cells(self) -> list[int]:
        """Positions of the layers that read the cells [K]."""
        return [(len(self.slots) + 1) * (k + 1) for k in range(self.space.cells)]

    def _bits(self, batch: CandidateBatch) -> NDArray[np.float64]:
        """Weight bits of every slot [N, L], or of all slots [N, 1]."""
        if not self.space.bit_names:
            return batch.sizes["weight_bits"][:, None]
        parts = self.space.bits_of == "part"
        names = [_bit_name(block, parts) for block in self._block_names]
        return np.stack([batch.sizes[f"weight_bits_{n}"] for n in names], -1)

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """Places for the weight matrices of one cell."""
        most = max((len(OPERATIONS[n].matrices) for n in self.space.operations), default=0)
        directions = (True, False) if self.space.backward else (False,)
        places = itertools.product(directions, range(len(EDGES)), range(max(1, most)))
        return tuple(Slot(pair, backward, matrix) for backward, pair, matrix in places)

    @property
    def _slots(self) -> int:
        """L: the stem, every cell's slots and the layer after them, the readout."""
        return (len(self.slots) + 1) * self.space.cells + 2

    @cached_property
    def _block_names(self) -> list[str]:
        """Names of all slots in the order they run; of an edge, whatever matrix it holds."""
        names = ["stem"]
        for k in range(self.space.cells):
            names += [f"cell{k}.edge{EDGE_NAMES[slot.pair]}" for slot in self.slots]
            names.append(f"reduction{k}" if k + 1 < self.space.cells else "hidden")
        return [*names, "readout"]

    def _cells_of(self, batch: CandidateBatch) -> tuple[CellTable, Index]:
        """Cells as arrays, and which of them each candidate has [N, K]."""
        if self.space.cell_count <= ALL_CELLS:
            return self._all_cells, batch.cells
        numbers, picked = np.unique(batch.cells, return_inverse=True)
        table = CellTable.of(numbers, self.space.states, self.slots)
        return table, picked.reshape(batch.cells.shape)

    @cached_property
    def _all_cells(self) -> CellTable:
        numbers = np.arange(self.space.cell_count)
        return CellTable.of(numbers, self.space.states, self.slots)

    def _shapes(self, batch: CandidateBatch) -> tuple[ShapeTable, Index]:
        """Layers of every shape that was drawn, and which one each candidate has [N]."""
        names = [n for n in batch.sizes if n.startswith("channels")]
        keys = Keys.of(*(batch.sizes[name] for name in (*names, "head_pool", "hidden")))
        distinct = np.stack(keys.columns, -1).tolist()
        shapes = [(*channels, pool, hidden) for *channels, pool, hidden in distinct]
        if "channels" not in names:
            shapes = [(tuple(shape[:-2]), *shape[-2:]) for shape in shapes]
        return self._shape_table(tuple(shapes)), keys.which

    def _shape_table(self, shapes: tuple[Any, ...]) -> ShapeTable:
        """Layers of these shapes; kept for the batches that follow, which mostly have the same."""
        if shapes not in self._tables:
            self._tables.clear()
            each = [self._shape_numbers(shape) for shape in shapes]
            maps = np.array([maps for _, maps in each], dtype=np.float64)
            numbers = np.stack([numbers for numbers, _ in each])
            self._tables[shapes] = ShapeTable.of(numbers, maps, len(self.slots) + 1)
        return self._tables[shapes]

    def _shape_numbers(self, shape: Shape) -> tuple[NDArray[np.float64], Maps]:
        """Numbers of each slot under each operation [L, O + 1, F]; the last is no operation."""
        if shape not in self._numbers:
            blocks, maps = self._blocks(shape)
            numbers = np.empty((self._slots, len(self.space.operations) + 1, len(NUMBERS)))
            numbers[:] = NOTHING
            width = len(self.slots) + 1
            for i, name in enumerate(self._block_names):
                if name.startswith("cell"):
                    self._fill_slot(numbers[i], blocks, name, self.slots[(i - 1) % width].matrix)
                else:
                    numbers[i] = numbers_of(blocks[name, ""])
            self._numbers[shape] = numbers, maps
        return self._numbers[shape]

    def _fill_slot(
        self, numbers: NDArray[np.float64], blocks: Blocks, name: str, matrix: int
    ) -> None:
        """Numbers of one slot of an edge, under each operation that has this matrix."""
        for at, operation in enumerate(self.space.operations):
            suffixes = OPERATIONS[operation].suffixes
            if matrix < len(suffixes):
                numbers[at] = numbers_of(blocks[name + suffixes[matrix], operation])


def _bit_name(block: str, parts: bool) -> str:
    """The parameter that holds a block's bits, without its `weight_bits_`."""
    return block.partition(".")[0] if parts else block.replace(".", "_")
