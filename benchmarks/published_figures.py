"""The corrected chip and the script's against figures that others published (docs/cost-model.md).

python benchmarks/published_figures.py
"""

import argparse
import json

from hw_models import Layer, Workload, load_profile

RATE = 0.1  # spikes per input and time step, where a figure names 10 %
# Shapes of SpikeSim's VGG9 for CIFAR-10: in and out channels, side of the map, pooling behind it.
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
        x.out_size**2 * x.weights * x.rates[0] * workload.time_steps
        for x in workload.layers
        if not x.once
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = []
    for name in ("spikesim_rram", "corrected"):
        for bits in (4, 8):
            workload = vgg9(bits)
            report = load_profile(name).estimate(workload)
            area = report.area_m2.by_component()["neuron_memory"] / report.area_m2.total
            spiking = sum(report.energy_J.by_row()[1:])
            metrics = report.metrics()
            rows.append(
                {
                    "profile": name,
                    "weight_bits": bits,
                    "neuron_area_share": round(area, 4),
                    "pJ_per_synaptic_operation": round(
                        1e12 * spiking / spiking_operations(workload), 4
                    ),
                    "area_mm2": round(metrics["area_mm2"], 3),
                    "latency_ms": round(metrics["latency_ms"], 3),
                    "energy_uJ": round(metrics["energy_uJ"], 3),
                    "parameters": metrics["parameters"],
                }
            )
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(", ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
