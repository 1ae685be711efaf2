"""Which nodes of a Kubernetes cluster may run pods, and which pods come first."""

import re
from dataclasses import dataclass
from typing import Any

from nas_service.errors import SpecError, pick

WORD = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
DOMAIN = re.compile(rf"{LABEL}(\.{LABEL})*")
EFFECTS = {name: name for name in ("NoSchedule", "PreferNoSchedule", "NoExecute")}


@dataclass(frozen=True)
class Placement:
    """Labels of the nodes, taints that are tolerated, and a priority.

    Attributes:
        node_selector: KEY=VALUE of labels that the nodes must have.
        tolerations: KEY[=VALUE][:EFFECT] of taints that the nodes may have.
        priority_class: Name of a PriorityClass.

    Raises:
        SpecError: One of them is not of this form.
    """

    node_selector: tuple[str, ...] = ()
    tolerations: tuple[str, ...] = ()
    priority_class: str | None = None

    def __post_init__(self) -> None:
        if self.priority_class is not None and not DOMAIN.fullmatch(self.priority_class):
            raise SpecError(
                f"--priority-class {self.priority_class!r:.80}: lower-case letters, digits and "
                "dashes are allowed"
            )
        self.fields()

    def fields(self) -> dict[str, Any]:
        """The fields of a pod's specification."""
        labels = dict(_label("--node-selector", text) for text in self.node_selector)
        tolerations = [_toleration(text) for text in self.tolerations]
        given = {
            "nodeSelector": labels,
            "tolerations": tolerations,
            "priorityClassName": self.priority_class,
        }
        return {name: value for name, value in given.items() if value}


def _label(option: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not _is_key(key) or not _is_value(value):
        raise SpecError(f"{option} {text!r:.80}: KEY=VALUE is needed, such as disk=ssd")
    return key, value


def _toleration(text: str) -> dict[str, str]:
    taint, colon, effect = text.partition(":")
    key, equals, value = taint.partition("=")
    if not _is_key(key) or not _is_value(value):
        raise SpecError(
            f"--toleration {text!r:.80}: KEY[=VALUE][:EFFECT] is needed, such as "
            "nvidia.com/gpu:NoSchedule"
        )
    how = {"operator": "Equal", "value": value} if equals else {"operator": "Exists"}
    if colon:
        how["effect"] = pick(EFFECTS, effect, "effect", f"--toleration {text!r:.80}")
    return {"key": key, **how}


def _is_key(text: str) -> bool:
    domain, slash, name = text.rpartition("/")
    plain = not slash or (len(domain) <= 253 and DOMAIN.fullmatch(domain))
    return bool(plain and WORD.fullmatch(name))


def _is_value(text: str) -> bool:
    return not text or bool(WORD.fullmatch(text))
