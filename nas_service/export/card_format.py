"""`card`: a page about the network for people, as Markdown and as HTML with its cells drawn."""

import json
import shlex
from collections.abc import Iterator

from hw_models.markdown import cell as escaped
from hw_models.markdown import table
from hw_models.uncertainty import Ensemble
from nas_service.export.formats import Contents
from nas_service.export.trained_network import TrainedNetwork
from nas_service.metrics import COUNTED, measure
from nas_service.report.pages import pages
from nas_service.report.svg.cells import cell
from nas_service.spaces.cell import EDGE_NAMES
from nas_service.statistics import proportion
from nas_service.text import metric, metric_label, percent

CHIPS = 0.9  # share of the draws of a chip's uncertain figures within the interval of a cost
Rows = list[list[str]]


def contents(network: TrainedNetwork, name: str) -> Contents:
    """See `Module.contents`."""
    return {".md": _markdown(network, name).encode(), ".html": _html(network, name).encode()}


def _title(network: TrainedNetwork) -> str:
    facts = network.facts
    numbers = [f"{key} {facts[key]}" for key in ("trial", "repeat") if key in facts]
    return ", ".join(
        [
            str(facts["name"]),
            *(numbers or [f"architecture {network.evaluation.architecture.digest}"]),
        ]
    )


def _summary(network: TrainedNetwork) -> str:
    """One sentence about what the network does."""
    task, e = network.inputs.task, network.evaluation
    kind = "recordings of events" if task.events else "images"
    return (
        f"A quantised spiking network that sorts {kind} of {task.channels} x {task.size} x "
        f"{task.size} into {task.classes} classes in {e.architecture.time_steps} time steps, for a "
        "crossbar chip."
    )


def _accuracies(network: TrainedNetwork) -> Rows:
    """Accuracy on validation and test images, with intervals of their number."""
    e, data = network.evaluation, network.facts["data"]
    rows = [_accuracy("validation", e.accuracy, data["validation_images"])]
    rows.append(_accuracy("test", network.facts.get("test_accuracy"), data.get("test_images")))
    if e.on_chip:
        ends = percent(min(e.on_chip), 4), percent(max(e.on_chip), 4)
        rows.append(["validation, on simulated chips", percent(measure(e)["accuracy_on_chip"], 4),
                     f"{' .. '.join(ends)} over {len(e.on_chip)} chips"])  # fmt: skip
    return rows


def _accuracy(part: str, share: float | None, images: int | None) -> list[str]:
    if share is None:
        return [part, "not measured", ""]
    if images is None:
        return [part, percent(share, 4), ""]
    i = proportion(round(share * images), images)
    ends = f"{percent(i.low, 4)} .. {percent(i.high, 4)}"
    return [f"{part}, {images} images", percent(share, 4), ends]


def _costs(network: TrainedNetwork) -> Rows:
    """Hardware metrics with the interval of the chip's figures, and what a training counted."""
    intervals = Ensemble(network.profile).interval(network.workload, CHIPS)
    rows = []
    for name, value in measure(network.evaluation).items():
        if name in intervals:
            low, high = intervals[name]
            between = "" if low == high else f"{metric(name, low)} .. {metric(name, high)}"
            rows.append([metric_label(name), metric(name, value), between])
        elif name in COUNTED:
            rows.append([metric_label(name), metric(name, value), ""])
    return rows


def _origin(network: TrainedNetwork) -> Rows:
    data, e, inputs = network.facts["data"], network.evaluation, network.inputs
    deviations = zip(inputs.mean, inputs.deviation, strict=True)
    return [
        ["study", str(network.facts["name"])],
        ["seed of the study", str(network.spec.seed)],
        ["seed of the training", str(e.seed)],
        ["epochs", str(e.fidelity)],
        ["data", f"{data['name']}, {data['training_images']} training images"],
        ["digest of training and validation images", data["digest"]],
        ["licence of the data", data["licence"]],
        ["home of the data", data["home"]],
        ["chip", f"{network.profile.name} (digest {network.profile.digest})"],
        ["raw values", f"0 .. {inputs.task.largest}, {inputs.task.encoding} encoding"],
        ["mean and deviation", ", ".join(f"{m:.6g} and {d:.6g}" for m, d in deviations)],
        ["share of neurons that spike in a time step", metric("spike_rate", e.spike_rate)],
        ["classes", ", ".join(inputs.class_names)],
        *([f"version of {name}", version] for name, version in e.versions.items()),
    ]


def _cells(network: TrainedNetwork) -> Rows:
    cells = network.evaluation.architecture.cells
    return [[str(k), *c.operations] for k, c in enumerate(cells)]


def _loading(network: TrainedNetwork, name: str) -> str:
    """A program that loads the network from the file that `nas export` writes beside the card."""
    task, steps = network.inputs.task, network.evaluation.architecture.time_steps
    shape = f"[B, {task.channels}, {task.size}, {task.size}]"
    if task.events:
        shape = f"[B, {steps}, {task.channels}, {task.size}, {task.size}]"
    source = [shlex.quote(str(network.facts["name"])), str(network.facts.get("trial", ""))]
    if "trial" not in network.facts:
        source = ["NETWORK.safetensors"]
    if "repeat" in network.facts:
        source += ["--repeat", str(network.facts["repeat"])]
    return (
        f"# nas export {' '.join(source)} --format safetensors -o {_shell_word(name)}\n"
        "import nas_service\n\n"
        f"network = nas_service.load({_literal(f'{name}.safetensors')})\n"
        f"prediction = network.predict(images)  # whole numbers of 0 .. {task.largest}, {shape}\n"
        "print(prediction.names, prediction.scores)\n"
    )


def _shell_word(name: str) -> str:
    """A file's name as an argument; `?` for what would end the line, or cannot be shown."""
    return shlex.quote("".join(c if c.isprintable() else "?" for c in name))


def _literal(name: str) -> str:
    """A file's name as Python reads it."""
    return json.dumps(name, ensure_ascii=False) if name.isprintable() else ascii(name)


NOTE = (
    "Accuracies are of one training with one seed; their 95 % interval covers the choice of images "
    "alone (Wilson). Costs are estimated by the chip's profile; their interval holds "
    f"{100 * CHIPS:.0f} % of the chips that the ranges of its figures allow. "
    "Effective operations and sparsities are counted on validation images."
)


def _markdown(network: TrainedNetwork, name: str) -> str:
    parts = [f"# {escaped(_title(network))}", _summary(network), "## Accuracy"]
    parts += [table(["images", "accuracy", "95 % interval"], list(_escaped(_accuracies(network))))]
    parts += ["## Costs", table(["metric", "estimate", f"{100 * CHIPS:.0f} % interval"],
                                list(_escaped(_costs(network)))), NOTE]  # fmt: skip
    parts += ["## Cells", table(["cell", *EDGE_NAMES], list(_escaped(_cells(network))))]
    architecture = json.dumps(network.evaluation.architecture.to_json(), indent=1)
    parts += ["## Architecture", f"```json\n{architecture}\n```"]
    parts += ["## Origin", table(["fact", "value"], list(_escaped(_origin(network))))]
    parts += ["## Loading", f"```python\n{_loading(network, name)}```"]
    return "\n\n".join(parts) + "\n"


def _escaped(rows: Rows) -> Iterator[list[str]]:
    return ([escaped(text) for text in row] for row in rows)


def _html(network: TrainedNetwork, name: str) -> str:
    return (
        pages()
        .get_template("card.html")
        .render(
            title=_title(network),
            summary=_summary(network),
            accuracies=_accuracies(network),
            costs=_costs(network),
            chips=f"{100 * CHIPS:.0f} %",
            note=NOTE,
            cells=[cell(c) for c in network.evaluation.architecture.cells],
            architecture=json.dumps(network.evaluation.architecture.to_json(), indent=1),
            origin=_origin(network),
            loading=_loading(network, name),
        )
    )
