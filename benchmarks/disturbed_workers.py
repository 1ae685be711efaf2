"""Worker processes that are killed and stopped at random, and replaced."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class DisturbedWorkers:
    """Worker processes at numbered places; one that ends by a signal is replaced."""

    start: Callable[[int], int]  # starts a worker at a place; returns its pid
    size: int
    alive: dict[int, int] = field(default_factory=dict)  # pid -> place
    killed: set[int] = field(default_factory=set)
    crashed: set[int] = field(default_factory=set)
    stopped: dict[int, float] = field(default_factory=dict)  # pid -> when it continues
    long: Counter[int] = field(default_factory=Counter)  # stops for longer than a lease
    short: int = 0  # stops for less
    codes: list[int] = field(default_factory=list)  # of workers that ended by themselves

    def start_all(self) -> None:
        """Starts a worker at every place."""
        for place in range(self.size):
            self.alive[self.start(place)] = place

    def replace_ended(self) -> None:
        """Notes how workers ended, and replaces those that a signal ended."""
        for pid, place in list(self.alive.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if not done:
                continue
            del self.alive[pid]
            self.stopped.pop(pid, None)
            code = os.waitstatus_to_exitcode(status)
            if code >= 0:
                self.killed.discard(pid)  # it ended by itself before the signal
                self.codes.append(code)
                continue
            if code == -signal.SIGSEGV:
                self.crashed.add(pid)
            self.alive[self.start(place)] = place

    def kill(self, rng: random.Random) -> None:
        """Kills a random worker."""
        if running := sorted(self.alive.keys() - self.killed):
            self.killed.add(pid := rng.choice(running))
            os.kill(pid, signal.SIGKILL)

    def stop(self, rng: random.Random, seconds: float, long: bool) -> None:
        """Stops a random worker for some seconds."""
        if running := sorted(self.alive.keys() - self.killed - self.stopped.keys()):
            pid = rng.choice(running)
            os.kill(pid, signal.SIGSTOP)
            self.stopped[pid] = time.monotonic() + seconds
            self.long[pid] += long
            self.short += not long

    def resume_due(self) -> None:
        """Resumes the workers that were stopped for long enough."""
        for pid, when in list(self.stopped.items()):
            if time.monotonic() > when:
                del self.stopped[pid]
                os.kill(pid, signal.SIGCONT)

    def kill_all(self) -> None:
        """Ends all workers that are left."""
        for pid in self.alive:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@dataclass
class Interval:
    """Is due once each time that some seconds have passed."""

    seconds: float
    last: float = field(default_factory=time.monotonic)
    count: int = 0

    def due(self) -> bool:
        """True if the seconds have passed since it was last due."""
        if time.monotonic() - self.last < self.seconds:
            return False
        self.last, self.count = time.monotonic(), self.count + 1
        return True
