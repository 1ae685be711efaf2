"""Stored JSON documents of revision 2, with the keys of revision 3."""

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

# section: old key -> new key
KEYS = {
    "space": {"candidates": "deduplicate_by"},
    "quantization": {"per": "granularity", "scale": "step_size", "when": "mode"},
    "hardware": {"set": "overrides", "space": "search_space", "chips": "monte_carlo_chips"},
    "search": {
        "checks": "constraint_order",
        "warm": "warm_start_from",
        "start": "initial",
        "halving": "reduction_factor",
        "stall": "early_stop",
    },
}
EARLY_STOP = {"trainings": "patience", "gain": "min_gain"}
# values of renamed keys
VALUES = {
    ("space", "deduplicate_by"): {"functions": "function", "genotypes": "genotype"},
    ("quantization", "mode"): {"training": "qat", "after": "ptq"},
}


def renamed_spec(text: str) -> str:
    """A study's specification with the keys of revision 3.

    Args:
        text: The specification as JSON text, of revision 2 or 3.

    Returns:
        The JSON text, its keys in their order; `text` itself where it is no such document,
        which is then refused when the study is read.
    """
    try:
        tree = json.loads(text)
    except ValueError:
        return text
    if not isinstance(tree, dict):
        return text
    new = {section: _renamed_section(section, values) for section, values in tree.items()}
    return json.dumps(new, separators=(",", ":"), ensure_ascii=False)


def _renamed_section(section: str, values: Any) -> Any:
    if section not in KEYS or not isinstance(values, dict):
        return values
    renamed = {KEYS[section].get(str(key), str(key)): value for key, value in values.items()}
    return {key: _renamed_value(section, key, value) for key, value in renamed.items()}


def _renamed_value(section: str, key: str, value: Any) -> Any:
    if key == "early_stop" and isinstance(value, dict):
        return {EARLY_STOP.get(name, name): limit for name, limit in value.items()}
    words = VALUES.get((section, key), {})
    return words.get(value, value) if isinstance(value, str) else value


def rewrite(db: Connection) -> None:
    """Renames the keys of every specification, in our table and in Optuna's attributes."""
    ours = sa.table("nas_studies", sa.column("study_id"), sa.column("spec"))
    for study_id, text in db.execute(sa.select(ours.c.study_id, ours.c.spec)).all():
        this = ours.c.study_id == study_id
        db.execute(ours.update().where(this).values(spec=renamed_spec(text)))
        _rewrite_attribute(db, study_id)


def _rewrite_attribute(db: Connection, study_id: int) -> None:
    names = ("study_id", "key", "value_json")
    attributes = sa.table("study_user_attributes", *map(sa.column, names))
    this = (attributes.c.study_id == study_id, attributes.c.key == "spec")
    for value in db.execute(sa.select(attributes.c.value_json).where(*this)).scalars().all():
        new = _renamed_attribute(value)
        db.execute(attributes.update().where(*this).values(value_json=new))


def _renamed_attribute(value_json: str) -> str:
    try:
        text = json.loads(value_json)
    except ValueError:
        return value_json
    return json.dumps(renamed_spec(text)) if isinstance(text, str) else value_json
