"""Studies on 8x8 digits with hand-made evaluations, for tests of reports."""

import json

from hw_models import Layer, Workload, load_profile
from nas_service.metrics import Evaluation
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.study.loading import parse_spec
from nas_service.study.spec import StudySpec

CELL = Cell(("conv3x3", "skip", "avgpool3x3", "zeroize", "skip", "conv1x1"))
CHIP = load_profile("spikesim_rram")


def spec(energy: float = 0.5, **others: float) -> StudySpec:
    budgets = {"energy_uJ": energy, **others}
    document = {
        "name": "drawn",
        "space": {"channels": [4, 8], "head_pool": 1, "hidden": 8, "time_steps": 2},
        "data": {"name": "digits"},
        "training": {"epochs": 1},
        "objectives": [
            {"metric": "accuracy", "direction": "maximize"},
            {"metric": "energy_uJ", "direction": "minimize"},
        ],
        "constraints": [{"metric": name, "at_most": most} for name, most in budgets.items()],
    }
    return parse_spec(json.dumps(document), "test")


def evaluation(
    channels: int, accuracy: float | None, reason: str = "", rejected_by: tuple[str, ...] = ()
) -> Evaluation:
    architecture = Architecture((CELL, CELL), channels, 1, 8, 2, 8)
    layer = Layer("stem", "conv", 1, channels, 3, in_size=8, out_size=channels)
    outcome = "rejected" if accuracy is None else "trained"
    return Evaluation(
        architecture,
        outcome,
        CHIP.estimate(Workload((layer,), 2)),
        chance=0.1,
        seed=1,
        accuracy=accuracy,
        spike_rate=accuracy,
        reason=reason,
        rejected_by=rejected_by,
        versions={"torch": "2"},
    )
