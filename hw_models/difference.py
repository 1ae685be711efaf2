"""Why two chips give different figures: one setting after the other, from the first to the second.

Each step changes one switch, option or figure and keeps the changes before it, so the steps add
up to the whole difference; the effect of a step depends on the steps before it.
"""

from dataclasses import dataclass

from hw_models.errors import ProfileError
from hw_models.parameters import DEFECTS, FIGURES_OF
from hw_models.profile import Profile
from hw_models.workload import Workload


@dataclass(frozen=True)
class Step:
    """One setting changed, and its effect."""

    key: str
    before: float | str | bool
    after: float | str | bool
    change: dict[str, float]  # metric -> difference made by this step, in the metric's unit

    @property
    def defect(self) -> str:
        """D1 .. D18 for a switch, empty for other settings."""
        return DEFECTS[self.key][0] if self.key in DEFECTS else ""


def steps(a: Profile, b: Profile, workload: Workload) -> list[Step]:
    """Steps from one chip to another.

    Args:
        a: The first chip.
        b: The second chip.
        workload: What is costed on both.

    Returns:
        One step per differing setting, together with the figures that belong to it; settings
        without any effect on the workload are left out.

    Raises:
        ProfileError: An intermediate chip is impossible.
    """
    changes = []
    for key in [key for key, value in a.settings.items() if b.settings[key] != value]:
        changes += _step(a, b, key, workload)
        a = _with(a, b, key)
    return changes


def _with(profile: Profile, other: Profile, key: str) -> Profile:
    """The profile with one setting of another one, and with figures that belong to it."""
    try:
        keys = (key, *FIGURES_OF.get(key, ()))
        return profile.with_values({each: other.settings[each] for each in keys})
    except ProfileError as error:
        raise ProfileError(
            f"no chip lies between the two profiles: {error} (set {key} in both to compare)"
        ) from error


def _step(a: Profile, b: Profile, key: str, workload: Workload) -> list[Step]:
    before = a.estimate(workload).metrics()
    after = _with(a, b, key).estimate(workload).metrics()
    change = {name: after[name] - before[name] for name in before}
    return [Step(key, a.settings[key], b.settings[key], change)] if any(change.values()) else []
