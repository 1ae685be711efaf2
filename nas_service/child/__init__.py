"""One child process per training: whatever a training does to its process, the worker lives on."""

from nas_service.child.ends import OF_THE_CANDIDATE, OF_THE_MACHINE, ChildFailure, Kind
from nas_service.child.trainer import Job, Trainer

__all__ = ["OF_THE_CANDIDATE", "OF_THE_MACHINE", "ChildFailure", "Job", "Kind", "Trainer"]
