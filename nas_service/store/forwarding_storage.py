"""An Optuna storage that forwards what reads a study to another one."""

from typing import Any

from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy


class ForwardingStorage(BaseStorage):
    """Forwards the reading of studies; subclasses define their trials, and what writes.

    It wraps a storage instead of inheriting from one: a writing method that a new Optuna adds makes
    a subclass abstract instead of slipping through.

    Attributes:
        backend: The storage that it wraps.
    """

    def __init__(self, backend: BaseStorage) -> None:
        """Wraps this storage."""
        self.backend = backend

    def get_study_id_from_name(self, study_name: str) -> int:
        """As the backend."""
        return self.backend.get_study_id_from_name(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        """As the backend."""
        return self.backend.get_study_name_from_id(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """As the backend."""
        return self.backend.get_study_directions(study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """As the backend."""
        return self.backend.get_study_user_attrs(study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """As the backend."""
        return self.backend.get_study_system_attrs(study_id)

    def get_all_studies(self) -> list[FrozenStudy]:
        """As the backend."""
        return self.backend.get_all_studies()

    def remove_session(self) -> None:
        """Releases the backend's connection of this thread."""
        self.backend.remove_session()
