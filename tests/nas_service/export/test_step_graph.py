"""The graph of one time step computes what the deployed network computes."""

import exported_networks
import pytest
import torch

from nas_service.export.step_graph import OPERATIONS


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("seed", range(8))
def test_scores_are_those_of_the_deployed_network(evaluator, seed, backward):
    architecture = exported_networks.random_architecture(seed, backward)
    network = exported_networks.trained(evaluator, architecture, seed)
    images = torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        run = network.graph.run(images)
        assert torch.equal(run.scores, network.deployed(images))
    assert max(spikes.mean() for spikes in run.spikes.values()) > 0.05
    names = [node.name for node in network.graph.nodes]
    assert len(names) == len(set(names))


def test_every_kind_of_node_occurs(evaluator):
    graphs = [
        exported_networks.trained(
            evaluator, exported_networks.random_architecture(seed, backward)
        ).graph
        for seed in range(8)
        for backward in (False, True)
    ]
    kinds = {node.kind for graph in graphs for node in graph.nodes}
    assert kinds == {*OPERATIONS, "image", "neurons"}


def test_shapes_are_those_of_the_values(evaluator):
    architecture = exported_networks.random_architecture(3, True)
    graph = exported_networks.trained(evaluator, architecture).graph
    steps = [values for values, _ in graph.steps(torch.zeros(2, 1, 8, 8))]
    for node in graph.nodes:
        assert {values[node.name].shape for values in steps} == {(2, *node.shape)}
