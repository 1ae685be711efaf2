"""What few bits cost: accuracy by bits, grid and method, time of a training step, of a scoring.

    python benchmarks/quantization.py --seeds 5
    python benchmarks/quantization.py --scoring

One fixed cell pair is trained on the digits by the recipe of studies/digits.toml and scored on
validation images. `absmax` and `learned` (LSQ) train through their rounding; `after` rounds the
network trained in float. Time ratios are medians over rounds in which every variant takes one
step in turn. `int8` compares float32 sums with those from 8-bit products, which have to be equal.
`--scoring` compares a study's two ways to measure an accuracy, `scoring = "fp32"` and `"int8"`,
the making of the deployed network included, for networks of several widths after one epoch.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nas_service.data.batches import ImageTensors, StoredImages, all_images, batch
from nas_service.evaluation.evaluator import Evaluator
from nas_service.evaluation.networks import recipe_of
from nas_service.snn.deployed import deployed, fold, quantize_after
from nas_service.snn.int8 import Int8Convolution, in_int8, reason_against
from nas_service.snn.network import Network
from nas_service.snn.quantization import Granularity, Rounding, matrix_of, quantize
from nas_service.snn.training import accuracy, firing_rate, fit, recalibrate
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.study.loading import load_spec

STUDY = Path(__file__).parents[1] / "studies" / "digits.toml"
CELL = Cell(("conv3x3", "zeroize", "skip", "zeroize", "skip", "zeroize"))
ARCHITECTURE = Architecture((CELL, CELL), 16, head_pool=1, hidden=96, time_steps=3, weight_bits=8)
GRIDS: tuple[Granularity, ...] = ("channel", "tensor")
BITS = (8, 4, 3, 2)
TRAINED = [Rounding(b, per) for b in BITS for per in GRIDS]
TRAINED += [Rounding(b, per, "learned") for b in (3, 2) for per in GRIDS]
AFTER = [Rounding(b, per, "absmax", "ptq") for b in BITS for per in GRIDS]
AFTER += [Rounding(b, per, "mse", "ptq") for b in BITS for per in GRIDS]
SHAPES = [(16, 8), (16, 32), (32, 16), (32, 32), (64, 8), (64, 16), (128, 8), (128, 16)]
INT8_ROUNDS = 9  # of float32 against bytes, at most
WIDTHS = (8, 16, 32, 64, 128)
SPIKES = 0.1  # share of inputs that spike, in the comparison of sums

Labelled = tuple[Tensor, Tensor]


def build(bench: Evaluator, rounding: Rounding | None, seed: int) -> Network:
    """The network under a rounding, or in float."""
    torch.manual_seed(seed)
    network = Network(ARCHITECTURE, bench.images.source.task)
    for block in network.blocks().values():
        matrix = matrix_of(block)
        if rounding is None:
            parametrize.remove_parametrizations(matrix, "weight", leave_parametrized=False)
        else:
            quantize(matrix, rounding)
    return network


def everywhere(network: Network, rounding: Rounding) -> Network:
    return quantize_after(network, dict.fromkeys(network.blocks(), rounding))


def name_of(rounding: Rounding | None) -> str:
    if rounding is None:
        return "float"
    after = " after" if rounding.mode == "ptq" else ""
    return f"{rounding.bits} bit per {rounding.granularity}, {rounding.step_size}{after}"


def accuracies(
    bench: Evaluator, train: Labelled, held_out: Labelled, seed: int
) -> dict[str, float]:
    """Validation accuracy of every variant from one seed."""
    found = {}
    for rounding in (None, *TRAINED):
        network = build(bench, rounding, seed)
        for _ in fit(network, ImageTensors(*train), recipe_of(bench.spec), seed):
            pass
        assert 0.01 < firing_rate(network, held_out[0]) < 0.9
        found[name_of(rounding)] = accuracy(network, ImageTensors(*held_out))
        if rounding is None:
            after = {
                name_of(r): accuracy(everywhere(network, r), ImageTensors(*held_out)) for r in AFTER
            }
        else:
            assert accuracy(deployed(network), ImageTensors(*held_out)) == found[name_of(rounding)]
    return found | after


def medians(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """CPU seconds of each call, taken in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 2):
        for name, call in calls.items():
            start = time.process_time()
            call()
            seconds[name].append(time.process_time() - start)
    return {name: statistics.median(values[2:]) for name, values in seconds.items()}


def step_ratios(bench: Evaluator, train: Labelled, rounds: int) -> dict[str, float]:
    """Time of a training step over that of the float network."""
    calls = {}
    for rounding in (None, *TRAINED, Rounding(4, step_size="mse", mode="ptq")):
        network = build(bench, rounding, seed=0).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
        calls[name_of(rounding)] = lambda n=network, o=optimizer: step(n, o, train)
    seconds = medians(calls, rounds)
    return {name: s / seconds["float"] for name, s in seconds.items()}


def step(network: nn.Module, optimizer: torch.optim.Optimizer, train: Labelled) -> None:
    images, labels = (x[:64] for x in train)
    loss = nn.functional.cross_entropy(network(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@torch.inference_mode()
def sums_in_int8(channels: int, side: int, rounds: int) -> float:
    """Time of float32 sums over that of the same from bytes, for one 3x3 convolution."""
    images = max(8, 2**21 // (channels * side**2))
    spikes = (torch.rand(images, channels, side, side) < SPIKES).float()
    spikes = spikes.to(memory_format=torch.channels_last)
    matrix = fold(quantize(nn.Conv2d(channels, channels, 3, padding=1), Rounding(8)))
    other = Int8Convolution(matrix)
    assert torch.equal(matrix.sums(spikes), other.sums(spikes))
    seconds = medians(
        {"float": lambda: matrix.sums(spikes), "int8": lambda: other.sums(spikes)}, rounds
    )
    return seconds["float"] / seconds["int8"]


def scoring_in_int8(bench: Evaluator, train: Labelled, held_out: Labelled, rounds: int) -> float:
    """Time to score the trained network over that of its deployed twin on bytes."""
    network = build(bench, Rounding(8), seed=0)
    for _ in fit(network, ImageTensors(*train), recipe_of(bench.spec), 0):
        pass
    twin = deployed(network)
    other = in_int8(twin)
    with torch.inference_mode():
        assert torch.equal(other(held_out[0]), twin(held_out[0]))
    calls = {"float": network, "int8": other}
    seconds = medians(
        {name: lambda n=n: accuracy(n, ImageTensors(*held_out)) for name, n in calls.items()},
        rounds,
    )
    return seconds["float"] / seconds["int8"]


def scorings(bench: Evaluator, rounds: int) -> dict[str, dict[str, float]]:
    """By channels of the first cell: times faster in int8, and the accuracies of both ways."""
    found = {}
    train, held_out = (
        StoredImages(part) for part in (bench.images.data.train, bench.images.data.validation)
    )
    for width in WIDTHS:
        torch.manual_seed(0)
        network = Network(replace(ARCHITECTURE, channels=width), bench.images.source.task)
        for _ in fit(network, train, recipe_of(bench.spec), 0, until=1):
            pass
        recalibrate(network, train, bench.spec.training.batch_size)
        ways: dict[str, Callable[[], float]] = {
            "fp32": lambda n=network: accuracy(n, held_out),
            "deployed": lambda n=network: accuracy(deployed(n), held_out),
            "int8": lambda n=network: accuracy(in_int8(deployed(n)), held_out),
        }
        seconds, shares = medians(ways, rounds), {name: way() for name, way in ways.items()}
        assert shares["deployed"] == shares["int8"]
        found[str(width)] = {
            "int8_faster": seconds["fp32"] / seconds["int8"],
            "deployed_faster": seconds["fp32"] / seconds["deployed"],
            "fp32_s": seconds["fp32"],
            "fp32_accuracy": shares["fp32"],
            "int8_accuracy": shares["int8"],
            "firing_rate": firing_rate(
                network, batch(bench.images.data.validation, slice(None))[0]
            ),
        }
    return found


def scoring_table(found: dict[str, dict[str, float]]) -> str:
    head = "channels   int8 faster   deployed in float faster   fp32 s   accuracy fp32, int8   rate"
    rows = [
        f"{width:>8s} {f['int8_faster']:13.2f} {f['deployed_faster']:26.2f} {f['fp32_s']:8.3f}"
        f" {f['fp32_accuracy']:15.4f} {f['int8_accuracy']:.4f} {f['firing_rate']:7.3f}"
        for width, f in found.items()
    ]
    return "\n".join([head, *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scoring", action="store_true", help="only the two ways to score")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--study", type=Path, default=STUDY, help="recipe and split of the digits")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    bench = Evaluator.open(load_spec(args.study), Path())
    if args.scoring:
        found = scorings(bench, args.rounds)
        print(json.dumps(found, indent=2) if args.json else scoring_table(found))
        return
    train, held_out = (
        all_images(part) for part in (bench.images.data.train, bench.images.data.validation)
    )
    ratios = step_ratios(bench, train, args.rounds)
    rows = [accuracies(bench, train, held_out, seed) for seed in range(args.seeds)]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    without, few = reason_against(), min(args.rounds, INT8_ROUNDS)
    sums = {} if without else {f"{c}x{s}x{s}": sums_in_int8(c, s, few) for c, s in SHAPES}
    scoring = None if without else scoring_in_int8(bench, train, held_out, few)
    document = {
        "accuracy": columns,
        "step_ratio": ratios,
        "rounds": args.rounds,
        "int8_sums": sums,
        "int8_scoring": scoring,
        "int8_reason_against": without,
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }
    print(json.dumps(document, indent=2) if args.json else table(document))


def table(found: dict) -> str:  # type: ignore[type-arg]
    lines = [f"{'':32s} accuracy: mean, least, most   step / float's"]
    for name, values in found["accuracy"].items():
        ratio = found["step_ratio"].get(name)
        lines.append(
            f"{name:32s} {statistics.fmean(values):14.4f} {min(values):.4f} {max(values):.4f}"
            + (f" {ratio:16.3f}" if ratio else "")
        )
    seeds = len(found["accuracy"]["float"])
    lines.append(f"{seeds} seeds, medians of {found['rounds']} rounds, CPU {found['cpu']}")
    if found["int8_reason_against"]:
        return "\n".join([*lines, f"int8: {found['int8_reason_against']}"])
    lines.append("int8 over float32, times faster: 3x3 convolutions of spikes")
    lines += [f"  {shape:12s} {gain:.2f}" for shape, gain in found["int8_sums"].items()]
    return "\n".join([*lines, f"  scoring the digits network: {found['int8_scoring']:.2f}"])


if __name__ == "__main__":
    main()
