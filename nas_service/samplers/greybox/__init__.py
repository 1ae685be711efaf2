"""A sampler for searches whose costs are known while accuracy is not.

It needs NumPy, SciPy and Optuna only, and imports nothing of this project outside of its folder,
which works as a package under any name.
"""

from .candidate_pool import Description, DomainKnowledge
from .history import Observation
from .problem import Bound, Objective
from .sampler import GreyBoxSampler

__all__ = ["Bound", "Description", "DomainKnowledge", "GreyBoxSampler", "Objective", "Observation"]
