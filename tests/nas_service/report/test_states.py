"""A study in any state has a report that says so, and every figure of it can be written."""

import dataclasses
import re
import time

import numpy as np
import pytest
import store_verbs
from reported_studies import evaluation

from nas_service import report
from nas_service.report.importance import explained_variance, importance
from nas_service.report.pages import policy
from nas_service.report.paper import all_figures
from nas_service.report.study_data import read_data
from nas_service.report.svg import draw
from nas_service.searches import results
from nas_service.searches.creation import check, create
from nas_service.store import tables as store_tables
from nas_service.study.sections import Objective


def words(page: str) -> str:
    """The text of a page without its marks."""
    return " ".join(re.sub(r"<[^>]+>", " ", page[page.index("<body>") :]).split())


def with_objectives(result, *names, **references):
    changed = []
    for name in names:
        direction = "maximize" if name == "accuracy" else "minimize"
        reference = references.get(name, 0.0 if name == "accuracy" else 1e6)
        changed.append(Objective(metric=name, direction=direction, reference=reference))
    spec = result.spec.model_copy(update={"objectives": tuple(changed)})
    search = dataclasses.replace(result.search, spec=spec)
    return results.read(search)


def on_the_front(page: str) -> int:
    """Marks of the front in all pictures, without those of legends."""
    return len(re.findall(r'data-trial="\d+" tabindex="0"><circle r="5.5" class="front"', page))


def test_a_study_whose_trials_all_failed(opened):
    result = opened([])
    failed = dataclasses.replace(result, counts=result.counts | {"failed": 3})
    text = words(report.render(failed))
    assert "No trial has a result yet: 3 failed, 0 running." in text
    assert "3 trials without a result" in text


def test_a_study_with_everything_below_a_reference(opened):
    """Both candidates keep the budgets; 95 % is asked for."""
    result = opened([evaluation(4, 0.9), evaluation(8, 0.94)])
    result = with_objectives(result, "accuracy", "energy_uJ", accuracy=0.95)
    page = report.render(result)
    assert "The front is empty: 2 feasible, below reference" in words(page)
    assert on_the_front(page) == 0
    assert page.count('class="below') >= 2
    assert "Feasible, below a reference" in page


def test_a_candidate_below_a_reference_or_over_a_budget_is_never_drawn_as_front(opened):
    known = [evaluation(4, 0.9), evaluation(8, 0.5), evaluation(6, None, "over", ("energy_uJ",))]
    result = with_objectives(opened(known), "accuracy", "energy_uJ", accuracy=0.8)
    page = report.render(result)
    assert [c.trial for c in result.front] == [0]
    assert on_the_front(page) == 1
    listed = words(page)
    assert "Feasible, below a reference" in listed
    assert "1 below a reference" not in listed


@pytest.mark.parametrize(
    ("names", "plots"),
    [
        (("accuracy",), 1),
        (("accuracy", "energy_uJ"), 1),
        (("accuracy", "energy_uJ", "latency_ms", "area_mm2"), 6),
    ],
)
def test_one_objective_or_four(opened, names, plots):
    result = with_objectives(opened([evaluation(4, 0.9), evaluation(8, 0.94)]), *names)
    page = report.render(result)
    assert on_the_front(page) == plots * len(result.front)
    assert ("parallel" in page[page.index("<body>") :]) == (len(names) > 2)
    assert "All objectives and budgets" in page or len(names) < 3


@pytest.mark.parametrize("count", [0, 2])
def test_every_figure_of_a_report_is_drawn(opened, count):
    """Names of files stay inside their folder."""
    known = [evaluation(4, 0.9), evaluation(8, None, "over", ("energy_uJ",))]
    figures = list(all_figures(read_data(opened(known[:count]))))
    assert bool(figures) == bool(count)
    for figure in figures:
        assert draw(figure.plot)
        assert re.fullmatch(r"[a-z0-9-]+", figure.name)


def test_a_trial_has_one_place_on_the_page(opened):
    """Every mark leads to an element that is there, and no two elements share a name."""
    known = [evaluation(4, 0.9), evaluation(8, 0.5), evaluation(5, 0.8)]
    page = report.render(with_objectives(opened(known), "accuracy", "energy_uJ", accuracy=0.85))
    names = re.findall(r' id="([^"]+)"', page)
    assert len(names) == len(set(names))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(names)


def test_the_policy_allows_the_pages_own_style_and_script_alone(opened):
    page = report.render(opened([]))
    assert policy().startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy()
    assert ' style="' not in page
    assert page.count("<script>") == page.count("<style>") == 1


def test_a_thousand_trials(opened, tmp_path):
    """Below 6 MB and 5 CPU seconds; this machine takes about one."""
    result = opened([evaluation(4, 0.9)])
    store_verbs.fill(result.search, 1000)
    start = time.process_time()
    result = results.read(result.search)
    page = report.render(result)
    assert time.process_time() - start < 5
    assert len(page.encode()) < 6e6
    assert on_the_front(page) == len(result.front)
    assert len(result.candidates) == 1000
    assert words(page).count("1,000 finished trials") == 1


def test_importance_by_hand():
    """Values 1, 1, 3, 3: a parameter that follows them explains all, another one nothing."""
    two = [{"a": n // 4, "b": n % 2} for n in range(8)]
    values = [1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 3.0]
    assert importance(two, values) == {"a": 1.0, "b": 0.0}
    assert importance(two[:4], values[:4]) == {}


def test_a_parameter_with_another_value_for_each_candidate_explains_nothing():
    assert explained_variance(np.arange(8), np.arange(8.0)) is None


def test_noise_has_no_importance_whatever_its_number_of_values():
    """Omega squared does not grow with the number of values, as eta squared does."""
    draws = np.random.default_rng(1)
    shares = [
        explained_variance(draws.integers(0, 20, 100), draws.normal(size=100)) for _ in range(50)
    ]
    assert np.mean(shares) < 0.05


def test_finalists_have_intervals_on_the_page_and_in_the_front(opened):
    """Two trainings of 90 and 100 %: the interval of their mean stays within 0..100 %."""
    result = opened([evaluation(4, 0.9), evaluation(8, 0.95)])
    repeats = result.search.store.repeats(result.search.id)
    for number, accuracy in enumerate((0.9, 1.0)):
        repeats.add(number, dataclasses.replace(evaluation(4, accuracy), seed=number))
    data = read_data(results.read(result.search))
    (finalist,) = data.finalists
    interval = data.interval(finalist)
    assert (finalist.candidate.trial, len(finalist.repeats)) == (0, 2)
    assert interval.value == pytest.approx(0.95)
    assert 0 <= interval.low < interval.value < interval.high <= 1
    page = report.render(result)
    assert 'class="interval"' in page
    assert "Finalists, trained in full with several seeds" in words(page)
    assert "trainings of finalists 2" in words(page)


def test_a_random_search_for_the_same_goals_is_the_baseline(opened):
    """Another sampler or other budgets are none."""
    result = opened([evaluation(4, 0.9), evaluation(8, 0.95)])
    spec = result.spec
    search = spec.search.model_copy(update={"sampler": "random"})
    tight = (spec.constraints[0].with_limit(0.1),)
    others = {
        "by-chance": {"search": search, "seed": 5},
        "other-budget": {"search": search, "constraints": tight},
        "by-tpe": {},
    }
    for name, changes in others.items():
        create(result.search.store, check(spec.model_copy(update={"name": name, **changes})), "d")
    with result.search.store.transactions.begin() as db:  # one that cannot be read harms none
        damaged = store_tables.studies.c.spec.contains("other-budget")
        broken = store_tables.studies.update().where(damaged)
        db.execute(broken.values(spec='{"sampler": "random"'))
    baselines = read_data(result).baselines
    assert [b.spec.name for b in baselines] == ["by-chance"]
    assert "by-chance (random search)" in report.render(result)
