"""Figures of one node at another: factors, and what is refused."""

import itertools
import re

import pytest

from hw_models import ProfileError, load_profile
from hw_models.node_scaling import NODES, RELATIVE, Scaling
from hw_models.parameters import SCHEMA

BASE = 'base = "corrected"\n[node_scaling]\nmethod = "deepscale"\nnode = 28\n'


def own(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return load_profile(path)


def test_factors_by_hand():
    assert Scaling(28).factor("energy", 65) == pytest.approx(0.37)
    assert Scaling(7).factor("area", 28) == pytest.approx(0.011 / 0.35)
    assert Scaling(65).factor("delay", 130) == pytest.approx(1 / 1.96)


@pytest.mark.parametrize("kind", RELATIVE)
def test_factors_go_round_and_shrink_with_the_node(kind):
    for first, second in itertools.pairwise(NODES):
        there, back = (Scaling(b).factor(kind, a) for a, b in ((first, second), (second, first)))
        assert there < 1
        assert there * back == pytest.approx(1)


def test_a_scaled_profile_is_not_scaled_again(tmp_path):
    once = own(tmp_path, BASE)
    (tmp_path / "next.toml").write_text(
        'base = "mine.toml"\n[node_scaling]\nmethod = "deepscale"\nnode = 28\n'
    )
    twice = load_profile(tmp_path / "next.toml")
    assert twice.values == once.values
    assert once.values["sram_bit_area"] < load_profile("corrected").values["sram_bit_area"]


def test_figures_that_a_file_gives_itself_have_its_node(tmp_path):
    text = BASE.replace("[node", 'node = "28 nm"\n[node') + "[values]\nclock = 500\n"
    entry = 'mux_energy = { value = 0.01, unit = "pJ", source = "a test" }\n'
    assert own(tmp_path, text + entry).values["mux_energy"] == 0.01


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "node = 28",
            "node = 55",
            "mine.toml: node_scaling: node = 55 nm: factors are known for 1",
        ),
        (
            "node = 28",
            'node = "x"',
            "mine.toml: node_scaling: node = 'x': a whole number in 1..1000",
        ),
        ("node = 28\n", "", "mine.toml: node_scaling: missing node"),
        ('"deepscale"', '"moore"', "method = 'moore': one of deepscale is needed"),
        ("node = 28\n", "node = 28\nto = 7\n", "node_scaling: unknown 'to'"),
    ],
)
def test_wrong_scalings_are_one_line(tmp_path, old, new, message):
    with pytest.raises(ProfileError, match=re.escape(message)) as caught:
        own(tmp_path, BASE.replace(old, new))
    assert "\n" not in str(caught.value)


def test_a_figure_of_a_node_without_factors_is_named():
    with pytest.raises(ProfileError, match="node = 55 nm: factors are known for 130, 90"):
        Scaling(28).of_figure("mux_energy", SCHEMA["mux_energy"], "55 nm")
    with pytest.raises(ProfileError, match="mux_energy: node = 'old': its first number of nm"):
        Scaling(28).of_figure("mux_energy", SCHEMA["mux_energy"], "old")
