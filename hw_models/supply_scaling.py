"""Figures that hold at one supply voltage as they would be at another one.

Energies follow C V^2, delays the alpha-power law t ~ V / (V - V_t)^alpha (Sakurai and Newton, JSSC
1990) with the exponent of short channels. Only figures whose source says its supply are scaled.
"""

import math

from hw_models.errors import ProfileError
from hw_models.parameters import Quantity

THRESHOLD_V = 0.35
EXPONENT = 1.3
# The lowest and highest supply of the chips that the laws were held against (hw_models/silicon).
LEAST_V, MOST_V = 0.55, 1.2
SUPPLY = Quantity("supply", "supply", "V", 1.0, LEAST_V, MOST_V, whole=False)
UNITS = {"pJ": "energy", "ns": "delay"}  # of figures that depend on the supply


def slowdown(supply: float, reference: float) -> float:
    """How much longer gates take than at another supply.

    Args:
        supply: In V.
        reference: The supply that a delay is known at, in V.

    Returns:
        A factor.

    Raises:
        ProfileError: A supply does not exceed the threshold.
    """
    return _delay(supply) / _delay(reference)


def factor(kind: str, supply: float, reference: float) -> float:
    """What a figure that holds at a reference supply is multiplied by at another one.

    Args:
        kind: energy or delay.
        supply: In V.
        reference: In V.

    Returns:
        The factor; 1 at the same supply.
    """
    return slowdown(supply, reference) if kind == "delay" else (supply / reference) ** 2


def _delay(supply: float) -> float:
    if supply <= THRESHOLD_V:
        raise ProfileError(f"supply = {supply:g} V: above {THRESHOLD_V:g} V is needed for a time")
    return supply / math.pow(supply - THRESHOLD_V, EXPONENT)
