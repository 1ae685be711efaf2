"""Numbers on the command line, which click would read by Python's syntax."""

from typing import Any

import click

from hw_models.files.numerals import parse_number, parse_whole


class WholeNumber(click.IntRange):
    """A whole number of digits 0..9; Python would read `1_0` and digits of other scripts too."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; click's usage error for other text."""
        if isinstance(value, str) and parse_whole(value.removeprefix("-")) is None:
            self.fail(f"{value!r:.60} is not a whole number.", param, ctx)
        return super().convert(value, param, ctx)


class Number(click.FloatRange):
    """A finite decimal number; Python would read `nan`, `inf` and `1_0` too."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; click's usage error for other text."""
        if isinstance(value, str) and parse_number(value) is None:
            self.fail(f"{value!r:.60} is not a number.", param, ctx)
        return super().convert(value, param, ctx)
