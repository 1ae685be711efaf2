"""JSON documents from files that somebody else wrote."""

import json
from pathlib import Path
from typing import Any

from hw_models import WorkloadError

MAX_FILE_B = 2**30


def read_json(path: Path) -> Any:
    """Reads the document in a JSON file.

    Args:
        path: The file, of at most MAX_FILE_B bytes.

    Returns:
        The document as Python's dicts, lists, strings and numbers.

    Raises:
        WorkloadError: The file cannot be read, is too large or is not JSON.
    """
    try:
        if path.stat().st_size > MAX_FILE_B:
            raise ValueError(f"larger than {MAX_FILE_B} bytes")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WorkloadError(f"{path}: cannot be read as JSON ({error})") from error
