"""`nas front --test`: test accuracies from the weights that this machine can read, or why not."""

import json
import socket
from dataclasses import replace

import pytest
from command_line import document, run
from stored_studies import (
    ELSEWHERE,
    evaluation,
    finish,
    stored_study,
    study_of_digits,
    write_weights,
)

from nas_service.searches import results
from nas_service.searches.weights import FOLDER, record_folder


@pytest.fixture
def address(store, monkeypatch):
    monkeypatch.setenv("NAS_STORAGE", store.address)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NAS_ARTIFACTS", raising=False)
    return store.address


def test_front_says_how_to_measure_what_no_run_has_measured(store, address):
    stored_study(store, "s", [0.5, 0.9])
    shown = run("front", "s")
    assert shown.exit_code == 0
    line = "test accuracy of trials 1, 0: not measured yet; `nas front s --test` measures it\n"
    assert line in shown.stdout
    assert set(document("front", "s")["not_tested"]) == {"0", "1"}


def test_front_measures_each_candidate_once(store, address):
    search, evaluator = study_of_digits(store, "s", [0.5, 0.9])
    paths = [write_weights(search, evaluator, channels) for channels in (2, 1)]
    expected = [
        evaluator.test_accuracy(evaluation(channels, 0.5).architecture, path)
        for channels, path in zip((2, 1), paths, strict=True)
    ]
    for _ in range(2):
        shown = document("front", "s", "--test")
        assert [c["test_accuracy"] for c in shown["front"]] == expected
        assert shown["not_tested"] == {}
        for path in paths:  # which are not read again
            path.unlink(missing_ok=True)
    assert "test accuracy of" not in run("front", "s").stdout


def test_weights_elsewhere_are_named_with_machine_and_folder(store, address):
    search, evaluator = study_of_digits(store, "s", [])
    search.study.set_user_attr(f"{FOLDER}node17", "/scratch/weights")
    finish(search, evaluation(1, 0.5), ELSEWHERE)
    finish(search, evaluation(2, 0.9), ELSEWHERE)
    write_weights(search, evaluator, 2)
    shown = run("front", "s", "--test")
    assert shown.exit_code == 0
    (line,) = [text for text in shown.stdout.splitlines() if text.startswith("test accuracy of")]
    assert line.startswith("test accuracy of trial 0: no weights in ")
    assert (
        f"nas.artifacts/s on {socket.gethostname()}: node17 has them in /scratch/weights/s;" in line
    )
    assert "NAS_ARTIFACTS" in line


@pytest.mark.parametrize(
    ("folder", "place"),
    [
        (None, "in the folder NAS_ARTIFACTS of its workers"),
        ("/scratch/weights", "they are in /scratch/weights/s; let NAS_ARTIFACTS name"),
        ("", "deleted or pruned since they were written"),
    ],
)
def test_weights_of_this_machine_that_are_not_there(store, address, folder, place):
    search, _ = study_of_digits(store, "s", [0.5])
    if folder is not None:
        record_folder(search)
    if folder:
        search.study.set_user_attr(f"{FOLDER}{socket.gethostname()}", folder)
    assert place in run("front", "s", "--test").stdout


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("cut", "cut, damaged"),
        ("later", "after epoch 3, the result is of 1"),
        ("foreign", "of another training"),
    ],
)
def test_weights_that_are_not_those_of_the_result_are_refused(store, address, fault, reason):
    search, evaluator = study_of_digits(store, "s", [0.5, 0.9])
    write_weights(search, evaluator, 2)
    epochs = 3 if fault == "later" else 1
    path = write_weights(search, evaluator, 1, epochs, foreign=fault == "foreign")
    if fault == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    shown = document("front", "s", "--test")
    assert list(shown["not_tested"]) == ["0"]
    assert reason in shown["not_tested"]["0"]
    assert [c.get("test_accuracy") is None for c in shown["front"]] == [False, True]


def test_no_column_is_empty_for_a_reason_that_no_one_can_change(store, address):
    free = {
        "training": {"epochs": 0},
        "objectives": [{"metric": "parameters", "direction": "minimize", "reference": 1e6}],
    }
    search = stored_study(store, "free", [], **free)
    finish(search, replace(evaluation(1, None), outcome="scored", reason=""))
    stored_study(store, "over", [None], constraints=[{"metric": "parameters", "at_most": 0.5}])
    for name, code in (("free", 0), ("over", 3)):
        shown = run("front", name)
        assert (shown.exit_code, "test" in shown.stdout) == (code, False), shown.output


def test_the_result_that_was_read_does_not_change(store, address):
    search, evaluator = study_of_digits(store, "s", [0.5])
    write_weights(search, evaluator, 1)
    before = results.read(search)
    run("front", "s", "--test")
    assert before.front[0].test_accuracy is None
    assert results.read(search).front[0].test_accuracy is not None
    assert json.dumps(results.read(search).to_json())
