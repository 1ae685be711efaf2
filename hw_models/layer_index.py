"""N workloads as choices among the few distinct layers that occur in them. K distinct layers."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw_models.layer_table import Array, LayerTable

OWN = ("sources", "loops", "time_steps")  # of a workload's graph, not of a layer


@dataclass(frozen=True, eq=False)
class LayerIndex:
    """N workloads of L layers, whose figures need to be computed for the distinct layers alone."""

    distinct: LayerTable  # [K], as if they were one workload; time_steps and rates are per layer
    which: NDArray[np.intp]  # [N, L] positions among the distinct layers
    sources: NDArray[np.intp]  # as those of a LayerTable [N, L, P]
    loops: NDArray[np.intp]  # [N, L]
    time_steps: Array  # [N, 1]

    @classmethod
    def of(cls, table: LayerTable) -> "LayerIndex":
        """The same workloads, of which equal layers are one.

        Args:
            table: N workloads.

        Returns:
            The workloads; their layers in the order in which they occur first.
        """
        shape = table.taps.shape
        columns = {f.name: getattr(table, f.name) for f in fields(table) if f.name not in OWN}
        columns["time_steps"] = np.broadcast_to(table.time_steps, shape)
        flat = {name: x.reshape(table.taps.size, -1) for name, x in columns.items()}
        rows, seen = np.concatenate(list(flat.values()), -1), dict[bytes, int]()
        which = np.array([seen.setdefault(row.tobytes(), len(seen)) for row in rows], np.intp)
        first = np.unique(which, return_index=True)[1]
        parts = {name: x[first] if name == "rates" else x[first, 0] for name, x in flat.items()}
        distinct = without_graph(**parts)
        return cls(distinct, which.reshape(shape), table.sources, table.loops, table.time_steps)

    def table(self) -> LayerTable:
        """The same workloads with a column for every layer [N, L]."""
        columns = {
            f.name: getattr(self.distinct, f.name)[self.which]
            for f in fields(self.distinct)
            if f.name not in OWN
        }
        return LayerTable(**columns, **{name: getattr(self, name) for name in OWN})

    def of_layers(self, values: Any) -> Any:
        """Numbers of the distinct layers [K] for every layer of every workload [N, L]."""
        return values[self.which]

    def part(self, rows: slice | NDArray[np.intp]) -> "LayerIndex":
        """Some of the N workloads."""
        own = {name: getattr(self, name)[rows] for name in ("which", *OWN)}
        return LayerIndex(self.distinct, **own)

    def with_rates(self, rates: Array) -> "LayerIndex":
        """The same layers with other spike rates of the distinct ones [K]."""
        return replace(self, distinct=replace(self.distinct, rates=rates[:, None]))

    def __len__(self) -> int:
        """Number N of workloads."""
        return len(self.which)


def without_graph(**columns: Array) -> LayerTable:
    """Layers [K] that read nothing and are in no loop, for figures that depend on neither."""
    count = len(columns["taps"])
    return LayerTable(
        **columns,
        sources=np.full((count, 1), -1, dtype=np.intp),
        loops=np.zeros(count, dtype=np.intp),
    )
