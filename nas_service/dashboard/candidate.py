"""The page of one candidate: its cells, hardware, training, budgets, repair and exports."""

import json

from optuna.trial import FixedTrial

from nas_service.dashboard.answers import HTML, Answer, NotThere, Request, attachment, page
from nas_service.dashboard.figures import hardware as hardware_charts
from nas_service.dashboard.figures import training_curve
from nas_service.dashboard.studies import ShownStudy, Studies
from nas_service.dashboard.study import shown_metrics
from nas_service.errors import SpecError
from nas_service.export.formats import FORMATS
from nas_service.metrics import METRICS, Evaluation
from nas_service.report import render_hardware
from nas_service.report.candidates import sizes
from nas_service.report.svg.cells import cell
from nas_service.searches.candidate import Candidate
from nas_service.study.spec import StudySpec


def show(studies: Studies, request: Request) -> Answer:
    """The page."""
    study, candidate, known = _asked(studies, request)
    result = study.result
    named = shown_metrics(result)
    return page(
        request,
        "candidate.html",
        title=f"trial {candidate.trial} of {study.name}",
        study=study,
        spec=result.spec,
        candidate=candidate,
        evaluation=known,
        kind=kind_of(study, candidate),
        neighbours=_neighbours(study, candidate),
        named=named,
        others=[m for m in METRICS if m in candidate.metrics and m not in named],
        cells=[cell(c) for c in known.architecture.cells],
        sizes=sizes(known.architecture),
        charts=hardware_charts(known.hardware),
        curve=training_curve(known),
        repair=repair_of(result.spec, known),
        formats=FORMATS,
    )


def architecture(studies: Studies, request: Request) -> Answer:
    """The candidate's architecture as a file that `nas cost` and `nas evaluate` read."""
    study, candidate, known = _asked(studies, request)
    return _json(study, candidate, "architecture", known.architecture.to_json())


def evaluation(studies: Studies, request: Request) -> Answer:
    """All that is known of the candidate as a file."""
    study, candidate, known = _asked(studies, request)
    facts = {"trial": candidate.trial, "metrics": candidate.metrics} | known.to_json()
    return _json(study, candidate, "evaluation", facts)


def hardware(studies: Studies, request: Request) -> Answer:
    """The candidate's hardware report as one HTML file."""
    study, candidate, known = _asked(studies, request)
    text = render_hardware(known.hardware, f"{study.name}, trial {candidate.trial}")
    return attachment(text.encode(), f"{study.name}-{candidate.trial}-hardware.html", HTML)


def _json(study: ShownStudy, candidate: Candidate, what: str, document: object) -> Answer:
    body = json.dumps(document, indent=2, allow_nan=False).encode()
    return attachment(body, f"{study.name}-{candidate.trial}-{what}.json")


def _asked(studies: Studies, request: Request) -> tuple[ShownStudy, Candidate, Evaluation]:
    """The study, the candidate and its evaluation that an address names.

    Raises:
        NotThere: The study has no such trial, or it is not finished.
    """
    number, trial = request.numbers
    study = studies.get(number)
    candidate = next((c for c in study.result.candidates if c.trial == trial), None)
    if candidate is None:
        failed = f": it failed ({study.failures[trial]})" if trial in study.failures else ""
        raise NotThere(f"study {study.name} has no finished trial {trial}{failed}")
    return study, candidate, study.result.evaluation(candidate)


def kind_of(study: ShownStudy, candidate: Candidate) -> tuple[str, str]:
    """What a candidate is to its study: the class of its mark in plots, and words."""
    if candidate.trial in study.result.front_trials:
        return "front", "on the front"
    if candidate.below_reference:
        return "below", f"feasible, below reference: {', '.join(candidate.missed_references)}"
    if candidate.feasible:
        return "feasible", "feasible"
    if candidate.archived == "rejected":
        return "infeasible", "rejected before training"
    return (
        "infeasible",
        "diverged in training" if candidate.archived == "diverged" else "infeasible",
    )


def repair_of(spec: StudySpec, known: Evaluation) -> list[tuple[str, object, object]]:
    """What the cheapest repair changes: parameter, its value, and the value within all budgets."""
    try:
        space = spec.build_space()
        repaired = space.draw(FixedTrial(dict(known.repair))) if known.repair else None
        own, other = (space.codes(a) for a in (known.architecture, repaired) if a is not None)
    except (SpecError, ValueError):  # none, or that of another version of the space
        return []
    choices = zip(space.choices.items(), own, other, strict=True)
    return [(name, values[a], values[b]) for (name, values), a, b in choices if a != b]


def _neighbours(study: ShownStudy, candidate: Candidate) -> tuple[int | None, int | None]:
    """The trials before and after this one on the front."""
    front = [c.trial for c in study.result.front]
    if candidate.trial not in front:
        return None, None
    at = front.index(candidate.trial)
    after = front[at + 1] if at + 1 < len(front) else None
    return (front[at - 1] if at else None), after
