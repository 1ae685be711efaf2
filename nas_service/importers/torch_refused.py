"""Functions of torch whose single operations would be taken for something else."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.nn import functional
from torch.overrides import TorchFunctionMode

from nas_service.importers.torch_matrices import Cannot

POWER_POOLINGS = (functional.lp_pool1d, functional.lp_pool2d, functional.lp_pool3d)


class RefusedFunctions(TorchFunctionMode):
    """Refuses power-average pooling, which takes a sign as neurons do.

    Args:
        cannot: The error for a reason.
    """

    def __init__(self, cannot: Cannot) -> None:
        super().__init__()
        self.cannot = cannot

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in POWER_POOLINGS:
            raise self.cannot(
                f"{func.__name__}: no neuron computes its powers and roots: average or maximum "
                "pooling is needed"
            )
        return func(*args, **(kwargs or {}))
