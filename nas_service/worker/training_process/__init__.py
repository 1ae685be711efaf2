"""One child process per training: whatever a training does to its process, the worker lives on."""

from nas_service.worker.training_process.client import Job, TrainingClient
from nas_service.worker.training_process.failures import (
    OF_THE_CANDIDATE,
    OF_THE_MACHINE,
    ChildFailure,
    Kind,
)

__all__ = ["OF_THE_CANDIDATE", "OF_THE_MACHINE", "ChildFailure", "Job", "Kind", "TrainingClient"]
