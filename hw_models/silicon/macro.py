"""One crossbar with its drivers and converters, and a product that it computes."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from hw_models.parameters import Bounds

Sensing = Literal["clamp", "follower", "line", "charge", "digital"]


@dataclass(frozen=True)
class Macro:
    """Structure of a crossbar: what its designers chose, nothing that was measured.

    sensing: how a column is read.
        clamp: an amplifier holds the column's voltage and mirrors its current
        follower: cells drive the column as source followers
        line: cells charge or discharge the column, whose voltage or delay is converted
        charge: each cell moves charge of its own capacitor to the column
        digital: gates in the array, no conversion
    coding: how an input of several bits drives its row.
        levels: bits_per_read bits at once, as one voltage if they are several
        pulses: as many pulses as the input's value
        phases: up to three bits of its magnitude at a time, each as pulses (NeuRRAM)
    """

    node: Annotated[float, Bounds("nm", 5, 350)]
    device: Literal["rram", "sram"]
    sensing: Sensing
    rows: Annotated[int, Bounds("count", 1, 65536)]  # driven in one product
    sums: Annotated[int, Bounds("count", 1, 2**20)]  # converted in one product
    cells_per_sum: Annotated[int, Bounds("count", 1, 1024)]  # of one row
    cell_area: Annotated[float, Bounds("F2", 4, 10000)]
    coding: Literal["levels", "pulses", "phases"]
    bits_per_read: Annotated[int, Bounds("bits", 1, 16)]
    converter: Literal["sar", "flash", "tdc", "integrator", "none"]
    converters: Annotated[int, Bounds("count", 0, 2**20)]
    stored: Annotated[int, Bounds("count", 1, 1024)] = 1  # cells of which one at a time computes
    lines: Annotated[int, Bounds("count", 0, 65536)] = 0  # that have drivers; 0: one a row
    on_resistance: Annotated[float, Bounds("kOhm", 0.1, 1e6)] = 20.0
    off_resistance: Annotated[float, Bounds("kOhm", 0.1, 1e6)] = 200.0
    integration_time: Annotated[float, Bounds("ns", 0, 1e6)] = 0.0  # of an integrator; 0: unknown
    step_time: Annotated[float, Bounds("ns", 0, 1e6)] = 0.0  # of it for a bit; 0: unknown
    clock: Annotated[float, Bounds("MHz", 0, 1e5)] = 0.0  # of the converters; 0: unknown

    @property
    def kind(self) -> str:
        """What its cells are, in a word."""
        return "digital" if self.sensing == "digital" else self.device.upper()

    @property
    def cells(self) -> int:
        """Cells that one product reads."""
        return self.rows * self.sums * self.cells_per_sum

    @property
    def pitch_um(self) -> float:
        """Side of a cell, as if it were square."""
        return math.sqrt(self.cell_area) * self.node * 1e-3

    @property
    def mean_conductance_S(self) -> float:
        """Of a cell: half of them are on."""
        return (1e-3 / self.on_resistance + 1e-3 / self.off_resistance) / 2


@dataclass(frozen=True)
class Point:
    """One product at an operating point: conditions of a measurement, not its result."""

    name: str
    supply: Annotated[float, Bounds("V", 0.3, 5)]
    input_bits: Annotated[int, Bounds("bits", 1, 16)]
    output_bits: Annotated[int, Bounds("bits", 1, 24)]
    rows: Annotated[int, Bounds("count", 0, 65536)] = 0  # driven; 0: all
    activity: Annotated[float, Bounds("share", 0, 1)] = 0.5  # of the inputs' largest value
    weights: Annotated[float, Bounds("share", 0, 1)] = 0.5  # of the weights' largest value
    read_time: Annotated[float, Bounds("ns", 0.01, 1e6)] = 1.0  # that a column is held
    read_voltage: Annotated[float, Bounds("V", 0.01, 5)] = 0.1  # across a cell
    row_high: Annotated[float, Bounds("V", 0, 5)] = 0.0  # of a driven row; 0: the supply
    row_swing: Annotated[float, Bounds("V", 0, 5)] = 0.0  # of a driven row; 0: all of row_high

    @property
    def row_V2(self) -> float:
        """High level of a row times its swing, in V^2: its energy is C times that."""
        high = self.row_high or self.supply
        return high * (self.row_swing or high)
