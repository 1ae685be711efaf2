"""The study's specification as tables, and what its search has taken."""

from collections.abc import Iterator
from typing import Any

from nas_service.report.study_data import StudyData
from nas_service.store.studies import elapsed_s
from nas_service.study.sections import Constraint, Objective
from nas_service.study.spec import StudySpec
from nas_service.text import duration, exact, metric_label, metric_unit, number, printable

GOALS = ("objectives", "constraints")  # have tables of their own


def sections(spec: StudySpec) -> list[tuple[str, list[tuple[str, str]]]]:
    """Keys and values of the study file, table by table, with the defaults.

    Args:
        spec: The study.

    Returns:
        Name of each table with its keys and values.
    """
    document = spec.model_dump(mode="json", exclude=set(GOALS))
    single = [(k, _text(v)) for k, v in document.items() if not isinstance(v, dict)]
    tables = [(k, list(_flat(v))) for k, v in document.items() if isinstance(v, dict)]
    return [("study", single), *((name, rows) for name, rows in tables if rows)]


def _flat(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        elif value not in (None, [], {}):
            yield printable(prefix + key), _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} = {_text(v)}" for key, v in value.items())
    return exact(value) if isinstance(value, float) else printable(value)


def goals(spec: StudySpec) -> list[tuple[str, str, str]]:
    """Objectives and budgets: what it is, the metric, and its values in words."""
    rows = [("objective", metric_label(o.metric), _objective(spec, o)) for o in spec.objectives]
    return rows + [("budget", metric_label(c.metric), _bound(c)) for c in spec.constraints]


def _objective(spec: StudySpec, o: Objective) -> str:
    worst, best = (_value(o.metric, x) for x in (spec.reference(o), spec.ideal(o)))
    return f"{o.direction}, from reference {worst} to ideal {best}"


def _bound(c: Constraint) -> str:
    sign, value = ("≤", c.at_most) if c.at_most is not None else ("≥", c.at_least)
    sure = "" if c.confidence is None else f" with a confidence of {exact(100 * c.confidence)} %"
    return f"{sign} {_value(c.metric, value)}{sure}"


def _value(name: str, value: float | None) -> str:
    unit = metric_unit(name)
    shown = 100 * value if unit == "%" and value is not None else value
    return f"{exact(shown)} {unit}".rstrip()


def effort(data: StudyData) -> list[tuple[str, str]]:
    """What the search has taken: proposals, proxies, trainings and hours of workers."""
    result, facts = data.result, data.facts.values()
    trained = result.counts["trained"]
    scored = sum(bool(f.proxies) for f in facts)
    rows = [
        ("proposals", number(sum(result.proposals.values()))),
        ("candidates scored by proxies", number(scored) if scored else "none"),
        ("trainings" if data.spec.training.epochs else "scorings", number(trained)),
        ("trainings of finalists", number(len(data.repeats)) if data.repeats else "none"),
        ("epochs trained", number(int(result.epochs["trained"]))),
        ("time of all trainings", duration(data.training_s)),
        ("worker hours", f"{number(data.worker_s / 3600)} h ({duration(data.worker_s)})"),
    ]
    elapsed = _elapsed(data)
    return rows + ([("time in which any worker worked", duration(elapsed))] if elapsed else [])


def _elapsed(data: StudyData) -> float:
    search = data.result.search
    with search.store.transactions.begin() as db:
        return elapsed_s(db, search.id)


def origin(data: StudyData) -> list[tuple[str, str]]:
    """Versions, seeds and the digest of the data."""
    spec = data.spec
    return [
        ("seed of the study", str(spec.seed)),
        ("seed of the split", str(spec.data.split_seed)),
        ("digest of the data", data.data_digest),
        *((printable(name), printable(version)) for name, version in data.versions.items()),
    ]
