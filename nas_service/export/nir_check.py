"""A network's NIR files in every reader that is installed."""

import tempfile
from pathlib import Path

from torch import Tensor

from nas_service.errors import NasError
from nas_service.export.check import Comparison, compare
from nas_service.export.formats import write_files
from nas_service.export.nir_format import for_reader
from nas_service.export.nir_readers import READERS
from nas_service.export.trained_network import TrainedNetwork


def compare_readers(network: TrainedNetwork, pixels: Tensor) -> dict[str, Comparison | str]:
    """Writes a file for each reader, and runs it there.

    Args:
        network: The network.
        pixels: Raw pixels [B, ...].

    Returns:
        By reader how far it differs, or why it was not compared.
    """
    return {name: _compared(network, name, pixels) for name in READERS}


def _compared(network: TrainedNetwork, reader: str, pixels: Tensor) -> Comparison | str:
    module = for_reader(reader)
    with tempfile.TemporaryDirectory() as folder:
        try:
            module.reader.demand_installed()
            files = write_files(module.contents(network, "network"), Path(folder) / "network")
            return compare(network, module, files[0], pixels)
        except NasError as error:
            return str(error)
