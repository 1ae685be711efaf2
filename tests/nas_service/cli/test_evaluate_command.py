"""`nas evaluate`: one architecture out of a file, measured by a study's recipe."""

import json
from pathlib import Path

import pytest
import tiny
from click.testing import CliRunner

from nas_service.cli.main import main
from nas_service.errors import SpecError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.searches.creation import check, create
from nas_service.searches.results import read
from nas_service.searches.single import read_candidate, single_candidate
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.spaces.cell_space import CellSpace
from nas_service.store.store import Store
from nas_service.study.loading import load_spec
from nas_service.worker.worker import Worker

STUDY = f"""{tiny.SPACE.replace("seed = 3", "seed = 4")}
[data]
name = "digits"
train_samples = 512
[training]
epochs = 2
batch_size = 16
[search]
trainings = 2
{tiny.ACCURATE}
[[constraints]]
metric = "parameters"
at_most = 20000
[[constraints]]
metric = "spike_rate"
at_most = {{rate}}
"""
TEXT = "0202 0020 0002 0000"  # light3: conv3x3 from 0 to 1 to 2 to 3, and from 0 to 3
SIZES = {"channels": 4, "head_pool": 2, "hidden": 16, "time_steps": 2, "weight_bits": 4}
PLAIN = {"cells": [TEXT, TEXT], **SIZES}
CHAIN = Cell(("conv3x3", "zeroize", "conv3x3", "conv3x3", "zeroize", "conv3x3"))


@pytest.fixture
def place(tmp_path):
    """Writes the study and a file, runs the command over both."""

    def run(content, *words, rate=0.9, edit=("", "")):
        (tmp_path / "tiny.toml").write_text(STUDY.replace("{rate}", str(rate)).replace(*edit))
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "space.json").write_text(text)
        files = [str(tmp_path / name) for name in ("space.json", "tiny.toml")]
        return CliRunner().invoke(main, ["evaluate", *files, *words])

    return run


def document(result):
    assert result.exit_code in (0, 3), result.output
    return json.loads(result.stdout)


def test_every_measured_value_is_printed(place):
    result = document(done := place(PLAIN, "--json"))
    assert done.exit_code == 0
    assert (result["study"], result["outcome"]) == ("tiny", "trained")
    assert (result["seed"], result["fidelity"]) == (4, 2)
    metrics = result["metrics"]
    assert metrics["accuracy"] > 0.15
    assert 0.01 < metrics["spike_rate"] < 0.9
    assert result["violations"]["parameters"] == pytest.approx(metrics["parameters"] / 20000 - 1)
    assert Architecture.from_json(result["architecture"]).cells == (CHAIN, CHAIN)
    assert "epoch 2 of 2" in done.stderr


def test_a_stored_trial_is_reproduced(place, tmp_path):
    """A worker's measurement is repeated from its seed, and from the output of `nas show`."""
    (tmp_path / "tiny.toml").write_text(STUDY.replace("{rate}", "0.9"))
    spec = load_spec(tmp_path / "tiny.toml")
    store = Store(url := f"sqlite:///{tmp_path}/nas.db", create=True)
    evaluator = Evaluator.open(spec, Path())
    search = create(store, check(spec), evaluator.data_digest)
    Worker(search, evaluator, print).run()
    trial = next(c for c in read(search).candidates if c.outcome == "trained").trial
    words = ["show", "tiny", str(trial), "--storage", url, "--json"]
    shown = CliRunner().invoke(main, words).stdout
    again, before = document(place(shown, "--json")), json.loads(shown)
    assert before["seed"] != spec.seed
    of_the_study = {"feasible", "below_reference", "objectives"}
    for key in before.keys() - {"trial", "test_accuracy", "seconds"} - of_the_study:
        assert again[key] == before[key], key
    assert document(place(shown, "--json", "--seed", "9"))["seed"] == 9
    store.close()


def test_digits_of_cells_are_those_of_the_study(place):
    """`nas show` prints them so; the same text means another cell to a study of `snasnet5`."""
    light = document(place(PLAIN, "--json", "--no-train"))
    snasnet = document(place(PLAIN, "--json", "--no-train", edit=("light3", "snasnet5")))
    assert light["architecture"]["cells"][0]["01"] == "conv3x3"
    assert snasnet["architecture"]["cells"][0]["01"] == "conv1x1"
    text = place(PLAIN, "--no-train").stdout
    assert f"cell 0: {TEXT}; cell 1: " in text
    assert "0 zeroize, 1 skip, 2 conv3x3)" in text


def test_without_training_only_costs_are_known(place):
    done = place(PLAIN, "--no-train")
    assert done.exit_code == 0
    assert "seed 4: screened\n" in done.stdout
    assert "accuracy" not in done.stdout
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if "=" in line}
    assert "not measured" in rows["spike"]
    assert rows["parameters"].endswith("79.8 % to spare")


def test_budgets_and_reasons_have_an_exit_code(place):
    """Over a budget known before training, over one that only training measures, and no path."""
    over = place({**PLAIN, "hidden": 32, "channels": 64}, "--json")
    assert over.exit_code == 3
    assert document(over)["outcome"] == "rejected"
    assert document(over)["reason"].startswith("parameters ")
    assert "accuracy" not in document(over)["metrics"]
    busy = place(PLAIN, rate=0.001)
    assert busy.exit_code == 3
    assert "trained" in busy.stdout
    dead = place({**PLAIN, "cells": ["0000 0000 0000 0000", TEXT]}, "--json")
    assert dead.exit_code == 3
    assert document(dead)["reason"].startswith("no path from input to output;")


def test_a_repair_is_one_of_the_studys_candidates(place):
    """Two skips have nothing to leave out, so the sizes have to change; of another space none."""
    skip = {**PLAIN, "cells": ["0001 0000 0000 0000"] * 2, "channels": 8}
    trained_in_full = document(place(skip, "--json", "--no-train"))["metrics"]["parameters"]
    tight = ("at_most = 20000", f"at_most = {int(trained_in_full) - 1}")
    result = document(place(skip, "--json", edit=tight))
    assert result["reason"].partition("; fits with ")[2] == "head_pool 2 -> 4"
    assert result["repair"]["head_pool"] == 4
    other = document(
        place({**skip, "channels": 7}, "--json", edit=("at_most = 20000", "at_most = 9"))
    )
    assert ";" not in other["reason"]


OUTSIDE = Architecture(
    (Cell(("sepconv3x3", "skip", "maxpool3x3", "back:conv1x1", "conv5x5", "conv1x1")),) * 3,
    channels=(6, 9, 5), head_pool=0, hidden=20, time_steps=4,
    weight_bits=tuple(zip(("stem", "cell0", "reduction0", "cell1", "reduction1", "cell2", "hidden",
                           "readout"), (2, 3, 4, 5, 6, 7, 8, 8), strict=True)),
    threshold=0.7, stem_stride=2, chip=(("crossbar_size", 32), ("adc_bits", 5)),
)  # fmt: skip


def test_an_architecture_outside_the_space_is_accepted(place):
    """Other operations, sizes, directions, bits and chip settings, as long as they fit."""
    few = ("train_samples = 512", "train_samples = 64")
    result = document(place(OUTSIDE.to_json(), "--json", edit=few))
    assert result["outcome"] == "trained"
    assert Architecture.from_json(result["architecture"]) == OUTSIDE
    assert result["digest"] == OUTSIDE.digest
    space = single_candidate(load_spec_of(place), OUTSIDE, "x").build_space()
    assert space.sizes["hidden"] == (20,)
    assert [v for _, v in space.chip] == [(32,), (5,)]
    assert {"zeroize", "skip", "conv3x3", "sepconv3x3", "maxpool3x3"} < set(space.operations)
    assert isinstance(space, CellSpace)


def load_spec_of(place, edit=("", "")):
    """The study as a specification."""
    path = Path(place("{}", edit=edit).stderr.splitlines()[0].split(": ")[1]).parent / "tiny.toml"
    return load_spec(path)


def without(key):
    return {k: v for k, v in PLAIN.items() if k != key}


HOSTILE = [
    ("{", "line 1, column 2: not JSON: a key"),
    ("[" * 100_000, "nested too deep"),
    ('{"a": ' + "9" * 5000 + "}", "a number of 5000 digits"),
    ("[]", "an architecture is needed"),
    ("null", "an architecture is needed"),
    ('{"architecture": 3}', "architecture: a table with the keys"),
    ({**PLAIN, "hiden": 4}, "unknown key 'hiden', did you mean 'hidden'"),
    (without("hidden"), "missing ['hidden']"),
    ({**PLAIN, "cells": []}, "cells: a list of 1..16"),
    ({**PLAIN, "cells": ["0302"]}, "four rows of four digits"),
    ({**PLAIN, "cells": ["0902 0020 0002 0000"]}, "digit 9, 0..2 are possible"),
    ({**PLAIN, "cells": [{"01": "conv9x9"}]}, "cell: missing"),
    ({**PLAIN, "cells": [dict.fromkeys(("01", "02", "03", "12", "13", "23"), "conv9x9")]},
     "unknown operation 'conv9x9'"),
    ({**PLAIN, "cells": [TEXT] * 5}, "cells: a number of at most 4 is needed, not 5"),
    ({**PLAIN, "hidden": 10**30}, "hidden"),
    ({**PLAIN, "hidden": 65537}, "hidden: a number of at most 65536 is needed, not 65537"),
    ({**PLAIN, "channels": 10**9}, "channels"),
    ({**PLAIN, "channels": [4]}, "one for each cell"),
    ({**PLAIN, "channels": "4"}, "channels = '4'"),
    ({**PLAIN, "time_steps": 65}, "time_steps: a number of at most 64 is needed"),
    ({**PLAIN, "weight_bits": 9}, "weight_bits = 9: 2..8"),
    ({**PLAIN, "weight_bits": {"stem": 4}}, "weight_bits: one number for each of"),
    ({**PLAIN, "head_pool": 3}, "head_pool = 3"),
    ({**PLAIN, "cells": [TEXT] * 4, "stem_stride": 3}, "cells = 4: maps of 3 pixels"),
    ({**PLAIN, "stem_stride": 0}, "stem_stride = 0"),
    ({**PLAIN, "threshold": -1}, "threshold"),
    (json.dumps(PLAIN)[:-1] + ', "threshold": NaN}', "a number is needed, not NaN"),
    ({**PLAIN, "chip": {"crossbar_size": "x"}}, "crossbar_size"),
    ({**PLAIN, "chip": {"crossbar": 64}}, "chip"),
    ({**PLAIN, "chip": []}, "chip = []"),
    ({"architecture": PLAIN, "seed": -1}, "seed = -1: a whole number 0..2147483647"),
    ({"architecture": PLAIN, "seed": True}, "seed = True"),
    ({"architecture": PLAIN, "seed": 10**60}, "seed = 1000"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), HOSTILE, ids=[f"{s[:40]}" for _, s in HOSTILE])
def test_wrong_files_are_named_with_their_key(place, content, message):
    done = place(content)
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    (line, *_) = done.stderr.splitlines()
    assert "space.json: " in line, "the complete file name is shown"
    assert message in done.stderr


def test_chip_settings_are_printed_once(place):
    searched = ("[search]", "[hardware]\nsearch_space = { adc_bits = [3, 4] }\n[search]")
    done = place(PLAIN, edit=searched)
    assert (done.exit_code, "chip: missing ['adc_bits']" in done.stderr) == (2, True)
    fixed = ("[search]", "[hardware]\noverrides = { adc_bits = 3 }\n[search]")
    done = place({**PLAIN, "chip": {"adc_bits": 5}}, edit=fixed)
    assert (done.exit_code, "either overridden or searched" in done.stderr) == (2, True)
    assert place({**PLAIN, "chip": {"adc_bits": 5}}, "--no-train", edit=searched).exit_code == 0


def test_trained_and_screened_candidates_keep_their_seed(place, tmp_path):
    spec = load_spec_of(place)
    path = tmp_path / "trial.json"
    path.write_text(json.dumps({"architecture": PLAIN, "seed": 77}))
    assert read_candidate(path, spec)[1] == 77
    path.write_text(json.dumps(PLAIN))
    assert read_candidate(path, spec)[1] == spec.seed == 4
    with pytest.raises(SpecError, match=r"gone\.json"):
        single_candidate(spec, Architecture((CHAIN,), 4, 5, 16, 2, 4), "gone.json")
