"""Every figure out of its range, and every option without one, is named with what is right."""

from dataclasses import fields
from typing import get_type_hints

import pytest

from hw_models import ProfileError, known_profiles, load_profile
from hw_models.adc import FITTED_BITS
from hw_models.node_scaling import NODES, RELATIVE, Scaling
from hw_models.parameters import CHOICES, SCHEMA
from hw_models.silicon.macro import Macro, Point
from hw_models.silicon.measured import FOLDER, known_chips, read_chip
from hw_models.silicon.processor import Processor
from hw_models.supply_scaling import LEAST_V, MOST_V

PROFILES = {name: load_profile(name) for name in known_profiles()}


def refused(changes, profile="corrected"):
    """The one line that a setting is refused with."""
    with pytest.raises(ProfileError) as caught:
        PROFILES[profile].with_values(changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_figure_of_every_profile_has_a_range(profile):
    for key, entry in PROFILES[profile].entries.items():
        quantity = SCHEMA[key]
        least, most = entry.fitted or (quantity.least, quantity.most)
        for wrong in (least - 1, most * 2 + 1, float("nan"), "much"):
            message = refused({key: wrong}, profile)
            assert message.startswith(f"profile {profile}: {key} = "), message
            assert f"{least:g}..{most:g}" in message


@pytest.mark.parametrize("key", CHOICES)
def test_every_option_names_its_choices(key):
    message = refused({key: "none of them"})
    assert f"{key} = 'none of them': one of {', '.join(CHOICES[key])} is needed" in message


@pytest.mark.parametrize("adc", FITTED_BITS)
def test_every_converter_names_the_bits_that_it_was_fitted_to(adc):
    least, most = FITTED_BITS[adc]
    for bits in {least - 1, most + 1} - {0, 17}:
        message = refused({"adc": adc, "adc_bits": bits})
        assert message == f"adc_bits = {bits}: the {adc} converter covers {least}..{most}"


@pytest.mark.parametrize("profile", PROFILES)
def test_a_supply_out_of_that_of_measured_chips_is_refused(profile):
    for volts in (LEAST_V - 0.01, MOST_V + 0.01):
        message = refused({"supply": volts}, profile)
        assert message == (
            f"profile {profile}: supply = {volts}: a number in {LEAST_V:g}..{MOST_V:g} V is needed"
        )


@pytest.mark.parametrize("kind", RELATIVE)
def test_a_node_without_factors_names_those_that_have_some(kind):
    for node in (180, 55, 5):
        for scale in (lambda n=node: Scaling(n), lambda n=node: Scaling(28).factor(kind, n)):
            with pytest.raises(ProfileError) as caught:
                scale()
            known = ", ".join(map(str, NODES))
            assert str(caught.value) == f"node = {node} nm: factors are known for {known} nm"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": "driven"}, "rows = driven: row_cell_energy = 0 pJ: a figure above 0 is needed"),
        (
            {"rows": "driven", "row_cell_energy": 0.001},
            "rows = driven: driver_area = 0 um2: a figure above 0 is needed",
        ),
        (
            {"adc": "sar_levels"},
            "adc = sar_levels: sar_level_energy = 1e-06 pJ is that of the converter sar",
        ),
    ],
)
def test_an_option_that_a_profile_has_no_figure_for_is_refused(changes, message):
    assert refused(changes).startswith(f"profile corrected: {message}")
    own = {"row_cell_energy": 0.001, "driver_area": 10, "sar_level_energy": 0.006}
    PROFILES["corrected"].with_values(own | changes)


def bounded(kind):
    """Fields with bounds: name, least, most."""
    hints = get_type_hints(kind, include_extras=True)
    hinted = [(f.name, hints[f.name]) for f in fields(kind)]
    return [(n, h.__metadata__[0]) for n, h in hinted if hasattr(h, "__metadata__")]


@pytest.mark.parametrize("name", ["yao_2024", "anp_i_2024"])
def test_every_figure_of_a_measured_chip_has_a_range(name, tmp_path):
    text = (FOLDER / f"{name}.toml").read_text()
    structure = Processor if "[processor]" in text else Macro
    path = tmp_path / f"{name}.toml"
    for kind, head in ((structure, f"[{structure.__name__.lower()}]"), (Point, "[[points]]")):
        head = head.replace("[macro]", "[structure]")
        for key, bounds in bounded(kind):
            for wrong in (bounds.least - 1, bounds.most + 1):
                own = text.split(head, 1)
                rest = "\n".join(x for x in own[1].split("\n") if not x.startswith(f"{key} ="))
                path.write_text(f"{own[0]}{head}\n{key} = {wrong!r}\n{rest}")
                with pytest.raises(ProfileError) as caught:
                    read_chip(path)
                message = str(caught.value)
                assert f"{key} = {wrong:g}" in message or f"{key} = {wrong}" in message, message
                assert f"{bounds.least:g}..{bounds.most:g} {bounds.unit}" in message


def test_all_measured_chips_are_within_them():
    assert len(known_chips()) >= 9
