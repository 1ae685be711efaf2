"""Networks as they are after a training, without one: random weights, live statistics."""

import random
from dataclasses import replace
from pathlib import Path

import tiny
import torch

from nas_service.evaluation.evaluator import Evaluator
from nas_service.evaluation.screening import profile_of
from nas_service.export.from_training import train_and_keep
from nas_service.export.trained_network import Inputs, TrainedNetwork
from nas_service.searches.single import single_candidate
from nas_service.snn.network import Network
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import EDGE_NAMES, Cell
from nas_service.spaces.operations import PRESETS
from nas_service.study.loading import load_spec

SIZES = {"channels": 4, "hidden": 12, "time_steps": 4}


def random_architecture(seed, backward):
    """A connected architecture of one or two cells of one preset's operations, 2, 4 or 8 bits."""
    generator = random.Random(seed)
    preset = sorted(PRESETS)[seed % len(PRESETS)]
    cells = random_cells(generator, preset, backward)
    sizes = {
        "head_pool": generator.choice([2, 4]),
        "weight_bits": generator.choice([2, 4, 8]),
    }
    return Architecture.from_json({"cells": cells, **SIZES, **sizes})


def random_cells(generator, preset, backward):
    """One or two cells of a preset's operations that connect image and classes."""
    while True:
        cells = [
            {edge: _operation(generator, PRESETS[preset], backward) for edge in EDGE_NAMES}
            for _ in range(generator.choice([1, 2]))
        ]
        parsed = [Cell(tuple(cell.values())) for cell in cells]
        if all(cell.connected for cell in parsed) and backward == any(
            cell.recurrent for cell in parsed
        ):
            return cells


def _operation(generator, names, backward):
    name = generator.choice(names)
    return f"back:{name}" if backward and name != "zeroize" and generator.random() < 0.4 else name


def evaluator(folder: Path, text: str = tiny.QUICK) -> Evaluator:
    """The evaluator of a small study of the digits."""
    path = folder / "tiny.toml"
    path.write_text(text.format(trainings=1))
    return Evaluator.open(load_spec(path), folder)


def after_training(evaluator: Evaluator, architecture: Architecture) -> TrainedNetwork:
    """The network of an architecture after the training of the study."""
    spec = single_candidate(evaluator.spec, architecture, "network")
    evaluator = Evaluator.open(spec, evaluator.folder, evaluator.images.source)
    screened = evaluator.screen(architecture, 1)
    facts = {"name": "tiny", "trial": 7, "test_accuracy": None}
    _, network = train_and_keep(evaluator, screened, facts, lambda epoch, loss: None)
    return network


def give_statistics(network: Network, seed: int = 0) -> None:
    """Random statistics and parameters of all batch norms, with which the neurons fire."""
    generator = torch.Generator().manual_seed(seed)
    for norm in (m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.1, generator=generator)
        norm.running_var.uniform_(0.01, 0.2, generator=generator)
        norm.weight.data.uniform_(0.5, 2, generator=generator)
        norm.bias.data.normal_(0.3, 0.3, generator=generator)


def trained(evaluator: Evaluator, architecture: Architecture, seed: int = 0) -> TrainedNetwork:
    """The network of an architecture as if it had been trained."""
    spec = single_candidate(evaluator.spec, architecture, "network")
    evaluator = Evaluator.open(spec, evaluator.folder, evaluator.images.source)
    torch.manual_seed(seed)
    network = evaluator.network(architecture).eval()
    give_statistics(network, seed)
    screened = evaluator.screen(architecture, seed)
    evaluation = replace(screened, outcome="trained", accuracy=0.5, spike_rate=0.1, fidelity=1)
    generator = torch.Generator().manual_seed(seed)
    examples = torch.randint(17, (3, 1, 8, 8), generator=generator, dtype=torch.uint8)
    data = {"name": "digits", "digest": "0" * 16, "licence": "CC BY 4.0", "home": "https://x.y"}
    counts = {"training_images": 64, "validation_images": 32}
    facts = {"name": "tiny", "trial": 7, "test_accuracy": None, "data": data | counts}
    profile = profile_of(evaluator.spec)
    workload = evaluator.workload(architecture).at_rate(0.1)
    return TrainedNetwork(
        evaluator.spec,
        evaluation,
        Inputs.of(evaluator),
        network,
        profile,
        workload,
        examples,
        facts,
    )
