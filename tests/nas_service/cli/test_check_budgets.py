"""What `nas check` says of budgets: the least of the space beside each, and all together."""

import json

import pytest
from command_line import document, refused, run

STUDY = """
name = "small"
[space]
operations = ["zeroize", "conv3x3"]
cells = 1
channels = [4, 8]
head_pool = 2
hidden = 16
time_steps = 2
[data]
name = "digits"
[training]
epochs = 1
[search]
trainings = {trainings}
[[objectives]]
metric = "accuracy"
direction = "maximize"
"""


@pytest.fixture
def study(tmp_path):
    def write(*budgets, trainings=10):
        tables = (
            f"[[constraints]]\nmetric = '{m}'\n{key} = {limit}\n" for m, key, limit in budgets
        )
        path = tmp_path / "small.toml"
        path.write_text(STUDY.format(trainings=trainings) + "\n".join(tables))
        return path

    return write


def checked(*arguments):
    result = run("check", *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_the_least_of_the_space_is_beside_each_budget(study):
    """A network of one 3x3 convolution of 4 channels: 44 + 152 + 1032 + 170 parameters."""
    file = study(("parameters", "at_most", 1397), ("memory_KiB", "at_most", 50),
                 ("latency_ms", "at_most", 1), ("accuracy", "at_least", 0.9))  # fmt: skip
    lines = checked(file)
    assert lines[0] == f"{file}: valid; 128 genotypes, 10 trainings"
    assert lines[1].split("  ") == ["parameters <= 1397", "least 1398, cannot be kept"]
    assert lines[2].startswith("memory_KiB <= 50    least ")
    assert lines[3].endswith("depends on the wiring: --budgets")
    assert lines[4].endswith("measured in a training")
    assert len(lines) == 5


def test_all_budgets_together_are_one_line_more(study):
    budgets = [("parameters", "at_most", 1398), ("latency_ms", "at_most", 1)]
    line = checked(study(*budgets), "--budgets")[-1]
    assert line.startswith("budgets: parameters <= 1398 (least 1398), latency_ms <= 1 (least 0.0")
    assert "; together kept by " in line
    assert (
        " of all 128 candidates, fewer than the 40 trainings, at spike rate 0"
        in (checked(study(*budgets, trainings=40), "--budgets")[-1])
    )
    none = checked(study(*budgets, ("energy_uJ", "at_most", 1e-6)), "--budgets")[-1]
    assert "energy_uJ <= 1e-06 (least 0.02" in none
    assert "cannot be kept); together kept by none of all 128 candidates" in none


def test_a_program_gets_the_same(study):
    file = study(("area_mm2", "at_most", 0.1), ("latency_ms", "at_most", 1))
    (area,) = document("check", file)["budgets"]
    assert (area["metric"], area["at_most"], area["exact"], area["kept"]) == (
        "area_mm2", 0.1, True, False
    )  # fmt: skip
    costed = document("check", file, "--budgets")
    assert [b["metric"] for b in costed["budgets"]] == ["area_mm2", "latency_ms"]
    assert (costed["feasible"], costed["impossible"], costed["candidates"]) == (0, True, 128)
    json.dumps(costed, allow_nan=False)


def test_a_memory_in_which_no_training_fits_is_named(study):
    file = study()
    file.write_text(file.read_text().replace("epochs = 1", "epochs = 1\nmemory_GiB = 0.001"))
    assert checked(file)[1].startswith("training.memory_GiB = 0.001  least 0.0")
    assert document("check", file, "--budgets")["impossible"]


def test_a_study_that_is_created_names_budgets_that_cannot_be_kept(study, sqlite_url):
    file = study(("parameters", "at_most", 1000), ("area_mm2", "at_most", 9))
    result = run("create", file, "--storage", sqlite_url)
    assert result.exit_code == 0, result.output
    assert result.stderr == "note: parameters <= 1000: least 1398, cannot be kept\n"


def test_a_study_without_budgets_has_no_line_of_them(study):
    assert len(checked(study(), "--budgets")) == 1


@pytest.mark.parametrize(
    ("budgets", "message"),
    [
        ([("area_mm2", "at_most", 0)], "at_most: a number greater than 0 is needed, not 0"),
        ([("area_mm2", "at_most", -1.5)], "at_most: a number greater than 0 is needed, not -1.5"),
        ([("accuracy", "at_least", 90)], "accuracy is a share, 0..1: 0.9?"),
        ([("area_mm2", "at_least", 3), ("area_mm2", "at_most", 2)],
         "area_mm2 at_least = 3 is above its at_most = 2: no candidate keeps both"),
    ],
)  # fmt: skip
def test_budgets_that_none_can_keep_by_themselves_are_refused(study, budgets, message):
    assert message in refused("check", study(*budgets))
