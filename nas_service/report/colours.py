"""Colours of pictures, for colour-blind readers, on light and on dark pages."""

# Components of a chip: Paul Tol's muted scheme, lightened where it would vanish on a dark page.
COMPONENTS = {
    "crossbar": "#5b4bb3", "adc": "#cc6677", "mux": "#c9b64f", "subtractor": "#997700",
    "adder": "#aa4499", "temp_buffer": "#6699cc", "tile_buffer": "#77b9dd", "h_tree": "#44aa99",
    "sum_wires": "#2c8a4b", "network": "#66aa55", "fetch": "#a04030", "neuron": "#ee8866",
    "neuron_memory": "#999933", "elementwise": "#a5662a", "dac": "#ee3377", "leakage": "#808080",
    "input_memory": "#6699cc", "fill": "#4477aa", "steady": "#ee6677", "parameters": "#4477aa",
    "neuron_state": "#999933", "spike_buffer": "#77b9dd",
}  # fmt: skip
OTHER = "#b0b0b0"
KINDS = {  # of candidates, on paper; pages take theirs from page.css
    "front": "#c8401a", "feasible": "#2b6a99", "cached": "#2b6a99", "below": "#8a5fb0",
    "infeasible": "#9aa5b0", "rejected": "#9aa5b0", "diverged": "#9aa5b0", "baseline": "#566473",
}  # fmt: skip


def component(name: str) -> str:
    """The colour of a component."""
    return COMPONENTS.get(name, OTHER)
