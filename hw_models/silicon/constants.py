"""The constants that all crossbars share, each with its source.

None of them is a measured energy or area of a chip of group B (chips/*.toml).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Constants:
    """Capacitances in fF, energies of a capacitance C are C V^2; lengths in units of F or um."""

    # 1 fF per um of transistor width and 0.2 fF per um of wire hardly change with the node
    # (ITRS 2009 to 2013, interconnect and high-performance logic tables).
    gate_fF_um: float = 1.0
    wire_fF_um: float = 0.2
    # Width of the transistor that selects a cell. RRAM: 1.5 fF at 130 nm (NeuRRAM, group A), as
    # it must carry the current that sets a cell. SRAM: a minimum device (NeuroSim: 4 F).
    rram_access_F: float = 12.0
    sram_access_F: float = 4.0
    # A chain of inverters that each drive four times their own size adds a third.
    driver_share: float = 1 / 3
    # Input capacitance of a NAND2 at 28 nm, and gates of a register and of a full adder in units
    # of it (ZigZag-IMC, fitted to four digital macros).
    gate_28nm_fF: float = 0.7
    register_gates: float = 3.0
    adder_gates: float = 6.0
    # Half a bit line, its reset and one input of a multiplier: what a cell of a charge-domain
    # SRAM switches, in units of a NAND2 (ZigZag-IMC).
    charge_cell_gates: float = 1.5
    # A capacitive DAC, per bit (ZigZag-IMC).
    dac_bit_fF: float = 50.0
    # A successive approximation converter: logic per bit, capacitors and comparator per level.
    # Both chosen for the converters of Jia et al. (65 nm) and Wang et al. (22 nm), group A.
    sar_bit_fF: float = 40.0
    sar_level_fF: float = 8.0
    # A comparator of a flash converter at 65 nm: a fifteenth of SpikeSim's 4-bit converter.
    comparator_65nm_fF: float = 135.0
    # One step of a neuron that integrates charge and then removes it step by step (NeuRRAM, A).
    integrator_step_fF: float = 200.0
    # Bias of a clamp that holds a column: the multiple of its largest current (Yao et al., A).
    clamp_share: float = 1.5


CONSTANTS = Constants()


@dataclass(frozen=True)
class TimeConstants:
    """Delays at 28 nm and the reference supply; hw_models/supply_scaling.py has other ones."""

    # A SAR converter needs this for each bit, and more with the rows on its column (ZigZag-IMC,
    # fitted to three macros of 22 and 28 nm, two of them at 0.8 V).
    sar_bit_ns: float = 0.640
    sar_row_ns: float = 0.00653
    gate_ns: float = 0.0478  # of a gate (ZigZag-IMC)
    reference_V: float = 0.8


TIMES = TimeConstants()


@dataclass(frozen=True)
class AreaConstants:
    """Areas in F^2 (F is the node) unless the name says otherwise."""

    # 21 % of a core of NeuRRAM (group A) for the drivers of its 768 lines, 28 % for 256 neurons.
    rram_driver_F2: float = 18_800.0
    integrator_F2: float = 75_000.0
    gate_F2: float = 783.0  # a NAND2: 0.614 um2 at 28 nm (ZigZag-IMC)
    sram_driver_gates: float = 10.0  # an inverter chain to a word line
    adder_gates: float = 10.0  # of a full adder and its register (ZigZag-IMC)
    # 2^b 10^(1.206 - 0.0369 b) um2 for a SAR converter at every node (ZigZag-IMC).
    sar_exponent: float = 1.206
    sar_slope: float = -0.0369
    comparator_65nm_um2: float = 46.2  # a fifteenth of SpikeSim's 4-bit converter
    # A DAC, per bit: 30 % of the macro of Wang et al. (group A) are 64 DACs of 8 bits.
    dac_bit_um2: float = 45.0
    # What lies between the parts: NeuRRAM's core and Jia's macro (group A) are this much larger
    # than their parts.
    placement: float = 1.6


AREA = AreaConstants()
