"""What the ratios of model to measurement mean, a sentence for each measured figure."""

from collections.abc import Sequence

from hw_models.silicon.measured import COMPONENTS
from hw_models.silicon.validation import LEAST, MOST, Ratio, Validation

BAND = f"{LEAST:g} .. {MOST:g}"


def verdicts(v: Validation) -> dict[str, str]:
    """A sentence for each figure, and for each component whose energy was measured.

    Args:
        v: The model beside the measurements of a chip.

    Returns:
        figure -> how far the model is from it, and why where it is far; for a figure that is not
        modelled or was not measured it says so.
    """
    known = figures_of(v)
    return {name: _sentence(v, name, ratios) for name, ratios in known.items()}


def missed(v: Validation) -> list[str]:
    """Figures that the model misses or does not have.

    Args:
        v: The model beside the measurements of a chip.

    Returns:
        Their names.
    """
    return [
        name
        for name, ratios in figures_of(v).items()
        if name in v.unmodelled or not all(x.within for x in ratios)
    ]


def figures_of(v: Validation) -> dict[str, tuple[Ratio, ...]]:
    """Ratios by figure; none where it was not measured or is not modelled.

    Args:
        v: The model beside the measurements of a chip.

    Returns:
        energy, latency and area, then components that were measured.
    """
    parts = {name: tuple(x for x in v.splits if x.figure == name) for name in COMPONENTS}
    return {
        "energy": v.energies,
        "latency": v.latencies,
        "area": (v.area,) if v.area else (),
    } | {name: ratios for name, ratios in parts.items() if ratios}


def range_of(ratios: Sequence[Ratio]) -> str:
    """Least and largest ratio as text.

    Args:
        ratios: At least one.

    Returns:
        As "0.53 .. 0.56", or one number where they hardly differ.
    """
    values = sorted(x.ratio for x in ratios)
    if values[-1] - values[0] < 0.005:
        return f"{values[0]:.2f}"
    return f"{values[0]:.2f} .. {values[-1]:.2f}"


def _sentence(v: Validation, name: str, ratios: Sequence[Ratio]) -> str:
    if name in v.unmodelled:
        return f"{name}: not modelled: {v.unmodelled[name]}"
    if not ratios:
        return f"{name}: not measured, or its measurement is not known"
    far = sum(not x.within for x in ratios)
    text = f"{name}: {range_of(ratios)} times the measurement"
    if not far:
        return f"{text}, within {BAND}"
    count = "" if len(ratios) == 1 else f" at {far} of {len(ratios)} points"
    return (
        f"{text}, outside of {BAND}{count}: {v.chip.reasons.get(name, 'the reason is not known')}"
    )
