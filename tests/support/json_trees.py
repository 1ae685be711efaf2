"""JSON documents with one entry changed."""

import copy
from typing import Any


def changed(tree: Any, path: tuple[str | int, ...], value: object) -> Any:
    """A copy with the entry at a path replaced, or removed where the value is `...`."""
    result = copy.deepcopy(tree)
    *inner, last = path
    place = result
    for key in inner:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return result
