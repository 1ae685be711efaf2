"""`nas export`: a trained network in a format for other programs."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from nas_service.cli.common import candidate_of, open_store, options
from nas_service.cli.number_types import WholeNumber
from nas_service.cli.terminal import print_json, print_out
from nas_service.errors import SpecError, did_you_mean
from nas_service.export.formats import FORMATS, place, staged_files
from nas_service.export.nir_readers import READERS

if TYPE_CHECKING:
    from torch import Tensor

    from nas_service.export.check import Comparison
    from nas_service.export.formats import Module
    from nas_service.export.trained_network import TrainedNetwork

DIFFERS = 1  # exit code
CHECKED = 256  # validation images of a check


class FormatName(click.ParamType):  # type: ignore[type-arg]  # generic in newer releases
    """The name of a format, also of one that a plug-in has added."""

    name = "format"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """All names."""
        return f"[{'|'.join(FORMATS)}]"

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """All names."""
        return f"One of {', '.join(FORMATS)} is needed."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name; click's usage error for another one."""
        if value not in FORMATS:
            hint = did_you_mean(str(value), FORMATS)
            self.fail(f"{value!r:.60} is not one of {', '.join(FORMATS)}{hint}", param, ctx)
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The names that begin so."""
        return [CompletionItem(name) for name in FORMATS if name.startswith(incomplete)]


@click.command()
@click.argument("source", metavar="STUDY|FILE")
@click.argument("trial", type=WholeNumber(0), required=False)
@click.option(
    "--format",
    "kind",
    type=FormatName(),
    required=True,
    help="Format of the files. "
    + " ".join(f"{name.capitalize()}: {kind.summary}." for name, kind in FORMATS.items()),
)
@click.option(
    "--for",
    "reader",
    type=click.Choice(list(READERS)),
    help="Write the nir file for this program, with a Python file that loads it there; without it "
    "the file has NIR's own equations.",
)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="Name of the file without its suffix, or a folder; by default STUDY-TRIAL.",
)
@click.option("--force", is_flag=True, help="Replace existing files of these names.")
@click.option(
    "--repeat",
    type=WholeNumber(1),
    metavar="K",
    help="Export the network of the trial's Kth training in nas retrain.",
)
@click.option("--check", is_flag=True, help="Run the files on validation images and compare.")
@options("storage", "data", "any_disk", "json")
def export(
    source: str,
    trial: int | None,
    kind: str,
    reader: str | None,
    output: str | None,
    force: bool,
    repeat: int | None,
    check: bool,
    storage: str | None,
    data: Path,
    any_disk: bool,
    as_json: bool,
) -> None:
    """Export a trained network for other programs.

    It is the network of TRIAL in STUDY, or the one in a FILE .safetensors that this command or
    `nas evaluate -o` has written.

    The files bring three example images with their expected scores. With --check they are run
    beside the network; the exit code is 1 where a prediction differs.
    """
    import torch

    from nas_service.export.check import Comparison, compare

    _demand_reader(kind, reader, check)
    if check and not FORMATS[kind].runs:
        raise SpecError(f"--check: a {kind} computes nothing that could be compared")
    torch.set_num_threads(1)
    name = Path(source).stem if trial is None else f"{source}-{trial}"
    base = place(output, name, FORMATS[kind])
    if trial is None:
        network, pixels = _read_file(source, repeat, data, check)
    else:
        network, pixels = _read(source, trial, repeat, storage, data, any_disk)
    module = _module(kind, reader)
    contents = module.contents(network, base.name)
    with staged_files(contents, base, replace=force) as staged:
        comparison = compare(network, module, staged[0], pixels) if check else None
    files = [base.with_name(path.name) for path in staged]
    readers = _readers(network, pixels) if check and kind == "nir" and reader is None else {}
    _print(files, comparison, readers, as_json)
    if not all(x.equal for x in (comparison, *readers.values()) if isinstance(x, Comparison)):
        raise SystemExit(DIFFERS)


def _demand_reader(kind: str, reader: str | None, check: bool) -> None:
    """NasError where no reader can be chosen, or the chosen one cannot be run for a check."""
    if reader is None:
        return
    if kind != "nir":
        raise SpecError(f"--for {reader}: {reader} reads nir files; --format is {kind}")
    if check:
        READERS[reader].demand_installed()


def _readers(network: "TrainedNetwork", pixels: "Tensor") -> "dict[str, Comparison | str]":
    """What the readers of NIR make of the network."""
    from nas_service.export.nir_check import compare_readers

    return compare_readers(network, pixels)


def _module(kind: str, reader: str | None) -> "Module":
    """What writes and runs the files."""
    if reader is None:
        return FORMATS[kind].load()
    from nas_service.export.nir_format import for_reader

    return for_reader(reader)


def _read(
    study: str, trial: int, repeat: int | None, storage: str | None, data: Path, any_disk: bool
) -> "tuple[TrainedNetwork, Tensor]":
    """The network, and raw pixels of the validation images that a check runs."""
    from nas_service.data.batches import raw
    from nas_service.export.from_study import of_trial
    from nas_service.searches import results
    from nas_service.searches.session import open_search
    from nas_service.searches.study_data import open_evaluator

    search = open_search(open_store(storage, any_disk=any_disk), study)
    candidate = candidate_of(results.read(search), trial)
    evaluator = open_evaluator(search, data)
    network = of_trial(search, evaluator, candidate, repeat)
    steps = network.evaluation.architecture.time_steps
    return network, raw(evaluator.images.split(steps).validation, slice(CHECKED))


def _read_file(
    path: str, repeat: int | None, data: Path, check: bool
) -> "tuple[TrainedNetwork, Tensor]":
    """The network in a file, and what a check runs; its examples where there is no check."""
    from nas_service.export.from_file import of_file, validation_pixels

    if not path.lower().endswith(FORMATS["safetensors"].suffix):
        raise SpecError(
            f"{path}: the number of a trial of this study is needed, or in place of both a file "
            ".safetensors"
        )
    if repeat is not None:
        raise SpecError(f"--repeat {repeat}: {path} is one network, not a trial with repeats")
    network = of_file(Path(path))
    pixels = validation_pixels(network, data, CHECKED) if check else network.examples
    return network, pixels


def _print(
    files: list[Path],
    comparison: "Comparison | None",
    readers: "Mapping[str, Comparison | str]",
    as_json: bool,
) -> None:
    if as_json:
        document: dict[str, Any] = {"files": [str(path) for path in files], "check": None}
        if comparison is not None:
            document["check"] = comparison.to_json()
        if readers:
            document["readers"] = {
                name: {"refused": x} if isinstance(x, str) else x.to_json()
                for name, x in readers.items()
            }
        return print_json(document)
    for path in files:
        print_out(f"wrote {path}")
    if comparison is not None:
        print_out(str(comparison))
    for name, compared in readers.items():
        print_out(f"{name}: {compared}")
