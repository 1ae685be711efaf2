"""A sampler for searches whose costs are known while accuracy is not; it knows nothing of cells."""

from .candidate_pool import Description, DomainKnowledge
from .history import Observation
from .problem import Bound, Objective
from .sampler import GreyBoxSampler

__all__ = ["Bound", "Description", "DomainKnowledge", "GreyBoxSampler", "Objective", "Observation"]
