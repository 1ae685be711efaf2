"""Why a setting changes nothing of what a network costs: what limits it, or what it needs."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from hw_models import adc
from hw_models.errors import ProfileError
from hw_models.parameters import CHOICES, DEFECTS, SCRIPT_COLUMNS
from hw_models.profile import Profile
from hw_models.supply_scaling import SUPPLY
from hw_models.workload import Workload

SIMULATED = {  # figures of imperfect cells: a simulated chip is wrong by them, not dearer
    "on_resistance", "off_resistance", "wire_resistance", "conductance_spread", "stuck_on",
    "stuck_off", "drift_exponent", "drift_spread", "drift_seconds",
}  # fmt: skip
CLOCKED = ("clock", "clocks_per_read")


def limits(
    profile: Profile,
    changes: Mapping[str, Any],
    workload: Workload,
    fixed: Mapping[str, Any] = MappingProxyType({}),
) -> list[str]:
    """What keeps settings from having an effect.

    Args:
        profile: The chip without any of the settings.
        changes: The settings in question, as `Profile.with_values` takes them.
        workload: What is costed.
        fixed: Other settings that are made before them.

    Returns:
        A sentence for each setting that does nothing, or less than it seems to.

    Raises:
        ProfileError: The settings are wrong, or contradict each other.
    """
    after = profile.with_values({**fixed, **changes})
    notes = []
    for key in (k for k in changes if k != SUPPLY.key):  # which changes figures, and is none
        others = {name: value for name, value in changes.items() if name != key}
        try:
            without = profile.with_values({**fixed, **others})
        except ProfileError:
            continue  # the other settings need this one
        if note := _limit(after, without, key, workload):
            notes.append(f"{key} = {_shown(after.settings[key])}: {note}")
    return notes


def _limit(after: Profile, without: Profile, key: str, workload: Workload) -> str:
    """Why a setting has no effect, or a part of it; empty where it has all of it."""
    if key in CLOCKED and (note := _converter_limit(after)):
        return note
    figures = after.chip.figures
    if key == "columns_per_adc" and figures.columns_per_adc > figures.crossbar_size:
        return f"costed as {figures.crossbar_size}, the columns of an array (crossbar_size)"
    if after.settings[key] == without.settings[key]:
        range_lost = key in without.ranges and key not in after.ranges
        rest = "it only has no range any more" if range_lost else "nothing changes"
        return f"the chip has this value already, {rest}"
    if _costs(after, workload) != _costs(without, workload):
        return ""
    if key in SIMULATED:
        return "changes no cost, only the accuracy on simulated chips (monte_carlo_chips)"
    needed = _enabling(after, without, key, workload)
    if needed:
        return f"changes nothing of this network, it does with {' or '.join(needed)}"
    return "changes nothing of this network"


def _shown(value: float | str | bool) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower()


def _converter_limit(profile: Profile) -> str:
    """Where converters are slower than the clock: the least clock that is not wasted."""
    chip = profile.chip
    if chip.defects.groups_as_reads:
        return ""
    column_s = chip.figures.clocks_per_read / chip.figures.clock_Hz / SCRIPT_COLUMNS
    converter_s = adc.delay_s(chip.figures, chip.options)
    if column_s >= converter_s:
        return ""
    enough_Hz = chip.figures.clocks_per_read / SCRIPT_COLUMNS / converter_s
    return (
        f"the {chip.options.adc} converter limits the latency: {converter_s * 1e9:.3g} ns a column "
        f"at {chip.figures.adc_bits} bits, as at clock = {enough_Hz / 1e6:.4g} MHz"
    )


def _costs(profile: Profile, workload: Workload) -> Any:
    report = profile.estimate(workload)
    return report.metrics(), report.mapping


def _enabling(after: Profile, without: Profile, key: str, workload: Workload) -> list[str]:
    """Other settings with which the setting has an effect, as `key = value`."""
    enabling = []
    for other, value in _alternatives(after):
        try:
            pair = [profile.with_values({other: value}) for profile in (after, without)]
        except ProfileError:
            continue  # the chip cannot be built so
        if other != key and _costs(pair[0], workload) != _costs(pair[1], workload):
            enabling.append(f"{other} = {_shown(value)}")
    return enabling


def _alternatives(profile: Profile) -> Iterable[tuple[str, str | bool]]:
    for key, choices in CHOICES.items():
        yield from ((key, choice) for choice in choices if choice != profile.options[key])
    yield from ((key, not profile.switches[key]) for key in DEFECTS)
