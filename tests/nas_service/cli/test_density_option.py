"""`--data` of the commands that cost candidates, and what they say they assume without it."""

import json
import re
from pathlib import Path

import pytest
from command_line import document, refused, run

STUDY = Path(__file__).parents[3] / "benchmarks" / "studies" / "digits.toml"
DIGITS = "--data", "."
ARCHITECTURE = {
    "cells": ["0303 0030 2002 0200", "0300 0010 0003 0000"],
    "channels": 8, "head_pool": 2, "hidden": 32, "time_steps": 3, "weight_bits": 8,
}  # fmt: skip


@pytest.fixture
def candidate(tmp_path):
    path = tmp_path / "candidate.json"
    path.write_text(json.dumps(ARCHITECTURE))
    return path


def one_size(line):
    return f"{line[1]} = {ARCHITECTURE[line[1]]}"


def share(printed):
    return printed["input_density"]["share"], printed["input_density"]["measured"]


def test_census_is_taken_at_the_density_and_says_it(tmp_path):
    text = re.sub(r"^(channels|head_pool|hidden) = .*", one_size, STUDY.read_text(), flags=re.M)
    (tmp_path / "small.toml").write_text(text)
    words = ("census", tmp_path / "small.toml", "--limit", 200)
    assumed, measured = document(*words), document(*words, *DIGITS)
    assert share(assumed) == (1.0, False)
    assert share(measured) == (pytest.approx(0.124, abs=1e-3), True)
    assert assumed["within"]["energy_uJ"] < measured["within"]["energy_uJ"]
    text = "input: 100 % of its bits are set (assumed; --data FOLDER measures it)"
    assert text in run(*words).stdout
    assert "input: 12.4 % of its bits are set (measured)" in run(*words, *DIGITS).stdout


def test_check_measures_the_data_that_it_is_given():
    assert share(document("check", STUDY)) == (1.0, False)
    assert share(document("check", STUDY, *DIGITS)) == (pytest.approx(0.124, abs=1e-3), True)
    assert "12.4 % of its bits are set (measured)" in run("check", STUDY, *DIGITS).stdout


def test_cost_and_evaluate_agree_about_a_candidate(candidate):
    """`--spike-rate` says the rate inside, as `hardware.assumed_rate` does."""
    rate = ("--spike-rate", 0.1)
    costed = document("cost", candidate, "--study", STUDY, *DIGITS, *rate)
    screened = json.loads(run("evaluate", candidate, STUDY, *DIGITS, "--no-train", "--json").stdout)
    assert costed["metrics"]["energy_uJ"] == screened["metrics"]["energy_uJ"]
    assert share(screened) == (pytest.approx(0.124, abs=1e-3), True)
    assert [(x["figure"], x["value"]) for x in screened["hardware"]["assumed"]] == [
        ("spike_rate", 0.1)
    ]


def test_cost_names_an_input_that_it_does_not_know(candidate):
    words = ("cost", candidate, "--study", STUDY)
    unknown, rate, known = (
        document(*words, *more) for more in ((), ("--spike-rate", 0.05), DIGITS)
    )
    stem = {"figure": "spike_rate", "value": 1.0, "layers": ["stem"], "remedy": "--data"}
    assert stem in unknown["assumed"]
    assert stem not in known["assumed"] + rate["assumed"]  # the rate is said for all layers
    energy = [x["metrics"]["energy_uJ"] for x in (unknown, known, rate)]
    assert energy[0] > energy[1] > energy[2]
    assert "spike_rate = 1.0 in stem (--data says it)" in run(*words).stdout


def test_a_rate_for_each_layer_settles_the_input_too(candidate, tmp_path):
    words = ("cost", candidate, "--study", STUDY)
    names = document(*words)["rows"][:-1]  # the last is what all layers share
    (tmp_path / "rates.json").write_text(json.dumps(dict.fromkeys(names, 0.5)))
    costed = document(*words, "--spike-rate", tmp_path / "rates.json")
    assert [x["figure"] for x in costed["assumed"]] == ["input_bits"]


def test_data_that_are_not_there_are_one_line(candidate, tmp_path):
    elsewhere = STUDY.with_name("fashion_mnist.toml")
    words = ("--data", tmp_path / "none")
    for command in (
        ("check", elsewhere), ("census", elsewhere), ("cost", candidate, "--study", elsewhere)
    ):  # fmt: skip
        assert "fashion_mnist: no files of its train part" in refused(*command, *words)
    assert "--data needs --study" in refused("cost", candidate, *words)
