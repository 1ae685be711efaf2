"""How near the memory of this control group is to its limit while a training runs.

Kubernetes has whole containers killed when memory runs out, the worker with its training. The
worker therefore ends the training before that, and notes in the store when there is little left.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from nas_service.evaluation.control_group import MemoryLimit, memory_limits
from nas_service.worker.training_process import ChildFailure

NEAR, FULL = 0.85, 0.97  # shares of the limit


@dataclass
class MemoryWatch:
    """Compares the memory in use with the limits, whenever a training checks for an interrupt.

    Attributes:
        limits: Of this process.
    """

    limits: list[MemoryLimit] = field(default_factory=memory_limits)
    _is_near: bool = False

    def begin(self) -> None:
        """A training begins."""
        self._is_near = False

    def check(self, note: Callable[[str | None], None]) -> threading.Thread | None:
        """Notes that little memory is left, or that there is enough again.

        Args:
            note: Takes the text of the note, or None; it is called in another thread.

        Returns:
            That thread, where there is something to note.

        Raises:
            ChildFailure: The kernel is about to kill the whole group.
        """
        if not self.limits:
            return None
        used = [(limit.used_B, limit) for limit in self.limits]
        used_B, limit = max(used, key=lambda use: use[0] / use[1].limit_B)
        text = f"{used_B / 2**30:.3g} of {limit.limit_B / 2**30:.3g} GiB in use"
        share = used_B / limit.limit_B
        if share >= FULL and limit.kills_all:
            raise ChildFailure("oom", f"{text}, the whole container would be killed")
        if (share >= NEAR) == self._is_near:
            return None
        self._is_near = not self._is_near
        thread = threading.Thread(target=note, args=(text if self._is_near else None,))
        thread.start()
        return thread
