"""`card`: a page about the network for people, as Markdown and as HTML with its cells drawn."""

import json
from collections.abc import Iterator

from jinja2 import Environment, PackageLoader, StrictUndefined

from hw_models.markdown import cell as escaped
from hw_models.markdown import table
from hw_models.uncertainty import Ensemble
from nas_service.export.formats import Contents
from nas_service.export.trained_network import TrainedNetwork
from nas_service.metrics import decimals, measure
from nas_service.report.drawing import cell
from nas_service.spaces.cell import EDGE_NAMES
from nas_service.statistics import proportion

CHIPS = 0.9  # share of the draws of a chip's uncertain figures within the interval of a cost
Rows = list[list[str]]


def contents(network: TrainedNetwork, name: str) -> Contents:
    """See `Module.contents`."""
    return {".md": _markdown(network, name).encode(), ".html": _html(network, name).encode()}


def _title(network: TrainedNetwork) -> str:
    facts = network.facts
    repeat = f", repeat {facts['repeat']}" if "repeat" in facts else ""
    return f"{facts['name']}, trial {facts['trial']}{repeat}"


def _accuracies(network: TrainedNetwork) -> Rows:
    """Accuracy on validation and test images, with intervals of their number."""
    data, rows = network.facts["data"], []
    accuracy = network.evaluation.accuracy
    images = data["validation_images"]
    if accuracy is not None:
        i = proportion(round(accuracy * images), images)
        rows.append(
            [f"validation, {images} images", f"{accuracy:.4f}", f"{i.low:.4f} .. {i.high:.4f}"]
        )
    test = network.facts.get("test_accuracy")
    rows.append(["test", "not measured" if test is None else f"{test:.4f}", ""])
    return rows


def _costs(network: TrainedNetwork) -> Rows:
    """Hardware metrics with the interval that the ranges of the chip's figures give."""
    intervals = Ensemble(network.profile).interval(network.workload, CHIPS)
    rows = []
    for name, value in measure(network.evaluation).items():
        if name in intervals:
            places, (low, high) = decimals(name), intervals[name]
            between = "" if low == high else f"{low:.{places}f} .. {high:.{places}f}"
            rows.append([name, f"{value:.{places}f}", between])
    return rows


def _origin(network: TrainedNetwork) -> Rows:
    data, e = network.facts["data"], network.evaluation
    return [
        ["study", str(network.facts["name"])],
        ["seed of the training", str(e.seed)],
        ["epochs", str(e.fidelity)],
        ["data", f"{data['name']}, {data['training_images']} training images"],
        ["digest of training and validation images", data["digest"]],
        ["licence of the data", data["licence"]],
        ["chip", f"{network.profile.name} (digest {network.profile.digest})"],
        ["input", f"{network.inputs.task.encoding}, {e.architecture.time_steps} time steps"],
        ["classes", ", ".join(network.inputs.class_names)],
        *([f"version of {name}", version] for name, version in e.versions.items()),
    ]


def _cells(network: TrainedNetwork) -> Rows:
    cells = network.evaluation.architecture.cells
    return [[str(k), *c.operations] for k, c in enumerate(cells)]


def _loading(name: str) -> str:
    return (
        f'network = nas_service.load("{name}.safetensors")\n'
        "prediction = network.predict(images)  # raw pixels\n"
    )


NOTE = (
    "Accuracies are of one training with one seed; their 95 % interval covers the choice of images "
    "alone (Wilson). Costs are estimated by the chip's profile; their interval holds "
    f"{100 * CHIPS:.0f} % of the chips that the ranges of its figures allow."
)


def _markdown(network: TrainedNetwork, name: str) -> str:
    parts = [f"# {escaped(_title(network))}", "## Accuracy"]
    parts += [table(["images", "accuracy", "95 % interval"], list(_escaped(_accuracies(network))))]
    parts += ["## Costs", table(["metric", "estimate", f"{100 * CHIPS:.0f} % interval"],
                                list(_escaped(_costs(network)))), NOTE]  # fmt: skip
    parts += ["## Cells", table(["cell", *EDGE_NAMES], list(_escaped(_cells(network))))]
    architecture = json.dumps(network.evaluation.architecture.to_json(), indent=1)
    parts += ["## Architecture", f"```json\n{architecture}\n```"]
    parts += ["## Origin", table(["fact", "value"], list(_escaped(_origin(network))))]
    parts += ["## Loading", f"```python\n{_loading(name)}```"]
    return "\n\n".join(parts) + "\n"


def _escaped(rows: Rows) -> Iterator[list[str]]:
    return ([escaped(text) for text in row] for row in rows)


def _html(network: TrainedNetwork, name: str) -> str:
    pages = Environment(
        loader=PackageLoader("nas_service", "report"), autoescape=True, undefined=StrictUndefined
    )
    return pages.get_template("card.html").render(
        title=_title(network),
        accuracies=_accuracies(network),
        costs=_costs(network),
        chips=f"{100 * CHIPS:.0f} %",
        note=NOTE,
        cells=[cell(c) for c in network.evaluation.architecture.cells],
        architecture=json.dumps(network.evaluation.architecture.to_json(), indent=1),
        origin=_origin(network),
        loading=_loading(name),
    )
