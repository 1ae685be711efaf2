"""The study that a worker works on, and what all parts of the worker share."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from nas_service.errors import StudyError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.searches.session import Search
from nas_service.store.buffered_storage import BufferedStorage
from nas_service.store.trial_queue import TrialQueue
from nas_service.study.loading import parse_spec
from nas_service.study.spec import StudySpec
from nas_service.worker.retry import Retry
from nas_service.worker.telemetry import Telemetry


@dataclass(eq=False)
class Assignment:
    """One study for one worker. Search and evaluator follow changes of the study's specification.

    Attributes:
        search: The study.
        evaluator: Measures its candidates.
        queue: The study's trials, for this worker.
        on_line: Called with each line about the work.
        telemetry: The worker's figures.
        asked_to_end: Is set when the worker must end.
    """

    search: Search
    evaluator: Evaluator
    queue: TrialQueue
    on_line: Callable[[str], None]
    telemetry: Telemetry
    asked_to_end: threading.Event = field(default_factory=threading.Event)
    _spec_text: str = ""  # as the store had it last

    def __post_init__(self) -> None:
        self.retry = Retry(self.search.store, self.asked_to_end, self.on_line, self.telemetry)

    @property
    def spec(self) -> StudySpec:
        """The study's specification."""
        return self.search.spec

    @property
    def storage(self) -> BufferedStorage:
        """Optuna's storage in the study's store."""
        return self.search.store.optuna

    @property
    def at_rung(self) -> bool:
        """True where results are kept as those of a rung, too."""
        return self.spec.search.reduction_factor is not None

    def refresh_spec(self) -> None:
        """Takes the specification from the store, where another process has changed it."""
        text = self.search.store.studies.spec(self.search.id)
        if text == self._spec_text:
            return
        name = self.search.name
        spec = parse_spec(text, f"study {name!r}", stored=True)
        if spec.name != name:
            raise StudyError(
                f"study {name!r} is {spec.name!r} in the store now: renamed or deleted"
            )
        self._spec_text = text
        if spec != self.search.spec:
            self.search = replace(self.search, spec=spec)
            self.evaluator = replace(self.evaluator, spec=spec)
