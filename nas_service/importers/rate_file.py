"""Files with a spike rate for each layer."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hw_models import WorkloadError
from hw_models.files.csv_table import DECIMAL_COMMA
from hw_models.files.json_file import parse_json
from hw_models.files.numerals import parse_number
from hw_models.files.text_file import read_text

SEPARATORS = ",;\t "
WORD = re.compile(r"[;\t ]+")


def read_rates(path: Path) -> Sequence[Any] | Mapping[str, Any]:
    """Reads spike rates.

    Args:
        path: JSON: a list of one rate a layer, in their order, or a table of rates by the names
            of layers, also in the key `spike_rates` of a trial; a rate may be a list of one per
            time step. Or other text: a rate a line, or a name and a rate.

    Returns:
        Shares, 0..1, by layer or in the order of the layers; not validated.

    Raises:
        FileError: The file cannot be read.
        WorkloadError: It holds something else; the message names the line.
    """
    if not path.is_file():
        raise WorkloadError(f"spike rate {str(path)!r:.60}: a share 0..1 or a file is needed")
    text = read_text(path)
    if path.suffix.lower() != ".json":
        return _lines(text, path)
    document = parse_json(text, str(path))
    rates = document.get("spike_rates", document) if isinstance(document, dict) else document
    if not isinstance(rates, dict | list) or not rates:
        raise WorkloadError(f"{path}: a rate for each layer is needed, as a list or by their names")
    return rates


def _lines(text: str, path: Path) -> Sequence[float] | Mapping[str, float]:
    rates: dict[str, float] = {}
    named: set[bool] = set()
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.partition("#")[0].strip()
        if not stripped:
            continue
        if DECIMAL_COMMA.fullmatch(WORD.split(stripped)[-1]):
            raise WorkloadError(
                f"{path}: line {number}: {stripped!r:.60}: a decimal comma, or a name and a rate? "
                "A decimal point, and a blank after a name, are needed"
            )
        end = max(map(stripped.rfind, SEPARATORS))
        name, rate = stripped[: end + 1].rstrip(SEPARATORS), parse_number(stripped[end + 1 :])
        named.add(bool(name))
        if rate is None or not 0 <= rate <= 1 or len(named) > 1:
            raise WorkloadError(
                f"{path}: line {number}: {stripped!r:.60}: one rate 0..1 a line is needed, or "
                "in every line a name and a rate"
            )
        key = name or str(number)
        if key in rates:
            raise WorkloadError(f"{path}: line {number}: a second rate for layer {key!r:.60}")
        rates[key] = rate
    return rates if True in named else list(rates.values())
