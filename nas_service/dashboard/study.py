"""The page of one study: its front, its candidates, how the search went, and what failed."""

from nas_service.dashboard.answers import Answer, Request, page
from nas_service.dashboard.figures import fronts, history
from nas_service.dashboard.studies import Studies
from nas_service.searches.results import Result

LISTED = 30  # candidates of a table, and failures


def show(studies: Studies, request: Request) -> Answer:
    """The page."""
    study = studies.get(*request.numbers)
    result = study.result
    return page(
        request,
        "study.html",
        title=study.name,
        study=study,
        result=result,
        spec=result.spec,
        metrics=shown_metrics(result),
        fronts=fronts(study, f"{study.id}/trials/"),
        history=history(study, f"{study.id}/trials/"),
        others=[s for s in studies.listed() if s.is_ours and s.id != study.id][:100],
        listed=LISTED,
    )


def shown_metrics(result: Result) -> list[str]:
    """Metrics of the objectives, then those of the budgets."""
    spec = result.spec
    named = [o.metric for o in spec.objectives] + [c.metric for c in spec.constraints]
    return list(dict.fromkeys(named))
