"""One crossbar chip: its figures, its options and the script's defects it is costed with."""

import math
from dataclasses import dataclass
from functools import cached_property

from hw_models import adc
from hw_models.errors import ProfileError
from hw_models.parameters import SCRIPT_COLUMNS, Figures, Options, ScriptDefects


@dataclass(frozen=True)
class Chip:
    """A chip as the cost model reads it.

    After the energy, latency and area script of SpikeSim (Moitra et al., TCAD 2023), commit
    c2627bc: with all defects on the chip is the script's, with all off it is the corrected
    model of docs/cost-model.md.

    Args:
        name: The profile's name.
        figures: Numbers in SI units.
        options: Choices between designs.
        defects: Which defects of the script are reproduced.

    Raises:
        ProfileError: Figures contradict each other, or the converter model does not cover them.
    """

    name: str
    figures: Figures
    options: Options
    defects: ScriptDefects

    def __post_init__(self) -> None:
        adc.check(self.figures, self.options)
        if self.figures.off_resistance_Ohm < self.figures.on_resistance_Ohm:
            raise ProfileError(
                f"off_resistance = {self.figures.off_resistance_Ohm / 1e3:g} kOhm: at least "
                f"on_resistance = {self.figures.on_resistance_Ohm / 1e3:g} kOhm is needed"
            )

    @property
    def converts_pairs(self) -> bool:
        """True where the difference of two columns is converted, not each of them."""
        return self.is_differential and self.options.pair_conversion == "difference"

    @property
    def converted_columns(self) -> int:
        """Columns of an array, or pairs of them, that are converted one by one: X or X / 2."""
        if self.converts_pairs:
            return math.ceil(self.figures.crossbar_size / 2)
        return self.figures.crossbar_size

    @property
    def shared_columns(self) -> int:
        """Columns (or pairs) that take turns at a converter: M, but at most those of an array."""
        return min(self.figures.columns_per_adc, self.converted_columns)

    @cached_property
    def converters_per_set(self) -> float:
        """Converters that read one crossbar (or one PE): ceil(X / M), in the script X / 8."""
        exact = self.converted_columns / self.shared_columns
        return exact if self.defects.groups_as_reads else math.ceil(exact)

    @cached_property
    def column_reads(self) -> float:
        """Reads until every column is converted: min(M, X), in the script X / 8 again (D2)."""
        if self.defects.groups_as_reads:
            return self.converters_per_set
        return self.shared_columns

    @cached_property
    def read_s(self) -> float:
        """Time in seconds to read one vector through the column multiplexer."""
        if self.defects.groups_as_reads:
            return self.figures.clocks_per_read / self.figures.clock_Hz
        return self.shared_columns * self.column_s

    @cached_property
    def column_s(self) -> float:
        """Time in seconds to read and convert one column: by the clock, or by the converter."""
        script_s = self.figures.clocks_per_read / self.figures.clock_Hz
        return max(script_s / SCRIPT_COLUMNS, adc.delay_s(self.figures, self.options))

    @cached_property
    def is_differential(self) -> bool:
        """True where a pair of columns holds a signed weight."""
        return self.options.sign == "differential"

    @cached_property
    def has_dac(self) -> bool:
        """True where converters drive the rows, so that an input needs one read, not one a bit."""
        return self.options.input_coding == "dac" and not self.defects.wide_inputs
