"""Everything a chip profile holds: figures in SI units, options, and the defects D1-D18.

The keys of a profile are the field names below without their unit suffix.
"""

from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal, get_args, get_type_hints

SCRIPT_COLUMNS = 8  # columns per converter that SpikeSim's figures are for

# suffix of a field -> (unit in a profile, factor to SI)
UNITS = {
    "_J": ("pJ", 1e-12),
    "_J_m": ("pJ/mm", 1e-9),
    "_m2": ("um2", 1e-12),
    "_s": ("ns", 1e-9),
    "_Hz": ("MHz", 1e6),
    "_Ohm": ("kOhm", 1e3),
    "_W_m2": ("mW/mm2", 1e3),
}


@dataclass(frozen=True)
class Bounds:
    """Unit and bounds of a number that has no SI unit in its name."""

    unit: str
    least: float = 0.0
    most: float = 1e12


@dataclass(frozen=True)
class Figures:
    """Numbers of one chip in SI units; the profile gives unit and source of each."""

    # structure
    crossbar_size: Annotated[int, Bounds("cells", 1, 65536)]  # X: rows and columns of an array
    crossbars_per_pe: Annotated[int, Bounds("count", 1, 65536)]
    pes_per_tile: Annotated[int, Bounds("count", 1, 65536)]  # P
    columns_per_adc: Annotated[int, Bounds("count", 1, 65536)]  # M: ratio of the multiplexer
    clocks_per_read: Annotated[int, Bounds("count", 1, 10**6)]  # of 8 columns through one converter
    adc_bits: Annotated[int, Bounds("bits", 1, 16)]
    bits_per_cell: Annotated[int, Bounds("bits", 1, 8)]
    bits_per_value: Annotated[int, Bounds("bits", 1, 1024)]  # of a membrane potential
    read_voltage: Annotated[float, Bounds("V", 0.001, 5)]  # across a cell that conducts
    # share of a layer's outputs after which the next layer may start
    overlap: Annotated[float, Bounds("share", 0, 1)]
    clock_Hz: float
    # energies: literals of SpikeSim's reads, then figures per event
    crossbar_energy_J: float
    cell_read_energy_J: float
    row_cell_energy_J: float  # of a driven row, for each cell on it
    adc_energy_J: float
    sar_bit_energy_J: float
    sar_level_energy_J: float
    mux_energy_J: float
    subtractor_energy_J: float
    adder_bit_energy_J: float
    temp_buffer_energy_J: float
    tile_buffer_energy_J: float
    sram_bit_energy_J: float
    h_tree_energy_J: float
    wire_bit_energy_J_m: float
    fetch_energy_J: float
    neuron_energy_J: float
    neuron_update_energy_J: float
    dac_bit_energy_J: float
    leakage_W_m2: float
    # areas
    crossbar_area_m2: float
    cell_area_m2: float
    adc_area_m2: float
    sar_area_exponent: Annotated[float, Bounds("log10 um2", -10, 10)]
    sar_area_slope: Annotated[float, Bounds("log10 um2 per bit", -1, 1)]
    mux_area_m2: float
    subtractor_area_m2: float
    adder_bit_area_m2: float
    temp_buffer_area_m2: float
    tile_buffer_area_m2: float
    h_tree_area_m2: float
    sram_bit_area_m2: float
    dac_area_m2: float
    driver_area_m2: float  # of one row
    placement: Annotated[float, Bounds("ratio", 1, 10)]  # area of a PE over that of its parts
    wire_pitch: Annotated[float, Bounds("um", 0.001, 10)]
    # delays
    sar_bit_delay_s: float
    sar_row_delay_s: float
    # device
    on_resistance_Ohm: float
    off_resistance_Ohm: float
    wire_resistance_Ohm: float
    conductance_spread: Annotated[float, Bounds("share", 0, 10)]
    stuck_on: Annotated[float, Bounds("share", 0, 1)]
    stuck_off: Annotated[float, Bounds("share", 0, 1)]
    drift_exponent: Annotated[float, Bounds("", 0, 1)]
    drift_spread: Annotated[float, Bounds("", 0, 1)]
    drift_seconds: Annotated[float, Bounds("s", 0, 1e12)]


@dataclass(frozen=True)
class Options:
    """Choices between designs, none of which is a defect."""

    device: Literal["rram", "sram"]
    mapping: Literal["kernel_split", "im2col"]
    sign: Literal["differential", "offset"]
    adc: Literal["fixed", "flash", "sar", "sar_levels"]
    pair_conversion: Literal["each", "difference"]  # columns of a pair that are converted
    cell_energy: Literal["figure", "conductance"]  # cell_read_energy, or V^2 G t
    rows: Literal["free", "driven"]  # whether driving rows costs energy and area
    tiles: Literal["whole", "used"]  # area of whole tiles, or of the crossbars in use
    h_tree: Literal["literal", "wires"]  # h_tree_area, or wires of wire_pitch
    input_coding: Literal["bit_serial", "dac"]
    order: Literal["layer_first", "time_first"]
    tile_contention: Literal["ignored", "serialised"]


def _defect(number: int, meaning: str) -> Any:
    """A switch, with the number and the meaning of the defect it turns on."""
    return field(metadata={"defect": f"D{number}", "meaning": meaning})


@dataclass(frozen=True)
class ScriptDefects:
    """Defects of SpikeSim's script, each on where the chip is costed as the script does it.

    Numbered as in profiles/corrected.toml.
    """

    latency_per_channel: bool = _defect(1, "a read cycle per output channel, not per vector")
    groups_as_reads: bool = _defect(2, "X/8 serves as converters and as column reads alike")
    fixed_array: bool = _defect(3, "array figures of 64x64 cells at every X")
    adc_per_pe: bool = _defect(4, "the crossbars of a PE share one set of converters")
    pooled_sizes: bool = _defect(5, "a pooled layer is costed at its pooled size, pooling is free")
    five_membranes: bool = _defect(6, "membranes of the first five layers only")
    wide_inputs: bool = _defect(7, "every input is a stored value wide, direct coding is unknown")
    tile_sharing: bool = _defect(8, "layers share tiles")
    energy_is_area: bool = _defect(9, "the array's energy figure is its area figure")
    last_halt: bool = _defect(10, "latency is the last layer's halt, in list order")
    one_kernel: bool = _defect(11, "every PE has room for the network's largest kernel")
    neuron_per_read: bool = _defect(12, "neurons cost per read, not per update")
    free_partial_sums: bool = _defect(13, "adding partial sums costs nothing")
    buffers_per_read: bool = _defect(14, "buffers and wires cost per read, not per bit moved")
    one_cell_per_weight: bool = _defect(15, "a weight is one cell whatever its bits")
    no_activity: bool = _defect(16, "spike rates change nothing")
    script_subtractor: bool = _defect(17, "the subtractor's figures, orders of magnitude apart")
    time_twice: bool = _defect(18, "latency counts the time steps twice, as before 2023-10-14")


@dataclass(frozen=True)
class Quantity:
    """Unit and bounds of a key of `Figures` in a profile; `factor` converts to SI."""

    key: str
    attribute: str
    unit: str
    factor: float
    least: float
    most: float
    whole: bool


def _quantity(name: str, hint: Any) -> Quantity:
    if bounds := getattr(hint, "__metadata__", None):
        whole = hint.__origin__ is int
        return Quantity(name, name, bounds[0].unit, 1.0, bounds[0].least, bounds[0].most, whole)
    suffix = max((s for s in UNITS if name.endswith(s)), key=len)
    unit, factor = UNITS[suffix]
    least = 1e-6 if name in DIVISORS else 0.0
    return Quantity(name.removesuffix(suffix), name, unit, factor, least, 1e12, whole=False)


DIVISORS = ("clock_Hz", "on_resistance_Ohm", "off_resistance_Ohm")  # never 0
_HINTS = get_type_hints(Figures, include_extras=True)
SCHEMA: dict[str, Quantity] = {
    q.key: q for q in (_quantity(name, hint) for name, hint in _HINTS.items())
}
CHOICES: dict[str, tuple[str, ...]] = {
    name: get_args(hint) for name, hint in get_type_hints(Options).items()
}
# Figures that change together with an option: without them a profile has none for it.
FIGURES_OF = {"rows": ("row_cell_energy", "driver_area"), "adc": ("sar_level_energy",)}
DEFECTS: dict[str, tuple[str, str]] = {
    f.name: (f.metadata["defect"], f.metadata["meaning"]) for f in fields(ScriptDefects)
}
