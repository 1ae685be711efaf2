"""Workers as tasks of a Dask cluster, watched by the client that started them."""

import importlib.util
import queue
import time
import uuid
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass, field

from distributed import Client, Event, Future, KilledWorker

from nas_service.errors import Interrupted, NasError, StoreError, TooManyFailures
from nas_service.launch.dask_task import Finished, Task, new_task, work
from nas_service.worker.local_pool import GRACE_s

__all__ = ["Task", "launch", "new_task"]
POLL_s = 0.5
RETURN_s = 20.0  # for a Dask worker that was lost to come back, while all others refuse
MOST_NAMED = 3  # Dask workers in one message
REFUSALS = (NasError.exit_code, StoreError.exit_code, TooManyFailures.exit_code)


def launch(
    client: Client,
    task: Task,
    workers: int,
    on_line: Callable[[str], None],
    restarts: int = 10,
    on_tick: Callable[[], None] = lambda: None,
    on_message: Callable[[str], None] | None = None,
) -> str:
    """Runs workers on a cluster until the study ends.

    Args:
        client: Client of the cluster.
        task: Command of every worker.
        workers: Their number.
        on_line: Called with each line of a worker.
        restarts: How often a worker is restarted that is killed or whose Dask worker is lost.
        on_tick: Called twice a second.
        on_message: Called with each message about a worker; `on_line` unless given.

    Returns:
        The last line of the worker that ended last: why the study ended.

    Raises:
        NasError: No worker reached the end of the study, or the scheduler was lost.
        StoreError: No Dask worker can use the store.
        TooManyFailures: Too many trials failed.
        Interrupted: Ctrl-C was pressed; all workers have been asked to stop.
    """
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    tasks = RunningTasks(client, task, on_message or on_line)
    try:
        client.subscribe_topic(task.channel, lambda event: lines.put(event[1]))
        tasks.start(workers, restarts)
        while tasks.unfinished:
            time.sleep(POLL_s)
            on_tick()
            while not lines.empty():
                on_line(lines.get())
            tasks.update()
    except KeyboardInterrupt:
        tasks.stop_all()
        raise Interrupted("interrupted: run the same command again to continue") from None
    except (OSError, CancelledError):
        raise NasError(
            "the connection to the Dask scheduler was lost: workers end with it and release their "
            "trials; start it and run the same command again"
        ) from None
    return tasks.reason()


@dataclass(frozen=True)
class _Attempt:
    """One submission of a task."""

    restarts_left: int
    places: frozenset[str] | None  # addresses of Dask workers that may run it; None for all


@dataclass
class RunningTasks:
    """Equal tasks on a cluster. One that a Dask worker refuses is given to another Dask worker."""

    client: Client
    task: Task
    on_message: Callable[[str], None]
    _running: "dict[Future[Finished], _Attempt]" = field(default_factory=dict)
    _homeless: list[int] = field(default_factory=list)  # restarts left of tasks without a place
    _refusals: dict[str, Finished] = field(default_factory=dict)  # by address of the Dask worker
    _seen: set[str] = field(default_factory=set)  # addresses of all Dask workers so far
    _homeless_since: float = 0.0
    _reasons: list[str] = field(default_factory=list)
    _errors: list[str] = field(default_factory=list)

    @property
    def unfinished(self) -> bool:
        """True while a task runs or waits for a place."""
        return bool(self._running or self._homeless)

    def start(self, workers: int, restarts: int) -> None:
        """Submits the tasks.

        Args:
            workers: Number of tasks.
            restarts: How often each is restarted.
        """
        self._live()
        for _ in range(workers):
            self._submit(restarts)

    def update(self) -> None:
        """Takes in what has ended, and restarts what must run elsewhere.

        Raises:
            CancelledError: The scheduler was lost.
        """
        for future in [future for future in self._running if future.done()]:
            attempt = self._running.pop(future)
            if future.cancelled():
                raise CancelledError
            if future.status == "error":
                self._fail(attempt, future.exception())
            else:
                self._end(attempt, future.result(timeout=GRACE_s))
        if self._refusals:
            self._place_again()

    def stop_all(self) -> None:
        """Lets workers release their trials, and waits for them; tasks not yet started end."""
        end = time.monotonic() + GRACE_s
        try:
            Event(self.task.channel, client=self.client).set()
        except (OSError, CancelledError):
            return
        while not all(future.done() for future in self._running) and time.monotonic() < end:
            time.sleep(POLL_s)

    def reason(self) -> str:
        """Why the study ended.

        Raises:
            NasError: No worker reached its end.
        """
        if self._reasons:
            return self._reasons[-1]
        if not self._refusals:
            raise NasError(f"no worker reached the end of the study: {self._errors[0]}")
        named = [f"{address}: {f.reason}" for address, f in self._refusals.items()]
        more = f"; and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
        text = f"no Dask worker can work on the study: {'; '.join(named[:MOST_NAMED])}{more}"
        codes = {refusal.code for refusal in self._refusals.values()}
        for kind in (TooManyFailures, StoreError):
            if kind.exit_code in codes:
                raise kind(text)
        raise NasError(text)

    def _submit(self, restarts_left: int) -> None:
        """Gives a task to any Dask worker that has not refused one."""
        places = frozenset(self._live() - self._refusals.keys()) if self._refusals else None
        if places is not None and not places:
            self._homeless_since = self._homeless_since or time.monotonic()
            self._homeless.append(restarts_left)
            return
        key = f"nas-{self.task.study}-{uuid.uuid4().hex[:8]}"
        allowed = None if places is None else sorted(places)
        future = self.client.submit(work, self.task, key=key, workers=allowed, pure=False)
        self._running[future] = _Attempt(restarts_left, places)

    def _live(self) -> set[str]:
        addresses = set(self.client.nthreads())
        if new := addresses - self._seen:
            self._seen |= new
            self._refuse_without_package(new)
        return addresses

    def _end(self, attempt: _Attempt, finished: Finished) -> None:
        if finished.code == 0:
            self.on_message(f"worker on {finished.address}: {finished.reason}")
            self._reasons.append(finished.reason)
        elif finished.code in REFUSALS:
            self._refuse(finished)
            self._submit(attempt.restarts_left)
        else:
            what = f"ended with exit code {finished.code}"
            self._restart(attempt, f"the worker on {finished.address} {what} ({finished.reason})")

    def _refuse(self, finished: Finished) -> None:
        if finished.address not in self._refusals:
            self._refusals[finished.address] = finished
            self.on_message(f"no worker can run on {finished.address}: {finished.reason}")

    def _fail(self, attempt: _Attempt, error: BaseException) -> None:
        if isinstance(error, KilledWorker):
            return self._restart(attempt, "the Dask workers of a task were lost one by one")
        first = next(iter(str(error).splitlines()), "")
        self._restart(attempt, f"a task failed: {type(error).__name__}: {first:.300}")

    def _refuse_without_package(self, addresses: set[str]) -> None:
        """Excludes Dask workers that lack this package; one that gets its task would end."""
        specs = self.client.run(
            importlib.util.find_spec, work.__module__, workers=sorted(addresses), on_error="return"
        )
        for address, spec in specs.items():
            if spec is None or isinstance(spec, ImportError):
                reason = "the package nas-service of this release is missing"
                self._refuse(Finished(address, NasError.exit_code, reason))

    def _restart(self, attempt: _Attempt, what: str) -> None:
        if attempt.restarts_left:
            self.on_message(f"{what}; it is restarted")
            self._submit(attempt.restarts_left - 1)
        else:
            self.on_message(f"{what}; it is not restarted any more")
            self._errors.append(what)

    def _place_again(self) -> None:
        """Submits tasks again whose Dask workers are gone, or that had none until now."""
        live = self._live()
        for future, attempt in list(self._running.items()):
            if attempt.places is not None and attempt.places.isdisjoint(live):
                del self._running[future]
                future.cancel()
                self._submit(attempt.restarts_left)
        if live - self._refusals.keys():
            homeless, self._homeless, self._homeless_since = self._homeless, [], 0.0
            for restarts_left in homeless:
                self._submit(restarts_left)
        elif not self._running and self._is_hopeless(live):
            self._homeless = []

    def _is_hopeless(self, live: set[str]) -> bool:
        """True if all Dask workers refuse, and none that was lost may still come back."""
        may_return = self._seen - live - self._refusals.keys()
        return not may_return or time.monotonic() - self._homeless_since > RETURN_s
