"""Progress while workers run here: a bar with the time left, or the lines of the workers."""

import time
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from nas_service.cli.budgets import budgets_line
from nas_service.cli.terminal import can_redraw, err, print_detail, print_err
from nas_service.cli.verbosity import Verbosity, verbosity
from nas_service.text import duration, metric, metric_label, number

if TYPE_CHECKING:
    from nas_service.searches.results import Result
    from nas_service.searches.session import Search

BAR = 20  # characters
BESIDE = 11  # and the elapsed time, the slash between two numbers, three gaps


def started(search: "Search") -> "ProgressBar":
    """Prints which study begins, and makes the bar that shows its progress."""
    budget = search.store.studies.get(search.name).trainings
    print_err(
        f"study {search.name} in {search.store.shown}: {budget:,} trainings, "
        f"space of {number(float(search.spec.space.build().size))} genotypes"
    )
    from nas_service.searches.input_density import density_of

    if line := budgets_line(search.spec, density_of(search)):
        print_err(line)
    return ProgressBar(search, budget)


class ProgressBar:
    """A bar on a terminal, elsewhere the lines of the workers; with --quiet nothing."""

    def __init__(self, search: "Search", budget: int) -> None:
        self.search, self.budget = search, budget
        columns = (BarColumn(BAR), MofNCompleteColumn(), TimeElapsedColumn())
        text = TextColumn("{task.description}", markup=False)
        self.bar = Progress(*columns, text, console=err)
        self.task = self.bar.add_task("starting workers", total=budget)
        self.live = can_redraw(err) and verbosity() is not Verbosity.QUIET
        self.first: tuple[float, int] | None = None  # time in s, trainings that were done by then
        self.changed = True

    def __enter__(self) -> "ProgressBar":
        if self.live:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.tick()
        if self.live:
            self.bar.stop()

    def line(self, text: str) -> None:
        """Takes one line of a worker."""
        self.changed = True
        (print_detail if self.live else print_err)(text)

    def tick(self) -> None:
        """Redraws the bar if anything has changed; while the store does not answer, it waits."""
        if not (self.live and self.changed):
            return
        from nas_service.searches import results
        from nas_service.worker.retry import is_transient

        try:
            result = results.read(self.search)
        except Exception as error:
            if is_transient(error):
                return
            raise
        self.changed = False
        done = result.counts["trained"]
        self.first = self.first or (time.monotonic(), done)
        self.bar.update(self.task, completed=done, description=self._description(result, done))

    def _description(self, result: "Result", done: int) -> str:
        """What is shown beside the bar: as much as fits the terminal."""
        parts = [*self._remaining(done), f"{len(result.feasible)} feasible"]
        if result.front:
            name = result.spec.objectives[0].metric
            best = metric(name, result.front[0].metrics[name])
            parts += [f"best {metric_label(name)} {best}"]
            parts += [f"hypervolume {number(result.hypervolume)}"]
        return self.fitting([*parts, f"{result.counts['rejected']} rejected"])

    def fitting(self, parts: list[str]) -> str:
        """The first parts, as many as fit beside the bar."""
        room = err.width - BAR - 2 * len(str(self.budget)) - BESIDE
        count = next((n for n in range(len(parts), 1, -1) if len(" · ".join(parts[:n])) <= room), 1)
        return " · ".join(parts[:count])

    def _remaining(self, done: int) -> list[str]:
        assert self.first is not None  # noqa: S101  set by tick
        start, before = self.first
        if done == before:
            return []
        seconds = (time.monotonic() - start) / (done - before) * (self.budget - done)
        return [f"{duration(seconds)} left"]
