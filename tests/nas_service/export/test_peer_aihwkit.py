"""AIHWKit turns the layers of an exported Python file into analog ones, where it is installed."""

import random

import exported_networks
import pytest
import torch
from power_of_two import power_of_two_network

from nas_service.export.formats import write_files
from nas_service.export.torch_format import contents, imported

MISSING = "not installed: AIHWKit is built from C++"
conversion = pytest.importorskip("aihwkit.nn.conversion", reason=MISSING)
configs = pytest.importorskip("aihwkit.simulator.configs", reason=MISSING)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_analog_layers_without_noise_give_the_same_scores(backward, tmp_path):
    evaluator = exported_networks.evaluator(tmp_path)
    network = power_of_two_network(evaluator, random.Random(0), "snasnet5", backward)
    program, _ = write_files(contents(network, "net"), tmp_path / "net")
    module = imported(program)
    module.Network.__name__ = f"Network{backward}"  # AIHWKit knows a class by its name
    images = module.scaled(network.examples)
    scores = []
    for is_perfect in (True, False):
        config = configs.TorchInferenceRPUConfig()
        config.forward.is_perfect = is_perfect
        analog = conversion.convert_to_analog(module.load(), config).eval()
        assert type(analog.stem).__name__ == "AnalogConv2d"
        with torch.no_grad():
            scores.append(analog(images))
    expected = network.scores(network.examples)
    assert torch.equal(scores[0], expected)
    assert not torch.equal(scores[1], expected)
