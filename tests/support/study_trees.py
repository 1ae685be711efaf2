"""Trees of study files, right and minimal, for the tests of their keys."""

import json
import tomllib
from pathlib import Path

from nas_service.study.loading import parse_spec

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.toml"))
DIGITS = tomllib.loads(next(p for p in STUDIES if p.stem == "digits").read_text())
MINIMAL = {
    "name": "x",
    "space": {"channels": 4, "head_pool": [1, 2], "hidden": 16, "time_steps": [2, 4]},
    "data": {"name": "digits"},
    "training": {"epochs": 1},
    "objectives": [{"metric": "accuracy", "direction": "maximize"}],
}


def parsed(tree):
    return parse_spec(json.dumps(tree), "x.toml")


def minimal(**tables):
    return parsed(MINIMAL | tables)
