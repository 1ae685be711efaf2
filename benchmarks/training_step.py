"""Seconds of one training step and one inference of a spiking network, beside its peers.

    python benchmarks/training_step.py [--rounds 15] [--device cpu] [--json]

3x32x32 images (`--side`), B=32 (`--batch`), T=5: stem 3->16, three convolutions at 16 channels,
pool, three at 16->32, 32, 32, each with batch norm and neurons; SGD. Peers: Norse's cells step by
step, SpikingJelly in multi-step mode, and the same convolutions with ReLU at batch T*B. Ours: time
folded, channels_last, the stem once, batch norm and scan fused, convolutions by their spikes
(`ours_dense`: without that), all by the parts of nas_service. Convolving by spikes gains the more
the fewer there are, so the firing rates are printed too.

All in one process on one thread, one round after the other; medians of process CPU time (of
time on the clock for a GPU). Peers run fp32 in every ratio, also in those under `bf16`, where ours
runs bf16 if the processor has it (`native`), else fp32.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import harness
import norse.torch as norse
import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from torch import Tensor, nn

from nas_service.snn.neurons import (
    TAU,
    BatchNormLIF,
    Neuron,
    SpikeConv2d,
    backend_name,
    norse_parameters,
)
from nas_service.snn.operations import BN_MOMENTUM
from nas_service.snn.precision import autocast, native_bf16
from nas_service.snn.quantization import Rounding, quantize

B, T, SIDE, CLASSES, BITS = 32, 5, 32, 10, 8
CONVOLUTIONS = ((3, 16), (16, 16), (16, 16), (16, 16), (16, 32), (32, 32), (32, 32))
POOLED = 4  # the convolution before which the map is halved
WARM_UP = 24  # steps before timing: the batch norms have seen data, so the networks fire
SLOW_ROUNDS = 3  # of bf16 where the processor has no instructions for it


Convolution = Callable[[int, int], nn.Module]


def dense(c_in: int, c_out: int) -> nn.Module:
    return nn.Conv2d(c_in, c_out, 3, padding=1, bias=False)


def of_spikes(c_in: int, c_out: int) -> nn.Module:
    return SpikeConv2d(c_in, c_out, 3, padding=1, bias=False)


def rounded(c_in: int, c_out: int) -> nn.Module:
    return quantize(of_spikes(c_in, c_out), Rounding(BITS))


def stack(
    activation: Callable[[int, bool], nn.Module], convolution: Convolution = dense
) -> list[nn.Module]:
    """Convolutions, each followed by `activation(channels, first)`."""
    layers: list[nn.Module] = []
    for k, (c_in, c_out) in enumerate(CONVOLUTIONS):
        layers += [nn.AvgPool2d(2)] if k == POOLED else []
        layers += [convolution(c_in, c_out), activation(c_out, k == 0)]
    return layers


def norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, momentum=BN_MOMENTUM)


def repeated(images: Tensor) -> Tensor:  # [B, ...] to [T*B, ...]
    return torch.cat([images] * T)


class Folded(nn.Module):
    """A stack over folded time and a linear classifier; scores are means over T."""

    def __init__(self, body: list[nn.Module], once: bool) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(*body), nn.Linear(CONVOLUTIONS[-1][1], CLASSES)
        self.once = once  # the first layer repeats the image itself

    def forward(self, images: Tensor) -> Tensor:
        x = self.body(images if self.once else repeated(images))
        return self.head(x.mean((2, 3))).unflatten(0, (T, -1)).mean(0)


class Naive(nn.Module):
    """Norse's cells, one time step after the other."""

    def __init__(self) -> None:
        super().__init__()
        cell = lambda c, _: nn.ModuleList(  # noqa: E731
            [norm(c), norse.LIFBoxCell(norse_parameters(Neuron()), dt=1.0)]
        )
        self.body = nn.ModuleList(stack(cell))
        self.head = nn.Linear(CONVOLUTIONS[-1][1], CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        states = [None] * len(self.body)
        scores = []
        for _ in range(T):
            x = images
            for k, part in enumerate(self.body):
                if isinstance(part, nn.ModuleList):
                    x, states[k] = part[1](part[0](x), states[k])
                else:
                    x = part(x)
            scores.append(self.head(x.mean((2, 3))))
        return torch.stack(scores).mean(0)


class Unfolded(nn.Module):
    """SpikingJelly's multi-step neurons over [T, B, ...]."""

    def __init__(self) -> None:
        super().__init__()
        self.lif = neuron.LIFNode(TAU, surrogate_function=surrogate.ATan(), detach_reset=True)
        functional.set_step_mode(self.lif, "m")

    def forward(self, x: Tensor) -> Tensor:
        return self.lif(x.unflatten(0, (T, -1))).flatten(0, 1)


def ours(convolution: Convolution) -> nn.Module:
    layer = lambda c, first: BatchNormLIF(c, T, momentum=BN_MOMENTUM, constant=first)  # noqa: E731
    return Folded(stack(layer, convolution), once=True)


def ann() -> nn.Module:
    return Folded(stack(lambda c, _: nn.Sequential(norm(c), nn.ReLU())), once=False)


def spikingjelly() -> nn.Module:
    return Folded(stack(lambda c, _: nn.Sequential(norm(c), Unfolded())), once=False)


class Contender:
    """A network, its optimizer and a batch of images."""

    def __init__(
        self,
        build: Callable[[], nn.Module],
        device: torch.device,
        shape: tuple[int, ...],
        channels_last: bool = False,
        arithmetic: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        torch.manual_seed(0)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.network = build().to(device, memory_format=layout)
        self.images = torch.randn(shape, device=device).to(memory_format=layout)
        self.labels = torch.randint(CLASSES, shape[:1], device=device)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.01)
        self.device, self.arithmetic = device, arithmetic

    def scores(self) -> Tensor:
        with self.arithmetic():
            scores: Tensor = self.network(self.images)
        functional.reset_net(self.network)
        return scores.float()

    def train(self) -> None:
        self.network.train()
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.scores(), self.labels).backward()
        self.optimizer.step()

    @torch.inference_mode()
    def infer(self) -> None:
        self.network.eval()
        self.scores()

    def seconds(self, step: Callable[[], None]) -> float:
        gpu = self.device.type == "cuda"
        clock = time.perf_counter if gpu else time.process_time
        return harness.seconds(partial(self._finish, step) if gpu else step, clock)

    @staticmethod
    def _finish(step: Callable[[], None]) -> None:
        step()
        torch.cuda.synchronize()

    @contextmanager
    def firing(self) -> Iterator[list[float]]:
        """Rates of all layers of neurons, filled in while the network runs."""
        rates: list[float] = []

        def count(_: nn.Module, __: object, out: Tensor | tuple[Tensor, object]) -> None:
            z = out[0] if isinstance(out, tuple) else out
            rates.append(float(z.detach().float().mean()))

        kinds = BatchNormLIF, norse.LIFBoxCell, neuron.LIFNode
        spiking = [m for m in self.network.modules() if isinstance(m, kinds)]
        hooks = [m.register_forward_hook(count) for m in spiking]
        try:
            yield rates
        finally:
            for hook in hooks:
                hook.remove()


def contenders(device: torch.device, shape: tuple[int, ...]) -> dict[str, Contender]:
    kind, plain = device.type, partial(Contender, device=device, shape=shape)
    last = partial(plain, channels_last=True)
    emulated = partial(torch.autocast, kind, torch.bfloat16)
    bf16 = partial(autocast, True, kind)
    return {
        "norse": plain(Naive),
        "spikingjelly": plain(spikingjelly),
        "ann": plain(ann),
        "ann_cl": last(ann),
        "ours_dense": last(lambda: ours(dense)),
        "ours": last(lambda: ours(of_spikes)),
        "ours_qat": last(lambda: ours(rounded)),
        "ann_cl_bf16": last(ann, arithmetic=emulated),
        "ours_bf16": last(lambda: ours(of_spikes), arithmetic=bf16),
        "ours_qat_bf16": last(lambda: ours(rounded), arithmetic=bf16),
    }


def warm(one: Contender, steps: int) -> list[float]:
    """The range of firing rates over layers, time steps and both modes, after training steps."""
    for _ in range(steps):
        one.train()
    with one.firing() as rates:
        one.train()
        one.infer()
    assert all(0.01 < rate < 0.9 for rate in rates), rates
    return [min(rates), max(rates)] if rates else []


Figures = dict[str, dict[str, float]]


def measure(entrants: dict[str, Contender], rounds: int, slow: set[str]) -> Figures:
    """Median seconds by contender: of training steps and of inferences."""
    taken: dict[str, dict[str, list[float]]] = {n: {"train": [], "infer": []} for n in entrants}
    for number in range(rounds):
        for name, one in entrants.items():
            if name not in slow or number < SLOW_ROUNDS:
                taken[name]["train"].append(one.seconds(one.train))
                taken[name]["infer"].append(one.seconds(one.infer))
    return {n: {k: statistics.median(x) for k, x in t.items()} for n, t in taken.items()}


def ratios(s: Figures, suffix: str = "") -> dict[str, float]:
    """Ours beside its peers: > 1 is ours faster, but for train_vs_ann and qat_overhead."""
    own, qat = s["ours" + suffix], s["ours_qat" + suffix]
    return {
        "train_vs_ann": own["train"] / s["ann_cl"]["train"],
        "naive_norse_vs_train": s["norse"]["train"] / own["train"],
        "spikingjelly_vs_train": s["spikingjelly"]["train"] / own["train"],
        "naive_norse_vs_infer": s["norse"]["infer"] / own["infer"],
        "qat_overhead": qat["train"] / own["train"],
    }


def warm_all(entrants: dict[str, Contender]) -> dict[str, list[float]]:
    """Trains all until they fire; firing rates of those that spike. bf16 takes the fp32 weights."""
    rates = {}
    for name, one in entrants.items():
        if name.endswith("_bf16"):
            twin = entrants[name.removesuffix("_bf16")]
            one.network.load_state_dict(twin.network.state_dict())
        rates[name] = warm(one, 0 if name.endswith("_bf16") else WARM_UP)
    return {name: ends for name, ends in rates.items() if ends}


def compare(args: argparse.Namespace) -> dict[str, Any]:
    """Seconds of all contenders, ratios to ours, and firing rates."""
    device = torch.device(args.device)
    bf16 = native_bf16(device.type)
    entrants = contenders(device, (args.batch, 3, args.side, args.side))
    rates = warm_all(entrants)
    seconds = measure(entrants, args.rounds, set() if bf16 else {"ann_cl_bf16"})
    return {
        **ratios(seconds),
        "bf16": {**ratios(seconds, "_bf16"), "native": bf16},
        "seconds": seconds,
        "firing_rates": rates,
        "rounds": args.rounds,
        "batch": args.batch,
        "side": args.side,
        "backend": backend_name(args.device),
    }


def lines(document: dict[str, Any]) -> list[str]:
    """The document for people."""
    s, rates, rows = document["seconds"], document["firing_rates"], []
    for name, x in s.items():
        ends = "{:.2f} .. {:.2f}".format(*rates[name]) if name in rates else "-"
        train = (
            1e3 * x["train"],
            s["norse"]["train"] / x["train"],
            x["train"] / s["ann_cl"]["train"],
        )
        infer = 1e3 * x["infer"], s["norse"]["infer"] / x["infer"]
        rows.append([name, *(f"{figure:.2f}" for figure in (*train, *infer)), ends])
    headings = ("", "train ms", "x Norse", "/ ANN", "infer ms", "x Norse", "firing rates")
    notes = [
        "medians of {rounds} rounds, one thread, B={batch}, {side} px; neurons by {backend!r}; "
        "QAT overhead {qat_overhead:.2f}".format_map(document)
    ]
    if not document["bf16"]["native"]:
        notes.append(
            "this processor has no instructions for bf16: ours runs fp32 instead, "
            f"ann_cl_bf16 is emulated ({SLOW_ROUNDS} rounds)"
        )
    return [*harness.table(headings, rows), *notes]


def main(argv: Sequence[str] | None = None) -> None:
    options = harness.parser(__doc__)
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--batch", type=int, default=B)
    options.add_argument("--side", type=int, default=SIDE, help="pixels")
    options.add_argument("--device", default="cpu")
    args = options.parse_args(argv)
    harness.use_worker_environment()
    torch.set_num_threads(1)
    document = compare(args)
    harness.show(document, args.json, lambda: lines(document))


if __name__ == "__main__":
    main()
