"""Data sets by name. A new one is one file and one line here."""

from nas_service.data import digits, fashion_mnist
from nas_service.data.images import Source

DATASETS: dict[str, Source] = {
    "digits": digits.SOURCE,
    "fashion_mnist": fashion_mnist.SOURCE,
}
