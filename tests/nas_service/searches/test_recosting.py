"""A study costed anew: as a search under that chip would have stored it, without a training."""

import json
from contextlib import closing
from dataclasses import replace

import pytest
import tiny
from nas_command import Folder

from hw_models import load_profile
from nas_service.errors import SpecError
from nas_service.evaluation import traces
from nas_service.evaluation.screener import Screener
from nas_service.evaluation.screening import workload_cache_of
from nas_service.metrics import measure
from nas_service.searches import recosting, results
from nas_service.searches.input_density import density_of
from nas_service.searches.session import open_search
from nas_service.store.store import Store
from nas_service.study.assumed_rates import AssumedRates
from nas_service.study.rejection import MEMORY, PATH
from nas_service.study.sections import Constraint

FEW = tiny.QUICK.replace("trainings =", "proposals_per_training = 3\ntrainings =")
STUDY = f"""{FEW.replace("time_steps = 2", "time_steps = [2, 3]")}
[[objectives]]
metric = "energy_uJ"
direction = "minimize"
reference = 2.0
[[constraints]]
metric = "area_mm2"
at_most = 4.4
[[constraints]]
metric = "energy_uJ"
at_most = 0.9
confidence = 0.9
[hardware]
profile = "corrected"
record = "traces"
search_space = {{{{ crossbar_size = [32, 64] }}}}
"""


LOWER = Constraint(metric="area_mm2", at_least=0.1)
UPPER = Constraint(metric="area_mm2", at_most=9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a finished study, only to be read."""
    folder = Folder(tmp_path_factory.mktemp("study"))
    (folder.path / "tiny.toml").write_text(STUDY.format(trainings=6))
    code, _, err = folder.nas("run", "tiny.toml")
    assert code in (0, 3), err
    return folder


@pytest.fixture(scope="module")
def result(folder):
    with closing(Store(folder.environment["NAS_STORAGE"])) as store:
        yield results.read(open_search(store, "tiny"))


CHIPS = {
    "profile": {"profile": "spikesim_rram"},
    "converter": {"settings": {"adc_bits": "6"}},
    "crossbar": {"settings": {"crossbar_size": "128", "mapping": "im2col"}},
}


@pytest.mark.parametrize("chip", CHIPS.values(), ids=CHIPS)
def test_costs_are_those_of_a_search_under_that_chip(result, chip):
    after = recosting.recost(result, **chip).after
    screener = Screener(after.spec, workload_cache_of(after.spec))
    given = chip.get("settings", {})
    for candidate in after.candidates:
        known = result.evaluation(candidate)
        own = tuple((k, v) for k, v in known.architecture.chip if k not in given)
        architecture = replace(known.architecture, chip=own)
        workload = screener.workloads.workload(known.architecture)
        rates = known.spike_rates
        density = density_of(result.search)
        workload = (
            workload.with_spike_rates(rates)
            if rates
            else AssumedRates.of(after.spec, density).of_workload(workload)
        )
        hardware, bounds = screener.costs(architecture, workload)
        expected = hardware.metrics() | bounds | known.counted
        assert expected == pytest.approx({n: candidate.metrics[n] for n in expected}, rel=1e-12)
        assert candidate.metrics.get("accuracy") == measure(known).get("accuracy")


def test_the_same_chip_changes_nothing(result):
    recosted = recosting.recost(result, budgets={"area_mm2": 4.4})
    for before, after in zip(result.candidates, recosted.after.candidates, strict=True):
        assert after.metrics == pytest.approx(before.metrics, rel=1e-12)
    assert {change.kind for change in recosted.changes} <= {"stays"}
    assert recosted.after.hypervolume == pytest.approx(result.hypervolume, rel=1e-12)


def test_who_enters_and_who_leaves_and_why(result):
    everything = recosting.recost(result, budgets={"area_mm2": 1e9, "energy_uJ": 1e9})
    assert everything.after.front
    for change in everything.changes:
        assert change.reason or change.kind == "stays"
    areas = sorted(c.metrics["area_mm2"] for c in everything.after.candidates if c.measured)
    middle = (areas[0] + areas[-1]) / 2
    recosted = recosting.recost(everything.after, budgets={"area_mm2": middle})
    assert recosted.changes
    left = [c for c in recosted.changes if c.kind == "leaves"]
    for change in left:
        assert change.reason.startswith("over area_mm2 <= ") == (
            change.after.metrics["area_mm2"] > middle
        )
    again = recosting.recost(recosted.after, budgets={"area_mm2": 1e9})
    assert {c.after.trial for c in again.changes if c.kind == "enters"} == {
        c.after.trial for c in left
    }
    assert all("area_mm2" in c.reason for c in again.changes if c.kind == "enters")


def test_a_new_budget_on_what_is_better_when_larger_is_from_below(result):
    spec = recosting.recost(result, budgets={"accuracy": 0.05, "latency_ms": 9.0}).after.spec
    assert [c.described for c in spec.constraints[-2:]] == ["accuracy >= 0.05", "latency_ms <= 9"]


def test_of_two_budgets_on_a_metric_the_named_one_is_replaced(result):
    bounded = replace(result, spec=result.spec.model_copy(update={"constraints": (LOWER, UPPER)}))
    for name, described in (
        ("area_mm2", ["area_mm2 >= 0.1", "area_mm2 <= 2"]),
        ("area_mm2_min", ["area_mm2 >= 2", "area_mm2 <= 9"]),
    ):
        spec = recosting.recost(bounded, budgets={name: 2.0}).after.spec
        assert [c.described for c in spec.constraints] == described


def test_a_limit_from_below_is_broken_below_it(result):
    free = replace(result, spec=result.spec.model_copy(update={"constraints": ()}))
    everything = recosting.recost(free, budgets={"area_mm2": 1e9}).after
    recosted = recosting.recost(everything, budgets={"accuracy": 1.0})
    assert not recosted.after.front
    for change in recosted.changes:
        assert change.reason.startswith("below accuracy >= 1 by ")
        assert "e+" not in change.reason


def test_what_only_a_simulation_measures_is_unknown(result):
    on_chip = {"accuracy_on_chip": 0.5, "accuracy_on_chip_spread": 0.1}
    candidates = tuple(replace(c, metrics=c.metrics | on_chip) for c in result.candidates)
    recosted = recosting.recost(replace(result, candidates=candidates), budgets={"area_mm2": 9.0})
    assert "unknown on the other chip: accuracy_on_chip, accuracy_on_chip_spread" in recosted.notes
    assert all(not on_chip.keys() & c.metrics.keys() for c in recosted.after.candidates)
    objective = result.spec.objectives[0].model_copy(update={"metric": "accuracy_on_chip"})
    spec = result.spec.model_copy(update={"objectives": (objective,)})
    with pytest.raises(SpecError, match="accuracy_on_chip cannot be costed anew"):
        recosting.recost(replace(result, spec=spec), "corrected")


def test_energies_are_also_counted_in_traces(result):
    changes = {"profile": "corrected", "settings": {"mapping": "im2col", "crossbar_size": "128"}}
    recosted = recosting.recost(result, **changes)
    assert recosted.changes
    for change in recosted.changes:
        evaluation = result.evaluation(change.before)
        chip = dict(evaluation.architecture.chip)
        workload = workload_cache_of(result.spec).workload(evaluation.architecture)
        path = traces.path_of(result.search.weights(change.before.digest))
        recorded = traces.load(path, workload, evaluation)
        assert change.traced.samples == recorded.samples == 32
        for own, values in (
            (chip, change.traced.before),
            (changes["settings"], change.traced.after),
        ):
            profile = load_profile("corrected").with_values(own)
            expected = profile.estimate(workload, recorded.inputs).metrics()
            counted = ("energy_uJ", "power_mW", "energy_delay_nJs")
            assert values == {name: expected[name] for name in counted}
            assert values["energy_uJ"] < expected["energy_dense_uJ"]
        assert change.traced.after["energy_uJ"] != change.after.metrics["energy_uJ"]


def test_why_there_are_no_traces(result, monkeypatch, tmp_path):
    budgets = {"area_mm2": 9.0}
    old = result.spec.hardware.model_copy(update={"record": "rates"})
    unrecorded = replace(result, spec=result.spec.model_copy(update={"hardware": old}))
    assert (
        recosting.recost(unrecorded, budgets=budgets)
        .notes[-1]
        .startswith("the study records no traces")
    )
    monkeypatch.setattr(traces, "path_of", lambda weights: tmp_path / weights.name)
    for text in ("one sample takes", "deleted or pruned since", "not the traces of this candidate"):
        monkeypatch.setattr(traces, "TRACE_B", 10 if "sample" in text else 2**20)
        recosted = recosting.recost(result, budgets={**budgets, "energy_uJ": 9.0})
        count = len(recosted.changes)
        assert recosted.notes[-1].startswith(f"no traces of {count} of the {count} candidates")
        assert text in recosted.notes[-1]
        assert not recosted.traced
        for change in recosted.changes if "pruned" in text else ():
            (tmp_path / f"{change.after.digest}.safetensors").write_bytes(b"x")


@pytest.mark.parametrize(("check", "listed"), [(PATH, False), (MEMORY, False), ("x", True)])
def test_untrained_candidates_are_those_that_the_budgets_rejected(result, check, listed):
    rejected = replace(result.candidates[0], archived="rejected", rejected_by=(check,))
    other = replace(result, candidates=(rejected,))
    recosted = recosting.recost(other, budgets={"area_mm2": 1e9, "energy_uJ": 1e9})
    assert [c.trial for c in recosted.untrained] == [rejected.trial] * listed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "nothing to cost anew"),
        ({"profile": "corected"}, "corected"),
        ({"settings": {"crossbar_sise": "32"}}, "crossbar_size"),
        ({"settings": {"adc_bits": "99"}}, "adc_bits"),
        ({"budgets": {"area": 3.0}}, "budgets: unknown metric 'area'"),
        ({"budgets": {"area_mm2": -3.0}}, "area_mm2"),
        ({"budgets": {"area_mm2": "3"}}, "budgets: area_mm2 = '3': a finite number"),
        ({"budgets": {"area_mm2": float("inf")}}, "area_mm2 = inf: a finite number"),
        ({"budgets": {"area_mm2": True}}, "area_mm2 = True: a finite number"),
        ({"budgets": [("area_mm2", 3)]}, "a dict is needed"),
        ({"budgets": {3: 4}}, "a dict is needed"),
        ({"settings": ["adc_bits=3"]}, "a dict is needed"),
        (
            {"budgets": {"proxy_depth": 3.0}},
            "^budgets: proxy_depth: the study measures no proxy_depth",
        ),
        ({"budgets": {"area_mm2_min": 3.0}}, "unknown metric 'area_mm2_min'"),
        ({"budgets": {"accuracy_on_chip": 0.5}}, "cannot be costed anew"),
    ],
)
def test_what_is_not_possible_is_refused(result, changes, message):
    with pytest.raises(SpecError, match=message):
        recosting.recost(result, **changes)


@pytest.mark.parametrize("result", [None, "tiny", []])
def test_another_thing_than_a_result_is_refused(result):
    with pytest.raises(SpecError, match=r"what nas_service\.search returns is needed"):
        recosting.recost(result, "corrected")


def test_the_command_prints_both_fronts(folder):
    code, out, err = folder.nas("recost", "tiny", "--set", "adc_bits=6", "--budget", "area_mm2=9")
    assert code in (0, 3), err
    assert "tiny on corrected, adc_bits = 6" in out
    assert "every candidate has the given" not in out
    code, out, err = folder.nas("recost", "tiny", "--set", "crossbar_size=128", "--html", "a.html")
    assert "every candidate has the given crossbar_size in place of its own" in out
    assert "</html>" in (folder.path / "a.html").read_text()
    assert "Counted in recorded inputs" in (folder.path / "a.html").read_text()
    code, out, err = folder.nas("recost", "tiny", "--budget", "area_mm2=9")
    assert out.split("trial     samples")[0].endswith("validation   rates  traces\n")
    assert "untrained, within the budgets at the assumed spike rate: 0, 1, 2" in out
    assert "note: costed at the assumed spike rate 0 %: 14 candidates without a training" in out
    document = folder.json("recost", "tiny", "--budget", "area_mm2=9", "--budget", "energy_uJ=9")
    assert document["front"]["after"]
    assert all(c["traces"]["samples"] == 32 for c in document["changes"])
    assert {c["trial"] for c in document["changes"]} >= set(document["front"]["after"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to cost anew"),
        (("--budget", "area_mm2"), "METRIC=VALUE|KEY=VALUE"),
        (("--budget", "area_mm2=1_0"), "a number is needed"),
        (("--budget", "area_mm2=1", "--budget", "area_mm2=2"), "--budget area_mm2: 1 and 2, one"),
        (("--html", "a.txt"), "ends in .html"),
    ],
)
def test_the_command_refuses_in_one_line(folder, arguments, message):
    code, out, err = folder.nas("recost", "tiny", *arguments)
    assert (code, out) == (2, "")
    assert any(part in err for part in message.split("|"))


def test_json_is_one_document(folder):
    code, out, _ = folder.nas("recost", "tiny", "--budget", "area_mm2=0.001", "--json")
    assert code == 3
    assert json.loads(out)["front"]["after"] == []
