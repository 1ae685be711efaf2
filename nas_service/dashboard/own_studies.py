"""The studies of a store that this service made: their specifications and their fronts."""

import functools
import logging

import sqlalchemy as sa

from nas_service.errors import NasError
from nas_service.searches.results import read
from nas_service.searches.session import open_search
from nas_service.store.store import Store
from nas_service.store.tables import studies
from nas_service.store.transactions import STUDIES
from nas_service.study.loading import parse_spec
from nas_service.study.spec import StudySpec

log = logging.getLogger(__name__)


class OwnStudies:
    """What a result and a front are in the studies of one store.

    Args:
        store: The store, which stays open.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fronts: dict[int, tuple[object, frozenset[int]]] = {}  # with what they follow from

    def spec(self, study_id: int) -> StudySpec | None:
        """The specification of a study; None of another program's, or where it is damaged."""
        query = sa.select(studies.c.spec).where(studies.c.study_id == study_id)
        with self._store.transactions.begin() as db:
            text = db.execute(query).scalar_one_or_none()
        return None if text is None else _parsed(text)

    def front(self, study_id: int) -> frozenset[int] | None:
        """Numbers of the trials on a study's front, as `nas front` has them.

        They are read again when a trial has another outcome than before.

        Returns:
            The numbers; None of another program's study, or where its results are damaged.
        """
        name = self._name(study_id)
        if name is None:
            return None
        outcomes = self._store.leases(study_id).outcomes()
        source = (name, hash(frozenset(outcomes.items())))
        if self._fronts.get(study_id, (None,))[0] != source:
            try:
                result = read(open_search(self._store, name, to_read=True))
            except NasError as error:
                log.warning("the front of study %r is that of Optuna's trials: %s", name, error)
                return None
            self._fronts[study_id] = (source, result.front_trials)
        return self._fronts[study_id][1]

    def _name(self, study_id: int) -> str | None:
        ours = STUDIES.join(studies, studies.c.study_id == STUDIES.c.study_id)
        query = sa.select(STUDIES.c.study_name).select_from(ours)
        with self._store.transactions.begin() as db:
            return db.execute(query.where(STUDIES.c.study_id == study_id)).scalar_one_or_none()


@functools.lru_cache(maxsize=64)
def _parsed(text: str) -> StudySpec | None:
    try:
        return parse_spec(text, "study", stored=True)
    except NasError:
        return None
