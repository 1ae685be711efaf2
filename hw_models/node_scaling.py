"""Figures of one technology node as they would be at another one.

Factors are those of DeepScaleTool (Sarangi and Baas, ISCAS 2021), fitted to a foundry's published
nodes; its authors report errors of 1.7 % in area and 2.5 % in delay between 10 and 7 nm, none for
energy. They are of logic: wires, resistances and memory cells do not scale by them.
"""

import re
from dataclasses import dataclass

from hw_models.errors import ProfileError
from hw_models.parameters import Quantity

METHODS = ("deepscale",)
# Figures of each node, relative to 45 nm for area and 65 nm for delay and energy.
NODES = (130, 90, 65, 45, 40, 32, 28, 22, 14, 10, 7)
RELATIVE = {
    "area": (8.3, 3.94, 2.04, 1.0, 0.75, 0.49, 0.35, 0.22, 0.08, 0.03, 0.011),
    "delay": (1.96, 1.31, 1.0, 0.81, 0.76, 0.70, 0.67, 0.62, 0.60, 0.57, 0.53),
    "energy": (2.52, 1.51, 1.0, 0.63, 0.55, 0.44, 0.37, 0.30, 0.19, 0.15, 0.11),
}
KINDS = {"pJ": "energy", "um2": "area", "ns": "delay"}  # by unit of a figure
UNSCALED = ("cell_area",)  # follows the device, not logic
NODE = re.compile(r"([0-9]{1,4}) nm\b")


@dataclass(frozen=True)
class Scaling:
    """How the figures of a profile are brought to one node."""

    node: int  # nm

    def __post_init__(self) -> None:
        if self.node not in NODES:
            raise ProfileError(f"node = {self.node} nm: {_known()}")

    def factor(self, kind: str, source: float) -> float:
        """What a figure of another node is multiplied by.

        Args:
            kind: One of RELATIVE.
            source: The node of the figure, in nm.

        Returns:
            The factor; 1 for the same node.

        Raises:
            ProfileError: No factor is known for this node.
        """
        if source not in NODES:
            raise ProfileError(f"node = {source:g} nm: {_known()}")
        relative = RELATIVE[kind]
        return relative[NODES.index(self.node)] / relative[NODES.index(int(source))]

    def of_figure(self, key: str, quantity: Quantity, node: str) -> tuple[float, str]:
        """The factor of a profile's figure, and its node as text afterwards.

        Args:
            key: Of the figure.
            quantity: Its unit.
            node: Its node, as the profile says it.

        Returns:
            1 and the same text for figures that do not scale.

        Raises:
            ProfileError: The text names no node, or one without factors.
        """
        kind = KINDS.get(quantity.unit)
        if kind is None or key in UNSCALED:
            return 1.0, node
        named = NODE.search(node)
        if named is None:
            raise ProfileError(f"{key}: node = {node!r:.60}: its first number of nm is needed")
        factor = self.factor(kind, int(named[1]))
        if factor == 1:
            return factor, node
        return factor, f"{self.node} nm, {kind} x {factor:.3g} from {node} (DeepScaleTool)"


def _known() -> str:
    return f"factors are known for {', '.join(map(str, NODES))} nm"
