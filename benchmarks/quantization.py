"""What few bits cost: accuracy by bits, grid and method, time of a training step, of a scoring.

    python benchmarks/quantization.py --seeds 5
    python benchmarks/quantization.py --scoring

One fixed cell pair is trained on the digits by the recipe of benchmarks/studies/digits.toml and
scored on validation images. `absmax` and `learned` (LSQ) train through their rounding; `after`
rounds the network trained in float. Time ratios are medians over rounds in which every variant
takes one step in turn. `int8` compares float32 sums with those from 8-bit products, which must be
equal.
`--scoring` compares a study's two ways to measure an accuracy, `scoring = "fp32"` and `"int8"`,
the making of the deployed network included, for networks of several widths after one epoch.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import harness
import torch
from digits_network import ARCHITECTURE, add_study
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
from nas_service.study.loading import load_spec

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


def build(evaluator: Evaluator, rounding: Rounding | None, seed: int) -> Network:
    """The network under a rounding, or in float."""
    torch.manual_seed(seed)
    network = Network(ARCHITECTURE, evaluator.images.source.task)
    for block in network.blocks().values():
        matrix = matrix_of(block)
        if rounding is None:
            parametrize.remove_parametrizations(matrix, "weight", leave_parametrized=False)
        else:
            quantize(matrix, rounding)
    return network


def everywhere(network: Network, rounding: Rounding) -> Network:
    """The trained network with every block rounded."""
    return quantize_after(network, dict.fromkeys(network.blocks(), rounding))


def name_of(rounding: Rounding | None) -> str:
    """How a rounding is called in the results."""
    if rounding is None:
        return "float"
    after = " after" if rounding.mode == "ptq" else ""
    return f"{rounding.bits} bit per {rounding.granularity}, {rounding.step_size}{after}"


def accuracies(
    evaluator: Evaluator, train: Labelled, held_out: Labelled, seed: int
) -> dict[str, float]:
    """Validation accuracy of every variant from one seed."""
    scores, after = {}, {}
    for rounding in (None, *TRAINED):
        network = build(evaluator, rounding, seed)
        fit_fully(network, evaluator, train, seed)
        assert 0.01 < firing_rate(network, held_out[0]) < 0.9
        scores[name_of(rounding)] = accuracy(network, ImageTensors(*held_out))
        if rounding is None:
            after = {
                name_of(r): accuracy(everywhere(network, r), ImageTensors(*held_out)) for r in AFTER
            }
        else:
            assert accuracy(deployed(network), ImageTensors(*held_out)) == scores[name_of(rounding)]
    return scores | after


def fit_fully(network: Network, evaluator: Evaluator, train: Labelled, seed: int) -> None:
    """Trains by the whole recipe of the study."""
    for _ in fit(network, ImageTensors(*train), recipe_of(evaluator.spec), seed):
        pass


def medians(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """CPU seconds of each call, taken in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 2):
        for name, call in calls.items():
            seconds[name].append(harness.seconds(call))
    return {name: statistics.median(values[2:]) for name, values in seconds.items()}


def step_ratios(evaluator: Evaluator, train: Labelled, rounds: int) -> dict[str, float]:
    """Time of a training step over that of the float network."""
    calls = {}
    for rounding in (None, *TRAINED, Rounding(4, step_size="mse", mode="ptq")):
        network = build(evaluator, rounding, seed=0).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
        calls[name_of(rounding)] = lambda n=network, o=optimizer: step(n, o, train)
    seconds = medians(calls, rounds)
    return {name: s / seconds["float"] for name, s in seconds.items()}


def step(network: nn.Module, optimizer: torch.optim.Optimizer, train: Labelled) -> None:
    """One training step on the first 64 images."""
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


def scoring_in_int8(
    evaluator: Evaluator, train: Labelled, held_out: Labelled, rounds: int
) -> float:
    """Time to score the trained network over that of its deployed twin on bytes."""
    network = build(evaluator, Rounding(8), seed=0)
    fit_fully(network, evaluator, train, 0)
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


def scorings(evaluator: Evaluator, rounds: int) -> dict[str, dict[str, float]]:
    """By channels of the first cell: times faster in int8, and the accuracies of both ways."""
    data, rows = evaluator.images.data, {}
    train, held_out = StoredImages(data.train), StoredImages(data.validation)
    for width in WIDTHS:
        network = after_one_epoch(evaluator, train, width)
        ways: dict[str, Callable[[], float]] = {
            "fp32": lambda n=network: accuracy(n, held_out),
            "deployed": lambda n=network: accuracy(deployed(n), held_out),
            "int8": lambda n=network: accuracy(in_int8(deployed(n)), held_out),
        }
        seconds, shares = medians(ways, rounds), {name: way() for name, way in ways.items()}
        assert shares["deployed"] == shares["int8"]
        rows[str(width)] = {
            "int8_faster": seconds["fp32"] / seconds["int8"],
            "deployed_faster": seconds["fp32"] / seconds["deployed"],
            "fp32_s": seconds["fp32"],
            "fp32_accuracy": shares["fp32"],
            "int8_accuracy": shares["int8"],
            "firing_rate": firing_rate(network, batch(data.validation, slice(None))[0]),
        }
    return rows


def after_one_epoch(evaluator: Evaluator, train: StoredImages, width: int) -> Network:
    """A network of some channels, trained for one epoch and recalibrated."""
    torch.manual_seed(0)
    network = Network(replace(ARCHITECTURE, channels=width), evaluator.images.source.task)
    for _ in fit(network, train, recipe_of(evaluator.spec), 0, until=1):
        pass
    recalibrate(network, train, evaluator.spec.training.batch_size)
    return network


def scoring_lines(document: dict[str, dict[str, float]]) -> list[str]:
    """The two ways to score, for people."""
    headings = ["channels", *next(iter(document.values()))]
    return harness.table(headings, [[c, *map(harness.rounded, row.values())]
                                    for c, row in document.items()])  # fmt: skip


def measure(evaluator: Evaluator, args: argparse.Namespace) -> dict[str, Any]:
    """Accuracies by seed, step times, and times of int8 where the processor has it."""
    data = evaluator.images.data
    train, held_out = all_images(data.train), all_images(data.validation)
    ratios = step_ratios(evaluator, train, args.rounds)
    rows = [accuracies(evaluator, train, held_out, seed) for seed in range(args.seeds)]
    without, few = reason_against(), min(args.rounds, INT8_ROUNDS)
    sums = {} if without else {f"{c}x{s}x{s}": sums_in_int8(c, s, few) for c, s in SHAPES}
    return {
        "accuracy": {name: [row[name] for row in rows] for name in rows[0]},
        "step_ratio": ratios,
        "rounds": args.rounds,
        "int8_sums": sums,
        "int8_scoring": None if without else scoring_in_int8(evaluator, train, held_out, few),
        "int8_reason_against": without,
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }


def lines(document: dict[str, Any]) -> list[str]:
    """The document for people."""
    ratios, rows = document["step_ratio"], []
    for name, values in document["accuracy"].items():
        ratio = f"{ratios[name]:.3f}" if name in ratios else ""
        rows.append([name, harness.median(values, 4), ratio])
    seeds = len(document["accuracy"]["float"])
    title = f"{seeds} seeds, medians of {document['rounds']} rounds, CPU {document['cpu']}"
    headings = ("", "accuracy [least .. most]", "step / float's")
    return [title, *harness.table(headings, rows), "", *int8_lines(document)]


def int8_lines(document: dict[str, Any]) -> list[str]:
    """Times of int8, or why there are none."""
    if document["int8_reason_against"]:
        return [f"int8: {document['int8_reason_against']}"]
    gains = {**document["int8_sums"], "scoring the digits network": document["int8_scoring"]}
    return ["int8 over float32, times faster: 3x3 convolutions of spikes", *harness.pairs(gains)]


def main(argv: Sequence[str] | None = None) -> None:
    options = harness.parser(__doc__)
    options.add_argument("--scoring", action="store_true", help="only the two ways to score")
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--rounds", type=int, default=25)
    add_study(options)
    args = options.parse_args(argv)
    torch.set_num_threads(1)
    evaluator = Evaluator.open(load_spec(args.study), Path())
    show: Callable[[dict[str, Any]], list[str]] = scoring_lines if args.scoring else lines
    document = scorings(evaluator, args.rounds) if args.scoring else measure(evaluator, args)
    harness.show(document, args.json, lambda: show(document))


if __name__ == "__main__":
    main()
