"""Options that say of a network what its file does not."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hw_models.files.numerals import parse_number, parse_whole
from nas_service.cli.common import FILE
from nas_service.cli.number_types import WholeNumber
from nas_service.errors import SpecError

if TYPE_CHECKING:
    pass

MAX_SIDE = 2**24


def _shape(_: click.Context, __: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    sizes = [parse_whole(part.strip()) for part in text.split(",")]
    known = tuple(n for n in sizes if n is not None and 1 <= n <= MAX_SIDE)
    if len(known) == len(sizes) > 3:
        last = ",".join(map(str, known[-3:]))
        raise click.BadParameter(
            f"{text!r:.60}: {len(known)} sizes, without batch or time: {last}?"
        )
    if len(known) != len(sizes):
        raise click.BadParameter(
            f"{text!r:.60}: channels, height and width such as 2,16,16, or channels and length, "
            "or features"
        )
    return known


STUDY = click.option(
    "--study",
    type=FILE,
    help="Study file that an architecture is of: its images, operations and chip.",
)
TIME_STEPS = click.option(
    "--time-steps",
    type=WholeNumber(1, 65536),
    metavar="T",
    help="Number of time steps of an inference, which only a NIR graph of nas export says.",
)
_OPTIONS = (
    TIME_STEPS,
    click.option(
        "--weight-bits",
        type=WholeNumber(1, 32),
        metavar="N",
        help="Number of bits of every weight of the network.",
    ),
    click.option(
        "--input-bits",
        type=WholeNumber(1, 32),
        metavar="N",
        help="Number of bits of the values that the network reads, 1 for spikes.",
    ),
    click.option(
        "--spike-rate",
        metavar="RATE|FILE",
        help="Share 0..1 of the inputs of each layer that are not 0, or a file with one for each "
        "layer.",
    ),
    click.option(
        "--input",
        "input_shape",
        callback=_shape,
        metavar="C,H,W",
        help="Shape of what the network reads, where its file does not say it.",
    ),
)


def network_options(function: Callable[..., None]) -> Callable[..., None]:
    """Options for what a file may leave out; the command gets them as one argument `given`."""

    @functools.wraps(function)
    def command(
        *arguments: Any,
        time_steps: int | None,
        weight_bits: int | None,
        input_bits: int | None,
        spike_rate: str | None,
        input_shape: tuple[int, ...] | None,
        **others: Any,
    ) -> None:
        from nas_service.importers.network_file import Given

        rate = None if spike_rate is None else _rates(spike_rate)
        given = Given(time_steps, weight_bits, input_bits, rate, input_shape)
        function(*arguments, given=given, **others)

    decorated: Callable[..., None] = command
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def _rates(text: str) -> Any:
    """A spike rate, or those of a file."""
    rate = parse_number(text)
    if rate is None:
        from nas_service.importers.rate_file import read_rates

        return read_rates(Path(text))
    if not 0 <= rate <= 1:
        raise SpecError(f"--spike-rate {text:.60}: a share 0..1, or a file with one a layer")
    return rate
