"""Numbers, units and text as people read them: one style for all output of the program."""

import math
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas_service.metrics import Metric

MISSING = "-"  # is shown for a value that is not known
LEAST, MOST = 1e-3, 1e6  # numbers between these have no exponent
PREFIXES = ("a", "f", "p", "n", "u", "m", "", "k", "M", "G", "T")  # from 1e-18 in steps of 1e3
AREAS = ((1.0, "m2"), (1e-6, "mm2"), (1e-12, "um2"))
BYTES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
SHARE, PERCENT = "share", "%"
SHOWN = {SHARE: (PERCENT, 100.0), "B": ("KiB", 1 / 1024)}  # unit of a metric -> that of a table
BASES = {  # unit of a metric -> unit without prefix, and how many of those it is
    "KiB": ("B", 1024.0),
    "mm2": ("m2", 1e-6),
    "ms": ("s", 1e-3),
    "uJ": ("J", 1e-6),
    "mW": ("W", 1e-3),
    "nJ s": ("J s", 1e-9),
    "1/s": ("1/s", 1.0),
}
SUFFIXES = {"uJ", "mm2", "ms", "KiB", "mW", "nJs", "B", "per_s"}  # units at the end of names
TIMES = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def number(value: float | None, digits: int = 3) -> str:
    """A number with significant digits; digits before the point are never cut.

    Args:
        value: The number; None where it is not known.
        digits: Significant digits. A whole number (int) keeps all of its own.

    Returns:
        The text, with commas between thousands and an exponent only below 1e-3 and from 1e6 on.
    """
    if value is None or value != value:
        return MISSING
    if isinstance(value, int):
        return f"{value:,}"
    if value == 0 or math.isinf(value):
        return f"{value + 0.0:g}".replace("-0", "0")
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    if not LEAST <= abs(float(f"{mantissa}e{exponent}")) < MOST:
        return f"{mantissa}e{int(exponent)}"
    return f"{value:,.{max(0, digits - 1 - int(exponent))}f}"


def counted(count: int, noun: str) -> str:
    """A number of things, such as `1 trial` or `2 trials`."""
    return f"{number(count)} {noun}" + ("" if count == 1 else "s")


def exact(value: float | None) -> str:
    """A number as a person gave it, such as a limit: up to six digits, without zeros at the end."""
    if value is None or not math.isfinite(value):
        return number(value)
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e15 else f"{value:g}"


def column(values: Iterable[float], digits: int = 4) -> list[str]:
    """Numbers with the same decimals: those that give the largest its significant digits."""
    known = list(values)
    largest = max((abs(x) for x in known if math.isfinite(x)), default=0.0)
    exponent = int(f"{largest:.{digits - 1}e}".partition("e")[2])
    return [f"{x:,.{max(0, digits - 1 - exponent)}f}" for x in known]


def signed(value: float | None, digits: int = 3) -> str:
    """`number` of a difference, with its sign."""
    return f"+{number(value, digits)}" if value and value > 0 else number(value, digits)


def percent(share: float | None, digits: int = 3) -> str:
    """A share of 0..1 in percent, such as `93.9 %`."""
    return MISSING if share is None else f"{number(100.0 * share, digits)} {PERCENT}"


def quantity(value: float | None, unit: str, digits: int = 3) -> str:
    """A value in the multiple of its unit that leaves one to three digits before the point.

    Args:
        value: In the unit; None where it is not known.
        unit: Without prefix: `J`, `s`, `Hz`, `W`, `J s`, `1/s`, `m2`; `B`, whose multiples are
            binary; `1` of a plain number; `share` of a number of 0..1 that is shown in percent.
        digits: Significant digits.

    Returns:
        The text, such as `208 nJ` or `16.7 KiB`.
    """
    if value is None or unit in ("", "1"):
        return number(value, digits)
    if unit == SHARE:
        return percent(value, digits)
    factor, name = multiple(abs(value), unit, digits)
    whole = unit == name == "B" and value == round(value)
    return f"{number(round(value) if whole else value / factor, digits)} {name}"


def multiple(value: float, unit: str, digits: int = 3) -> tuple[float, str]:
    """The multiple of a unit that leaves one to three digits of a value before the point.

    Args:
        value: In the unit, 0 or more.
        unit: As in `quantity`.
        digits: Significant digits that the value is rounded to.

    Returns:
        Its size in the unit, and its name.
    """
    multiples = _multiples(unit)
    if value == 0 or not math.isfinite(value):
        return next(x for x in multiples if x[0] == 1.0)
    rounded = float(f"{value:.{digits - 1}e}")
    return next((x for x in multiples if rounded >= x[0]), multiples[-1])


def _multiples(unit: str) -> list[tuple[float, str]]:
    """All multiples of a unit, the largest first."""
    if unit == "m2":
        return list(AREAS)
    if unit == "B":
        return [(1024.0**n, name) for n, name in enumerate(BYTES)][::-1]
    stem = unit.removeprefix("1")  # 1/s: M/s
    first = PREFIXES.index("")
    return [(10.0 ** (3 * (n - first)), prefix + stem) for n, prefix in enumerate(PREFIXES)][::-1]


def duration(seconds: float) -> str:
    """A time in its two largest units, such as `2 h 5 min`; below 10 s with a decimal."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    left = float(round(seconds))
    parts: list[str] = []
    for (size, name), (smaller, _) in zip(TIMES, (*TIMES[1:], TIMES[-1]), strict=True):
        if not parts and smaller < size <= left:  # the two largest units are shown
            left = float(round(left / smaller) * smaller)
        if left >= size and len(parts) < 2:
            parts.append(f"{left // size:.0f} {name}")
            left %= size
    return " ".join(parts)


def metric(name: str, value: float | None, digits: int = 3) -> str:
    """The value of a metric with its unit, such as `93.9 %` for an accuracy of 0.939.

    Args:
        name: Of a metric, or of its bound at a confidence.
        value: In the unit of the metric; None where it is not measured.
        digits: Significant digits.

    Returns:
        The text. A value that the metric's own unit would show with an exponent has another prefix.
    """
    unit = metric_unit(name)
    if value is None:
        return MISSING
    if unit in BASES and value and not LEAST <= abs(value) < MOST:
        base, factor = BASES[unit]
        return quantity(value * factor, base, digits)
    return f"{metric_number(name, value, digits)} {unit.removeprefix('1')}".rstrip()


def metric_number(name: str, value: float | None, digits: int = 3) -> str:
    """The value of a metric in `metric_unit`, without it: a cell of a table.

    Args:
        name: Of a metric, or of its bound at a confidence.
        value: In the unit of the metric; None where it is not measured.
        digits: Significant digits.

    Returns:
        The text. Of a metric that only a store knows, the plain number.
    """
    known = _known(name)
    if value is None or known is None or not math.isfinite(value):
        return number(value, digits)
    if known.unit in SHOWN:
        return number(SHOWN[known.unit][1] * value, digits)
    counted = known.whole or (not known.unit and not known.proxy and abs(value) >= 1 / LEAST)
    return number(round(value) if counted else value, digits)


def metric_limit(name: str, limit: float) -> str:
    """A limit of a metric as a person gave it, in percent for a share: `5.5` or `80 %`."""
    known = _known(name)
    is_share = known is not None and known.unit == SHARE
    return f"{exact(100.0 * limit)} {PERCENT}" if is_share else exact(limit)


def metric_unit(name: str) -> str:
    """The unit in which values of a metric are shown; percent for shares, empty for counts."""
    known = _known(name)
    unit = "" if known is None else known.unit
    return SHOWN[unit][0] if unit in SHOWN else unit


def metric_label(name: str) -> str:
    """What a metric is called where its unit follows, such as `energy` for `energy_uJ`.

    Args:
        name: Of a metric, or of its bound at a confidence.

    Returns:
        Its words; those of a bound end with its confidence.
    """
    own, _, confidence = name.partition("@")
    stem = next((own.removesuffix(f"_{s}") for s in SUFFIXES if own.endswith(f"_{s}")), own)
    words = (stem if metric_unit(name) else own).replace("_", " ")
    return f"{words} at {exact(100 * float(confidence))} %" if confidence else words


def _known(name: str) -> "Metric | None":
    from nas_service.metrics import METRICS

    return METRICS.get(name.partition("@")[0])


def printable(text: object) -> str:
    r"""One line of text in which nothing can steer a terminal or hide.

    Args:
        text: Whatever a store, a file or a network holds.

    Returns:
        The text, with control characters, line ends, marks that change the direction of writing,
        invisible characters and lone surrogates as escapes such as `\x1b`.
    """
    line = str(text)
    return line if line.isprintable() else "".join(map(_visible, line))


def _visible(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    return ascii(character)[1:-1]
