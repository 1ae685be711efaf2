"""A trained network's layers, recorded while they read a few validation samples."""

import logging
from pathlib import Path

import torch

from hw_models import Workload
from nas_service.data.batches import raw, scale
from nas_service.data.images import Images
from nas_service.evaluation.traces import LIMIT, Traces, facts_of, path_of, samples_within
from nas_service.metrics import Evaluation
from nas_service.snn.checkpoint import write
from nas_service.snn.network import Network
from nas_service.snn.trace import recorded_inputs

log = logging.getLogger(__name__)


def record(
    network: Network,
    workload: Workload,
    validation: Images,
    measured: Evaluation,
    weights: Path,
    device: torch.device,
) -> None:
    """Writes the traces of a candidate beside its weights.

    Where not even one sample fits into the file's limit, which is known before the network runs,
    nothing is written, and the log says so.

    Args:
        network: The trained network.
        workload: Its layers.
        validation: The images of which the first are recorded.
        measured: The candidate, with the figures of its training.
        weights: File of its weights.
        device: Of the network.
    """
    samples = samples_within(workload, len(validation))
    if not samples:
        digest = measured.architecture.digest
        log.warning("%s: no traces: one sample takes more than %s", digest, LIMIT)
        return
    pixels = raw(validation, slice(samples))
    inputs = recorded_inputs(network, scale(validation, pixels).to(device), pixels.numpy())
    tensors = {name: torch.from_numpy(x.bits) for name, x in inputs.items()}
    write(tensors, path_of(weights), facts_of(Traces(samples, inputs), measured))
