"""Networks for which SpikeSim's script gives no figure."""

import itertools

from hw_models.events import EventCounts
from hw_models.workload import Workload

SCRIPT_MAX_LAYERS = 12


def where_script_fails(workload: Workload, c: EventCounts) -> list[str]:
    """Cases in which the script gives no figure, and the report holds its closed form.

    Args:
        workload: The layers.
        c: Their counts on the script's chip.

    Returns:
        One sentence per case.
    """
    layers, crossbar_size = workload.layers, c.chip.figures.crossbar_size
    sizes = [x.in_channels * x.out_channels / crossbar_size**2 for x in layers]
    warnings = []
    if _decreases(c.tiling.pes.tolist()):
        warnings.append("PEs per layer decrease somewhere: the original refuses to count tiles")
    if _decreases(sizes):
        warnings.append("matrix sizes decrease somewhere: the original refuses to give a latency")
    if len(layers) > SCRIPT_MAX_LAYERS:
        warnings.append(f"{len(layers)} layers: the original crashes beyond {SCRIPT_MAX_LAYERS}")
    if max(sizes) < 1:
        warnings.append("no layer fills a crossbar: the original never ends")
    if len({layer.kernel for layer in layers}) > 1:
        warnings.append("kernels differ: the original knows one kernel for all layers")
    if any(isinstance(side, tuple) for x in layers for side in (x.kernel, x.out_size, x.map_size)):
        warnings.append("maps or kernels are not square: the original knows only squares")
    return warnings


def _decreases(values: list[float]) -> bool:
    return any(after < before for before, after in itertools.pairwise(values))
