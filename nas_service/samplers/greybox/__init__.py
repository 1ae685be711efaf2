"""A sampler for searches whose costs are known while accuracy is not; it knows nothing of cells."""

from nas_service.samplers.greybox.history import Seen
from nas_service.samplers.greybox.problem import Bound, Objective
from nas_service.samplers.greybox.sampler import GreyBoxSampler
from nas_service.samplers.greybox.world import Description, Knowledge

__all__ = ["Bound", "Description", "GreyBoxSampler", "Knowledge", "Objective", "Seen"]
