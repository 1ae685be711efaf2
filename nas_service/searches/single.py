"""One architecture from a file, measured as a study would measure it, without a store."""

import json
from pathlib import Path
from typing import Any

from nas_service.errors import SpecError
from nas_service.searches.creation import check
from nas_service.spaces.architecture import Architecture, parts_of
from nas_service.spaces.architecture_document import read_architecture
from nas_service.spaces.operations import BACK, operations_of
from nas_service.study.loading import parse_spec
from nas_service.study.spec import StudySpec

SEEDS = 2**31


def read_candidate(path: Path, spec: StudySpec) -> tuple[Architecture, int]:
    """Reads an architecture, and the seed to train it with: the file's, else the study's.

    Args:
        path: An architecture as JSON, or what `nas show --json` prints of a trial. Cells may be
            text whose digits are the study's operations.
        spec: The study.

    Returns:
        The architecture and the seed.

    Raises:
        SpecError: The file is no architecture.
        FileError: The file is no JSON.
    """
    names = operations_of(spec.space.operations)
    try:
        architecture, facts = read_architecture(path)
        seed = facts.get("seed", spec.seed)
        if type(seed) is not int or not 0 <= seed < SEEDS:
            raise SpecError(f"seed = {seed!r:.40}: a whole number 0..{SEEDS - 1} is needed")
        return Architecture.from_json(architecture, names), seed
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None


def single_candidate(spec: StudySpec, architecture: Architecture, where: str) -> StudySpec:
    """The study with a space of one architecture, which need not be in the study's own space.

    Args:
        spec: The study.
        architecture: The candidate.
        where: Begins the messages of errors, such as the name of the file.

    Returns:
        The study, to evaluate this candidate alone.

    Raises:
        SpecError: A size is one that no study may have or that does not fit the images, or a
            setting of the chip is missing or fixed by the study.
    """
    chip = dict(architecture.chip)
    if missing := sorted(spec.hardware.search_space.keys() - chip):
        raise SpecError(f"{where}: chip: missing {missing}, which the study searches")
    tree = spec.model_dump(mode="json") | {"space": _space(spec, architecture)}
    tree["search"]["initial"] = []
    tree["hardware"]["search_space"] = {key: [value] for key, value in chip.items()}
    try:
        single = parse_spec(json.dumps(tree), "", stored=True)  # ranges were checked before
        check(single)
    except SpecError as error:
        lines = (_as_in_the_file(line) for line in str(error).splitlines())
        raise SpecError("\n".join(f"{where}: {line}" for line in lines)) from None
    return single


def _as_in_the_file(fault: str) -> str:
    """Names the key of the architecture in place of the study's key that it became."""
    key, sign, text = fault.removeprefix(": ").partition(": ")
    key = key.replace("hardware.search_space", "chip").removeprefix("space.")
    while key.endswith(".0"):  # the one value there is
        key = key.removesuffix(".0")
    return key + sign + text


def _space(spec: StudySpec, a: Architecture) -> dict[str, Any]:
    used = {state.removeprefix(BACK) for cell in a.cells for state in cell.operations}
    own = operations_of(spec.space.operations)
    bits = a.weight_bits
    by_part = not isinstance(bits, int) and dict(bits).keys() == set(parts_of(len(a.cells)))
    return {
        "operations": [*own, *sorted(used.difference(own))],
        "mode": "backward" if any(cell.recurrent for cell in a.cells) else "forward",
        "cells": len(a.cells),
        "channels": [[c] for c in a.channels] if isinstance(a.channels, tuple) else a.channels,
        "stem_stride": a.stem_stride,
        "head_pool": a.head_pool,
        "hidden": a.hidden,
        "time_steps": a.time_steps,
        "threshold": a.threshold,
        "weight_bits": sorted(set(a.all_bits)),
        "bits_of": "network" if isinstance(bits, int) else "part" if by_part else "layer",
        "deduplicate_by": "genotype" if a.literal else "function",
    }
