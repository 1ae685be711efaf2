"""Our chips against figures that others published, crossbars against silicon (docs/cost-model.md).

python benchmarks/published_figures.py            # VGG9 as SpikeSim and other papers cost it
python benchmarks/published_figures.py --crossbars  # products of crossbars that were measured
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import harness

from hw_models import Layer, Workload, load_profile
from hw_models.silicon.measured import known_chips, load_chip
from hw_models.silicon.validation import Summary, validate
from hw_models.silicon.verdict import verdicts

RATE = 0.1  # spikes per input and time step, where a figure names 10 %
# VGG9 of SpikeSim for CIFAR-10: in and out channels, side of the map, and pooling after it.
VGG9 = (
    (3, 64, 32, 1),
    (64, 64, 32, 2),
    (64, 128, 16, 1),
    (128, 128, 16, 2),
    (128, 256, 8, 1),
    (256, 256, 8, 1),
    (256, 256, 8, 2),
)


def vgg9(weight_bits: int, time_steps: int = 5) -> Workload:
    """The convolutions, as SpikeSim costs them; the image is coded directly."""
    layers = [
        Layer(
            f"conv{i + 1}",
            "conv",
            c_in,
            c_out,
            kernel=3,
            in_size=side,
            out_size=side,
            pool=pool,
            weight_bits=weight_bits,
            input_bits=1 if i else 8,
            once=i == 0,
            spike_rate=RATE if i else 1.0,
        )
        for i, (c_in, c_out, side, pool) in enumerate(VGG9)
    ]
    return Workload(tuple(layers), time_steps)


def spiking_operations(workload: Workload) -> float:
    """Synaptic operations of an inference: weights met by a spike, the image left out."""
    return sum(
        x.out_pixels * x.weights * x.rates[0] * workload.time_steps
        for x in workload.layers
        if not x.once
    )


def figures(profile: str, bits: int) -> dict[str, Any]:
    """What a profile costs the convolutions of VGG9 with weights of some bits."""
    workload = vgg9(bits)
    report = load_profile(profile).estimate(workload)
    neurons = report.area_m2.by_component()["neuron_memory"] / report.area_m2.total
    per_operation_J = sum(report.energy_J.by_row()[1:]) / spiking_operations(workload)
    metrics = report.metrics()
    return {
        "profile": profile,
        "weight_bits": bits,
        "neuron_area_share": round(neurons, 4),
        "pJ_per_synaptic_operation": round(1e12 * per_operation_J, 4),
        **{name: round(metrics[name], 3) for name in ("area_mm2", "latency_ms", "energy_uJ")},
        "parameters": metrics["parameters"],
    }


def crossbars() -> dict[str, Any]:
    """Every measured figure of a crossbar beside that of the model, and how many agree."""
    validations = [validate(load_chip(name)) for name in known_chips()]
    rows = [
        {"chip": v.chip.name, "group": v.chip.group, "figure": x.figure, "point": x.point}
        | {"model": x.model, "measured": x.measured, "ratio": x.ratio}
        for v in validations
        for x in (*v.energies, *v.latencies, *([v.area] if v.area else []), *v.splits)
    ]
    sentences = {v.chip.name: verdicts(v) for v in validations}
    return {"figures": rows, "verdicts": sentences, "summary": asdict(Summary.of(validations))}


def main(argv: Sequence[str] | None = None) -> None:
    options = harness.parser(__doc__)
    options.add_argument("--crossbars", action="store_true", help="measured crossbars instead")
    args = options.parse_args(argv)
    if args.crossbars:
        document = crossbars()
        summary = {key: str(value) for key, value in document["summary"].items()}
        sentences = [
            f"{c}, {text}" for c, each in document["verdicts"].items() for text in each.values()
        ]
        lines = [*harness.figures(document["figures"]), "", *sentences, "", *harness.pairs(summary)]
        return harness.show(document, args.json, lambda: lines)
    rows = [figures(name, bits) for name in ("spikesim_rram", "corrected") for bits in (4, 8)]
    harness.show(rows, args.json, lambda: harness.table(list(rows[0]), (r.values() for r in rows)))


if __name__ == "__main__":
    main()
