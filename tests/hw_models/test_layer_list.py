"""What a layer list may leave out: it follows, is assumed and named, or is refused."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from hw_models import Layer, Workload, WorkloadError
from hw_models.layer_list import read_layers

CONV = {"kind": "conv", "in_channels": 2, "out_channels": 8, "kernel": 3}
FLAT = {"kind": "linear", "in_features": 2048, "out_features": 10}
SAID = {"weight_bits": 4, "input_bits": 1, "spike_rate": 0.5}
PAGE = Path(__file__).parents[2] / "docs" / "layer-list.md"


def of(*layers):
    return {"time_steps": 4, "layers": list(layers)}


def assumptions(*layers, **more):
    return [x.text for x in read_layers(of(*layers), **more).assumed]


def test_a_convolution_without_sizes_is_refused_with_the_way_out():
    with pytest.raises(WorkloadError, match=r"'layer0': in_size is needed.* --input 2,16,16\)"):
        Workload.from_json(of(CONV))


def test_an_unknown_kind_is_named_before_its_keys():
    pooling = {"kind": "pool", "in_features": 8, "out_features": 8}
    with pytest.raises(WorkloadError, match="'layer0': kind = 'pool', one of conv, linear is"):
        Workload.from_json(of(pooling))


def test_a_layer_has_a_name():
    """In tables an empty one is a row of no layer."""
    with pytest.raises(WorkloadError, match="layer0: name = '': a name of at least one"):
        Workload.from_json(of({**FLAT, "name": ""}))


def test_what_a_linear_layer_may_read_is_counted_in_pixels():
    conv = {**CONV, "in_size": 16, "padding": 1}
    right = r"8 times the 256 pixels of the map of 'layer0' \(or of a smaller square\)"
    with pytest.raises(WorkloadError, match=f"in_channels = 100, {right}"):
        Workload.from_json(of(conv, {**FLAT, "in_features": 100}))


def test_sizes_follow_from_the_input_and_from_the_sources():
    following = {**CONV, "in_channels": 8, "pool": 2, "padding": 0}
    last = {"kind": "linear", "in_features": 8 * 49, "out_features": 10}
    read = read_layers(of(CONV, following, last), input_shape=(2, 16, 16))
    assert [(x.in_size, x.out_size, x.map_size) for x in read.layers] == [
        (16, 16, 16), (16, 14, 7), (1, 1, 1),
    ]  # fmt: skip
    wide = read_layers(of({**CONV, "stride": 2}), input_shape=(2, 9, 16)).layers[0]
    assert (wide.in_size, wide.out_size) == ((9, 16), (5, 8))


def test_a_recurrent_layer_does_not_read_the_input():
    """Its map is that of the layers it reads late; `--input` and `--input-bits` are not for it."""
    own = {**CONV, "name": "a", "padding": 1, "out_channels": 2, "sources": []}
    late = {**own, "name": "b", "feedback": ["a", "b"]}
    read = read_layers(of(own, late), input_shape=(2, 16, 16))
    assert read.layers[1].in_size == 16
    bits = [x for x in read.assumed if x.figure == "input_bits"]
    assert [(x.layers, x.remedy) for x in bits] == [
        (("a",), "--input-bits"), (("b",), "input_bits in the file"),
    ]  # fmt: skip
    wide = {**late, "in_channels": 3, "in_size": 16}
    with pytest.raises(WorkloadError, match="in_channels = 3, 2 or 4, the channels"):
        Workload(read_layers(of(own, wide), input_shape=(2, 16, 16)).layers, 4)
    with pytest.raises(WorkloadError, match=r"'c': in_size is needed.* such as 16$"):
        read_layers(of(own, {**late, "name": "c", "feedback": ["c"]}), input_shape=(2, 16, 16))


def test_a_rearranged_layer_says_its_map():
    """It may read a part of its sources' map, so none follows."""
    own, part = {**CONV, "padding": 1}, {**CONV, "rearranged": True}
    assert read_layers(of(own, {**part, "in_size": 8}), input_shape=(2, 16, 16)).layers
    for layers in ([own, part], [part]):
        with pytest.raises(WorkloadError, match="in_size is needed"):
            read_layers(of(*layers), input_shape=(2, 16, 16))


def test_what_is_assumed_is_named():
    assert assumptions(CONV, FLAT, input_shape=(2, 16, 16)) == [
        "out_size = 16 in layer0 (out_size or padding in the file says it)",
        "weight_bits = 8 in all layers (--weight-bits says it)",
        "input_bits = 1 in layer0 (--input-bits says it)",
        "spike_rate = 1.0 in all layers (--spike-rate says it)",
        "input_bits = 1 in layer1 (input_bits in the file says it)",
    ]
    sized = {**CONV, "in_size": 16, "padding": 1, **SAID}
    assert assumptions(sized) == []
    del sized["kernel"]
    assert assumptions({**sized, "padding": 0}) == [
        "kernel = 1 in all layers (kernel in the file says it)"
    ]
    many = [{"kind": "linear", "in_features": 4, "out_features": 4} | SAID for _ in range(6)]
    for x in many[1:]:
        del x["weight_bits"]
    assert assumptions(*many) == [
        "weight_bits = 8 in layer1, layer2, layer3 and 2 more (--weight-bits says it)"
    ]


def test_time_steps_may_be_given_instead():
    sized = {**CONV, "in_size": 16}
    assert read_layers({"layers": [sized]}, time_steps=7).time_steps == 7
    with pytest.raises(WorkloadError, match=r"missing \['time_steps'\]"):
        read_layers({"layers": [sized]})


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (CONV, (3, 16, 16), "in_channels = 2, but the input is (3, 16, 16)"),
        (CONV, (2,), "reads maps: --input C,H,W is needed"),
        ({**CONV, "in_size": 8}, (2, 16, 16), "in_size = 8, but the input is (2, 16, 16)"),
        ({**CONV, "in_size": [16, 8]}, (2, 16, 16), "in_size = (16, 8), but the input"),
        (FLAT, (2, 16, 16), "in_channels = 2048, but the input is (2, 16, 16)"),
        ({**CONV, "in_size": "16"}, None, "in_size = '16', a whole number"),
        ({**CONV, "in_size": 16, "stride": "2"}, None, "stride = '2', a whole number"),
        ({**CONV, "in_size": [16]}, None, "in_size = [16], a whole number"),
        ({**CONV, "in_size": [16, 16, 16]}, None, "in_size = [16, 16, 16], a whole number"),
        ({**FLAT, "in_channels": 3}, None, "in_features and in_channels are the same"),
        ({**FLAT, "in_feature": 3}, None, "'in_feature', did you mean 'in_features'? (known: "),
        ({**FLAT, "sources": 5}, None, "sources = 5, a list of layer names"),
        ({**FLAT, "sources": [["a"]]}, None, "sources = (['a'],), a list of layer names"),
    ],
)  # fmt: skip
def test_contradictions(layer, shape, message):
    with pytest.raises(WorkloadError) as caught:
        read_layers(of(layer), input_shape=shape)
    assert message in str(caught.value)


def test_the_page_has_every_key():
    keys = set()
    for row in re.findall(r"^- (`.*?): ", PAGE.read_text(encoding="utf-8"), re.MULTILINE):
        keys |= set(re.findall(r"`(\w+)`", row))
    assert keys == {f.name for f in fields(Layer)}


def test_the_example_of_the_page_is_a_layer_list():
    import json

    (text,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert [x.map_pixels for x in Workload.from_json(json.loads(text)).layers] == [64, 1]
