"""A search from Python: the command line is a thin caller of this."""

from collections.abc import Callable
from pathlib import Path

from nas_service.evaluation.evaluator import Evaluator
from nas_service.searches.creation import Search, check, check_data, create, grow, queue, set_limits
from nas_service.searches.results import Candidate, Result, read
from nas_service.store.store import Store
from nas_service.study.spec import StudySpec, load_spec
from nas_service.worker.local_pool import Crew, cores


def prepare(spec: StudySpec, store: Callable[[], Store], data: Path) -> tuple[Search, Evaluator]:
    """The study created, or opened, with the limits of the file and perhaps grown to a later epoch.

    Study file and data are checked before the store is touched.
    """
    check(spec)
    bench = Evaluator.open(spec, data)
    search = create(store(), spec, bench.data_digest)
    check_data(search, bench)
    return grow(set_limits(search, spec), spec.training.last), bench


def run(
    search: Search,
    bench: Evaluator,
    workers: int | None = None,
    heard: Callable[[str], None] = lambda text: None,
    tick: Callable[[], None] = lambda: None,
    top: int | None = None,
) -> tuple[Result, str]:
    """Runs local workers to the study's end, then reads the test images once, for the front.

    In a study that has grown, the front's trainings go on (or those of the `top` best) until all
    of them have come to the last epoch.
    """
    seen: set[str] = set()
    while True:
        seen |= set(resume_training(read(search), top))
        words = ("worker", "--study", search.name)
        crew = Crew(search.store, words, bench.folder, workers or cores())
        why = crew.run(heard, tick)
        if seen.issuperset(c.digest for c in read(search).early(top)):
            break
    measure_test(read(search), bench)
    return read(search), why


def resume_training(result: Result, top: int | None = None) -> list[str]:
    """Queues what ended early of the front, or of the `top` best; the digests of all that."""
    early = [c.digest for c in result.early(top)]
    queue(result.search, early)
    return early


def measure_test(result: Result, bench: Evaluator) -> None:
    """Test accuracy of every candidate on the front that has none and whose weights are here."""
    for candidate in result.front:
        weights = result.search.weights(candidate.digest)
        if candidate.test_accuracy is None and weights.is_file():
            _measure_test(result, candidate, bench, weights)


def _measure_test(result: Result, candidate: Candidate, bench: Evaluator, weights: Path) -> None:
    value = bench.test_accuracy(result.evaluation(candidate).architecture, weights)
    result.search.store.keep_test_accuracy(result.search.id, candidate.digest, value)


def search(
    study: str | Path | StudySpec, storage: str, workers: int | None, data: str | Path
) -> Result:
    """See `nas_service.search`."""
    spec = study if isinstance(study, StudySpec) else load_spec(Path(study))
    opened, bench = prepare(spec, lambda: Store(storage, create=True), Path(data))
    opened.store.set_budget(opened.id, spec.search.trainings)
    return run(opened, bench, workers)[0]
