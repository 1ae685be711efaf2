"""Draws docs/measured-chips.svg: energy of one product, model against silicon.

Every point is computed by hw_models/silicon. `python docs/measured_chips.py` writes the picture;
tests/hw_models/silicon/test_picture.py compares it with the model.
"""

import math
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from hw_models.silicon.measured import known_chips, load_chip
from hw_models.silicon.validation import MOST, Validation, validate

PICTURE = Path(__file__).with_name("measured-chips.svg")
DECADES = (0, 5)  # of pJ, on both axes
SIDE, LEFT, TOP, WIDTH, HEIGHT = 440, 78, 18, 760, 512
COLOURS = {"A": "#1f5f9e", "B": "#c2410c", "reported": "#7a7a7a"}
SHAPES = ("circle", "square", "diamond", "triangle", "cross")


def draw(validations: Sequence[Validation]) -> str:
    """The picture as SVG text."""
    chips = sorted(validations, key=lambda v: (list(COLOURS).index(v.chip.group), v.chip.name))
    parts = [*_axes(), *_band(), *_points(chips), *_legend(chips)]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n'
    )
    return head + "\n".join(parts) + "\n</svg>\n"


def _x(pJ: float) -> float:
    share = (math.log10(pJ) - DECADES[0]) / (DECADES[1] - DECADES[0])
    return LEFT + SIDE * share


def _y(pJ: float) -> float:
    return TOP + SIDE - (_x(pJ) - LEFT)


def _axes() -> Iterator[str]:
    for decade in range(DECADES[0], DECADES[1] + 1):
        at = 10.0**decade
        yield _line(_x(at), TOP, _x(at), TOP + SIDE, "#e2e6ea")
        yield _line(LEFT, _y(at), LEFT + SIDE, _y(at), "#e2e6ea")
        label = f"{at:,.0f}".replace(",", " ")
        yield _text(_x(at), TOP + SIDE + 20, label, "middle")
        yield _text(LEFT - 8, _y(at) + 4, label, "end")
    yield f'<rect x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#555"/>'
    yield _text(
        LEFT + SIDE / 2,
        TOP + SIDE + 44,
        "measured energy of a product or synaptic operation, pJ",
        "middle",
    )
    x, y = 18, TOP + SIDE / 2
    yield (
        f'<text x="{x}" y="{y:g}" text-anchor="middle" transform="rotate(-90 {x} {y:g})">'
        "model, pJ</text>"
    )


def _band() -> Iterator[str]:
    """The diagonal, and half and twice the measurement."""
    low, high = 10.0 ** DECADES[0], 10.0 ** DECADES[1]
    corners = [(low, low), (low, MOST * low), (high / MOST, high), (high, high)]
    corners += [(high, high / MOST), (MOST * low, low)]
    points = " ".join(f"{_x(a):.1f},{_y(b):.1f}" for a, b in corners)
    yield f'<polygon points="{points}" fill="#1f5f9e" fill-opacity="0.10"/>'
    yield _line(_x(low), _y(low), _x(high), _y(high), "#555")
    yield _text(_x(20), _y(20 * MOST) - 8, "x 2", "end")
    yield _text(_x(20), _y(20 / MOST) + 18, "x 0.5", "start")


def _points(chips: Sequence[Validation]) -> Iterator[str]:
    for number, v in enumerate(chips):
        for ratio in v.energies:
            yield _mark(number, _x(ratio.measured), _y(ratio.model), COLOURS[v.chip.group])


def _legend(chips: Sequence[Validation]) -> Iterator[str]:
    x, y, group = LEFT + SIDE + 24, TOP + 14, ""
    for number, v in enumerate(chips):
        if v.chip.group != group:
            group = v.chip.group
            y += 8 if number else 0
            title = group if group == "reported" else f"group {group}"
            yield _text(x - 6, y, title, "start", weight="bold")
            y += 22
        yield _mark(number, x, y - 4, COLOURS[group])
        macro = v.chip.macro
        yield _text(x + 14, y, f"{v.chip.name}, {macro.kind} {macro.node:g} nm", "start")
        y += 21


def _mark(number: int, x: float, y: float, colour: str) -> str:
    """A sign that tells a chip from the others of its colour."""
    shape, r = SHAPES[number % len(SHAPES)], 4.5
    style = f'fill="{colour}" fill-opacity="0.8"'
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}" {style}/>'
    if shape == "cross":
        path = f"M{x - r:.1f},{y - r:.1f} l{2 * r},{2 * r} m0,{-2 * r} l{-2 * r},{2 * r}"
        return f'<path d="{path}" stroke="{colour}" stroke-width="2.4"/>'
    corners = {
        "square": ((-r, -r), (r, -r), (r, r), (-r, r)),
        "diamond": ((0, -6), (6, 0), (0, 6), (-6, 0)),
        "triangle": ((0, -6), (5.5, 4.5), (-5.5, 4.5)),
    }[shape]
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon points="{points}" {style}/>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, anchor: str, weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="#222">{escape(text)}</text>'
    )


if __name__ == "__main__":
    PICTURE.write_text(draw([validate(load_chip(name)) for name in known_chips()]))
