"""How a result shows itself in a notebook: as a table, as a data frame, as a figure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from hw_models.html_table import html_table
from nas_service.errors import not_installed
from nas_service.searches.candidate import Candidate
from nas_service.searches.front_figure import Group, front_figure
from nas_service.study.spec import StudySpec
from nas_service.text import metric_label, metric_number, metric_unit, printable

if TYPE_CHECKING:
    from pandas import DataFrame
    from plotly.graph_objects import Figure


class Shown(Protocol):
    """What is shown of a result; see `Result`."""

    spec: StudySpec

    @property
    def candidates(self) -> Sequence[Candidate]: ...

    @property
    def feasible(self) -> Sequence[Candidate]: ...

    @property
    def front(self) -> Sequence[Candidate]: ...

    @property
    def below_reference(self) -> Sequence[Candidate]: ...

    @property
    def hypervolume(self) -> float: ...

    @property
    def summary(self) -> Sequence[str]: ...

    def rows(self) -> list[dict[str, Any]]: ...


class NotebookView:
    """The part of `Result` that draws."""

    def rows(self: Shown) -> list[dict[str, Any]]:
        """One flat row per candidate: trial, outcome, feasible, then its metrics by name."""
        return [c.row() for c in self.candidates]

    def frame(self: Shown) -> "DataFrame":
        """`rows` as a data frame of pandas, indexed by trial.

        Raises:
            NasError: pandas is not installed.
        """
        try:
            import pandas
        except ModuleNotFoundError:
            raise not_installed("pandas", "notebook") from None
        return pandas.DataFrame(self.rows(), columns=_columns(self.rows())).set_index("trial")

    def plot(self: Shown) -> "Figure":
        """The candidates by their objectives, the front among them, as a figure of plotly.

        Returns:
            The figure, which a notebook shows; candidates without a value of every objective are
            left out of it.
        """
        names = [o.metric for o in self.spec.objectives]
        groups = [_group(candidates, names) for candidates in _groups(self)]
        limits = [
            (c.metric, limit)
            for c in self.spec.constraints
            if (limit := c.at_most if c.at_most is not None else c.at_least) is not None
        ]
        return front_figure(f"{self.spec.name}: {_headline(self)}", names, groups, limits)

    def __repr__(self: Shown) -> str:
        return f"<Result of study {self.spec.name!r}: {_headline(self)}>"

    def _repr_html_(self: Shown) -> str:
        """The front as a table, which a notebook shows for a result."""
        metrics = [o.metric for o in self.spec.objectives]
        metrics = list(dict.fromkeys([*metrics, *(c.metric for c in self.spec.constraints)]))
        rows = [
            (str(c.trial), *(metric_number(m, c.metrics.get(m)) for m in metrics))
            for c in self.front
        ]
        head = ("trial", *(f"{metric_label(m)} {metric_unit(m)}".rstrip() for m in metrics))
        caption = f"{printable(self.spec.name)}: {_headline(self)}. {'; '.join(self.summary)}"
        return html_table(head, rows, caption)


def _headline(result: Shown) -> str:
    text = f"front of {len(result.front)}, hypervolume {result.hypervolume:.3f}"
    below = len(result.below_reference)
    return text + (f", {below} feasible below reference" if below else "")


def _columns(rows: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(["trial", "outcome", "feasible", *(key for r in rows for key in r)]))


def _groups(result: Shown) -> tuple[list[Candidate], ...]:
    """The front, other feasible candidates, those below a reference, and those over budget."""
    front, below = ({c.trial for c in x} for x in (result.front, result.below_reference))
    rest = [c for c in result.feasible if c.trial not in front | below]
    over = [c for c in result.candidates if not c.feasible]
    return list(result.front), rest, list(result.below_reference), over


def _group(candidates: Sequence[Candidate], names: Sequence[str]) -> Group:
    kept = [c for c in candidates if all(name in c.metrics for name in names)]
    return Group([c.trial for c in kept], [c.metrics for c in kept])
