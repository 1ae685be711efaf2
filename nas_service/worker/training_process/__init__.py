"""One child process for each training: whatever happens to it, the worker lives on."""

from nas_service.worker.training_process.client import Job, TrainingClient
from nas_service.worker.training_process.failures import ChildFailure, Kind

__all__ = ["ChildFailure", "Job", "Kind", "TrainingClient"]
