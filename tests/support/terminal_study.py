"""A small study as every verb shows it: trained, rejected, repeated and failed trials."""

import csv
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import stored_studies as stored
from study_states import fail

from hw_models import load_profile
from nas_service.evaluation.evaluator import Evaluator
from nas_service.evaluation.screening import Budgets
from nas_service.evaluation.training_run import origin
from nas_service.metrics import Evaluation
from nas_service.searches.creation import check, create
from nas_service.searches.session import Search
from nas_service.snn.checkpoint import save_weights
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.spaces.operations import operations_of
from nas_service.store.store import Store
from nas_service.study.loading import load_spec

NAME = "tiny"
STUDY = """name = "tiny"
[space]
channels = [4, 8]
head_pool = 2
hidden = 16
time_steps = [2, 3]
weight_bits = [4, 8]
[data]
name = "digits"
train_samples = 64
validation_samples = 64
[training]
epochs = 2
[hardware]
profile = "corrected"
assumed_rate = 0.1
[search]
sampler = "random"
trainings = 4
[[objectives]]
metric = "accuracy"
direction = "maximize"
reference = 0.3
[[objectives]]
metric = "energy_uJ"
direction = "minimize"
reference = 0.5
[[constraints]]
metric = "parameters"
at_most = 5000
[[constraints]]
metric = "area_mm2"
at_most = 7
[[constraints]]
metric = "latency_ms"
at_most = 0.09
"""
CELLS = ("0224 0002 0000 0000", "0112 0043 0002 0000")  # the first has an edge without use
SIZES = {"channels": 4, "head_pool": 2, "hidden": 16, "time_steps": 2, "weight_bits": 4}
TRAINED = (0.9389, 0.8125, 0.7501, 0.2031)  # accuracies; the third is dominated, the last useless
LARGE = {**SIZES, "channels": 8, "time_steps": 3}
SEEDS = 2


def write_study(folder: Path) -> None:
    """Writes the study's file, its store, and what further verbs read, into a folder."""
    (folder / "tiny.toml").write_text(STUDY)
    evaluator = Evaluator.open(load_spec(folder / "tiny.toml"), Path())
    names = operations_of(evaluator.spec.space.operations)
    cells = tuple(Cell.from_text(text, names) for text in CELLS)
    with closing(Store(f"sqlite:///{folder}/nas.db", create=True)) as store:
        search = create(store, check(evaluator.spec), evaluator.data_digest, evaluator.density)
        _add_trials(search, evaluator, cells)
    document = Architecture(cells, **SIZES).to_json()
    (folder / "candidate.json").write_text(json.dumps(document))
    _write_measurements(folder)


def _add_trials(search: Search, evaluator: Evaluator, cells: tuple[Cell, ...]) -> None:
    orders = ((0, 1), (0, 0), (1, 1), (1, 0))
    done = [
        _trained(evaluator, Architecture((cells[a], cells[b]), **SIZES), accuracy)
        for (a, b), accuracy in zip(orders, TRAINED, strict=True)
    ]
    budgets = Budgets.of(evaluator.spec, evaluator.density)
    stored.finish(search, evaluator.screen(Architecture(cells, **LARGE), 1, repairs=budgets))
    fail(search, "RuntimeError: \x1b[31mno \u202espace left")
    for evaluation in done:
        stored.finish(search, evaluation)
        if evaluation.accuracy != TRAINED[1]:
            archive = search.store.archive(search.id)
            archive.set_test_accuracy(evaluation.architecture.digest, evaluation.accuracy - 0.01)
    folder = search.weights(done[0].architecture.digest)
    network = evaluator.network(done[0].architecture)
    save_weights(network, folder, origin(search.spec, evaluator.data_digest, done[0]))
    _add_repeats(search, done[:2])


def _trained(evaluator: Evaluator, architecture: Architecture, accuracy: float) -> Evaluation:
    """A candidate as if it had been trained."""
    screened = evaluator.screen(architecture, 1)
    assert not screened.rejected, screened.reason
    rates = {row: 0.12 for row in screened.hardware.rows if row != "shared"}
    curve = ((1, accuracy / 2), (2, accuracy))
    hardware = replace(screened.hardware, assumed=())  # a training has measured all of it
    return replace(
        screened, outcome="trained", accuracy=accuracy, spike_rate=0.12, fidelity=2,
        spike_rates=rates, curve=curve, seconds=3.0, hardware=hardware,
    )  # fmt: skip


def _add_repeats(search: Search, evaluations: list[Evaluation]) -> None:
    """Trainings of the finalists as `nas retrain` stores them."""
    for evaluation in evaluations:
        digest, accuracy = evaluation.architecture.digest, evaluation.accuracy
        for number in range(SEEDS):
            again = replace(evaluation, accuracy=accuracy - 0.01 * number, seed=number)
            repeats = search.store.repeats(search.id)
            repeats.add(number, again)
            repeats.set_test_accuracy(digest, number, accuracy - 0.02 * number)


def _write_measurements(folder: Path) -> None:
    """Energies of a layer list on a chip whose converters differ from the profile's."""
    layers = {
        "time_steps": 4,
        "layers": [
            {"name": "a", "kind": "linear", "in_features": 64, "out_features": 64},
            {"name": "b", "kind": "linear", "in_features": 64, "out_features": 10},
        ],
    }
    (folder / "net.json").write_text(json.dumps(layers))
    from nas_service.importers.network_file import load_workload

    workload = load_workload(folder / "net.json")
    chip = load_profile("corrected").with_values({"sar_bit_energy": 0.3})
    with (folder / "measured.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["workload", "spike_rate", "energy_uJ"])
        for rate in (0.1, 0.3, 0.5):
            energy = chip.estimate(workload.at_rate(rate)).metrics()["energy_uJ"]
            rows.writerow(["net.json", rate, f"{energy:.5g}"])
