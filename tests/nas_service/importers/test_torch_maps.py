"""Maps of any size in torch modules, and values that are only moved: costed, or refused by name."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hw_models import WorkloadError, load_profile
from nas_service.importers.torch_module import from_module

CHIP = load_profile("corrected")


class Then(nn.Module):
    """A function between two layers."""

    def __init__(self, first, function, second):
        super().__init__()
        self.a, self.function, self.b = first, function, second

    def forward(self, x):
        return self.b(self.function(self.a(x)))


def pooled(pooling, side, channels=2):
    """The layer before a pooling and the linear layer that reads all that it gives."""
    module = Then(nn.Conv2d(1, channels, 1), lambda x: pooling(x).flatten(1), nn.LazyLinear(2))
    example = torch.rand(1, 1, *(side if isinstance(side, tuple) else (side, side)))
    with torch.no_grad():
        module(example)
    return from_module(module, example, 1).layers


def additions(layers):
    """Additions of poolings, whichever layer counts them."""
    own = (x.out_channels * x.map_pixels * (x.pool_taps - 1) for x in layers)
    return sum(own) + sum(x.input_adds for x in layers)


@pytest.mark.parametrize(
    ("pooling", "side", "expected", "by_hand"),
    [
        (nn.MaxPool2d(3, 2), 32, 15, 8 * 15**2),
        (nn.AvgPool2d(2, ceil_mode=True), 7, 4, 3 * 4**2),
        (nn.AvgPool2d(2), 7, 3, 3 * 3**2),
        (nn.AvgPool2d(3, 2, padding=1), 8, 4, 8 * 4**2),
        (nn.AvgPool2d(3, 1, padding=1), 8, 8, 8 * 8**2),
        (nn.AvgPool2d((2, 4)), 8, (4, 2), 7 * 8),
        (nn.AdaptiveAvgPool2d(1), (7, 5), 1, 34),
        (nn.AdaptiveAvgPool2d(4), 8, 4, 3 * 4**2),
        (nn.AdaptiveMaxPool2d(3), 8, 3, (3 + 4 + 3 - 3) ** 2 + 2 * 3 * (3 + 4 + 3 - 3)),
        (nn.AdaptiveAvgPool2d((2, 5)), (4, 5), (2, 5), 10),
        (lambda x: x.mean((2, 3)), 6, 1, 35),
        (lambda x: x.sum((-1, -2)), 6, 1, 35),
        (lambda x: x.amax((2, 3), keepdim=True), 6, 1, 35),
        (nn.MaxPool2d(2, 2, dilation=2), 8, 3, 3 * 3**2),
        (lambda x: F.max_pool2d(x, 2, return_indices=True)[0], 6, 3, 27),
        (lambda x: F.adaptive_max_pool2d(x, 3, return_indices=True)[0], 6, 3, 27),
    ],
)
def test_a_pooling_is_its_windows(pooling, side, expected, by_hand):
    """The additions of two channels: taps - 1 for each value that a window gives."""
    first, last = pooled(pooling, side)
    assert first.map_size == expected
    assert last.in_channels == 2 * first.map_pixels
    assert additions((first, last)) == 2 * by_hand


@pytest.mark.parametrize(
    ("pooling", "message"),
    [
        (
            nn.LPPool2d(2, 2),
            "module 'function': lp_pool2d: .* average or maximum pooling is needed",
        ),
        (lambda x: F.lp_pool2d(x, 1, 2), "lp_pool2d: .* average or maximum pooling is needed"),
        (lambda x: F.lp_pool1d(x.flatten(2), 2, 64)[..., None], "lp_pool1d: "),
        (nn.FractionalMaxPool2d(2, 4), "through 'fractional_max_pool2d', which no layer"),
        (lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2), "'max_unpool2d'"),
        (lambda x: F.max_pool3d(x, (1, 2, 2)), "through 'max_pool3d_with_indices'"),
    ],
)
def test_other_poolings_are_refused(pooling, message):
    """The sign in a power-average pooling was counted as neurons."""
    module = Then(nn.Conv2d(1, 2, 1), pooling, nn.Conv2d(2, 2, 1))
    with pytest.raises(WorkloadError, match=message):
        from_module(module, torch.rand(1, 1, 8, 8), 1)


def test_poolings_in_a_row():
    """2x2 twice is 4x4; a second pooling that overlaps is charged by its own windows."""
    first, _ = pooled(nn.Sequential(nn.AvgPool2d(2), nn.AvgPool2d(2)), 8)
    assert (first.pool, first.map_size) == (4, 2)
    first, last = pooled(nn.Sequential(nn.AvgPool2d(2), nn.MaxPool2d(3, 1)), 8)
    assert (first.pool, first.map_size) == (1, 2)
    assert last.input_adds == 2 * (3 * 16 + 8 * 4)
    first, last = pooled(lambda x: x.mean(3).mean(2), 4)
    assert additions((first, last)) == 2 * (3 * 4 + 3)


def conv_of(layer, side):
    example = torch.rand(1, layer.in_channels, *(side if isinstance(side, tuple) else (side, side)))
    (seen,) = from_module(layer, example, 1).layers
    with torch.no_grad():
        assert seen.out_pixels == math.prod(layer(example).shape[2:])
    return seen


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize(
    ("options", "side", "in_size", "out_size"),
    [
        ({"kernel_size": 4, "padding": "same"}, 8, 8, 8),
        ({"kernel_size": (2, 3), "padding": "same"}, 8, 8, 8),
        ({"kernel_size": 1, "padding": 1}, 8, 8, 10),
        ({"kernel_size": 3, "padding": 5, "stride": 2}, 8, 8, 8),
        ({"kernel_size": 3, "dilation": 2}, 8, 8, 4),
        ({"kernel_size": 3, "dilation": 3, "padding": 3}, 8, 8, 8),
        ({"kernel_size": 3, "dilation": 2, "padding": "same"}, 8, 8, 8),
        ({"kernel_size": (3, 1), "padding": (1, 0)}, (8, 5), (8, 5), (8, 5)),
        ({"kernel_size": 3, "stride": (1, 2), "groups": 2}, 8, 8, (6, 3)),
        ({"kernel_size": 3, "padding": 1, "padding_mode": "reflect"}, 8, 10, 8),
        ({"kernel_size": 3, "padding": 1, "padding_mode": "circular"}, 8, 10, 8),
    ],
)
def test_a_convolution_is_its_windows(options, side, in_size, out_size):
    seen = conv_of(nn.Conv2d(2, 4, **options), side)
    assert (seen.in_size, seen.out_size) == (in_size, out_size)
    assert seen.weights == nn.Conv2d(2, 4, **options).weight.numel()


def test_a_convolution_of_one_dimension_is_one_row():
    (seen,) = from_module(nn.Conv1d(2, 4, 3, padding=1, stride=2), torch.rand(1, 2, 9), 1).layers
    assert (seen.kernel, seen.in_size, seen.out_size) == ((1, 3), (1, 9), (1, 5))
    module = nn.Sequential(nn.Conv1d(2, 4, 3), nn.MaxPool1d(3), nn.Flatten(), nn.Linear(8, 2))
    first, last = from_module(module, torch.rand(5, 2, 9), 1).layers
    assert (first.pool, first.map_size, last.input_adds) == ((1, 3), (1, 2), 0)


def test_zeros_around_a_map_are_the_padding_of_the_convolution():
    """Their rate and their memory are those of the map itself."""
    own = conv_of(nn.Conv2d(1, 2, 3, padding=1), 4)
    example = torch.ones(1, 1, 4, 4)
    around = nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(1, 2, 3))
    sides = nn.Sequential(nn.ZeroPad2d((2, 0, 2, 0)), nn.Conv2d(1, 2, 3))
    for module in (around, sides):
        (seen,) = from_module(module, example, 1).layers
        assert (seen.in_size, seen.out_size, seen.spike_rate) == (4, 4, 1.0)
    assert (own.in_size, own.out_size) == (4, 4)


@pytest.mark.parametrize(
    ("layer", "example", "message"),
    [
        (nn.ConvTranspose2d(1, 1, 3), torch.rand(1, 1, 8, 8), "transposed convolutions"),
        (nn.ConvTranspose1d(1, 1, 3), torch.rand(2, 1, 8), "transposed convolutions"),
        (nn.Conv3d(1, 1, 3), torch.rand(1, 1, 8, 8, 8), "convolutions of 3 dimensions"),
    ],
)
def test_other_convolutions_are_refused(layer, example, message):
    with pytest.raises(WorkloadError, match=f"module '0': {message}"):
        from_module(nn.Sequential(layer), example, 1)


MOVES = {
    "chunk": (4, lambda x: x.chunk(2, 1)[0], 2, 8),
    "split": (4, lambda x: x.split([1, 3], 1)[1], 3, 8),
    "every other channel": (4, lambda x: x[:, ::2], 2, 8),
    "chosen channels": (4, lambda x: x[:, [0, 3, 1]], 3, 8),
    "crop": (4, lambda x: x[..., 1:-1, 2:-2], 4, (6, 4)),
    "negative pad": (4, lambda x: F.pad(x, (-1, -1, -1, -1)), 4, 6),
    "pixel shuffle": (4, nn.PixelShuffle(2), 1, 16),
    "pixel unshuffle": (1, nn.PixelUnshuffle(2), 4, 4),
    "channel shuffle": (4, nn.ChannelShuffle(2), 4, 8),
    "permute": (4, lambda x: x.permute(0, 1, 3, 2), 4, 8),
    "regroup": (4, lambda x: x.reshape(-1, 2, 2, 8, 8).permute(0, 2, 1, 3, 4).flatten(1, 2), 4, 8),
    "channels to pixels": (4, lambda x: x.reshape(-1, 1, 16, 16), 1, 16),
    "flip and roll": (4, lambda x: x.flip(-1).roll(1, 2), 4, 8),
    "nearest": (4, nn.Upsample(scale_factor=2), 4, 16),
    "stack": (4, lambda x: torch.stack([x, x.flip(-1)], 1).flatten(1, 2), 8, 8),
    "odd pad": (4, lambda x: F.pad(x, (1, 0, 0, 0), value=1.0), 4, (8, 9)),
}


@pytest.mark.parametrize("name", MOVES)
def test_known_rearrangements_are_followed(name):
    """The second layer reads what the first gives, moved: nothing is charged between them."""
    channels, function, inputs, side = MOVES[name]
    module = Then(nn.Conv2d(1, channels, 1), function, nn.Conv2d(inputs, 2, 1))
    first, last = from_module(module, torch.rand(1, 1, 8, 8), 1).layers
    assert (last.sources, last.in_channels, last.in_size) == (("a",), inputs, side)
    assert (first.pool, first.map_size, last.input_adds) == (1, 8, 0)
    assert CHIP.estimate(from_module(module, torch.rand(1, 1, 8, 8), 1)).warnings == ()


class WithImage(nn.Module):
    """The image beside the first layer's maps, before the second layer."""

    def __init__(self, side_by_side):
        super().__init__()
        self.a, self.side_by_side = nn.Conv2d(3, 6, 3, padding=1), side_by_side
        self.b = nn.Conv2d(9, 2, 3) if side_by_side else nn.Linear(6 + 192, 2)

    def forward(self, x):
        if self.side_by_side:
            return self.b(torch.cat([x, self.a(x)], 1))
        return self.b(torch.cat([self.a(x).mean((2, 3)), x.flatten(1)], 1))


@pytest.mark.parametrize("side_by_side", [True, False])
def test_an_image_beside_maps(side_by_side):
    last = from_module(WithImage(side_by_side), torch.rand(2, 3, 8, 8), 1).layers[1]
    assert (last.sources, last.rearranged) == (("a",), True)


class Groups(nn.Module):
    """Halves of the channels through layers of their own, one of which splits further."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 1)
        self.left, self.right = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(2, 4, 1)
        self.head = nn.Linear(8 * 16, 2)

    def forward(self, x):
        a, b = self.stem(x).chunk(2, 1)
        joined = torch.cat([self.left(a), self.right(b[:, :2])], 1)
        return self.head(joined.flatten(1))


def test_halves_of_channels():
    layers = from_module(Groups(), torch.rand(1, 1, 4, 4), 1).layers
    assert [(x.name, x.sources, x.rearranged) for x in layers] == [
        ("stem", (), False),
        ("left", ("stem",), True),
        ("right", ("stem",), True),
        ("head", ("left", "right"), False),
    ]


@pytest.mark.parametrize(
    ("function", "operation"),
    [
        (lambda x: x.cumsum(-1), "cumsum"),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), "upsample_bilinear2d"),
        (lambda x: x.sort(-1)[0], "sort"),
        (lambda x: torch.fft.fft(x).real, "_fft_r2c"),
        (lambda x: x.flatten(2).topk(64)[0].reshape(x.shape), "topk"),
    ],
)
def test_other_operations_are_named(function, operation):
    module = Then(nn.Conv2d(1, 2, 1), function, nn.Conv2d(2, 2, 1))
    message = f"module 'b': it reads 'a' through '{operation}', which no layer computes"
    with pytest.raises(WorkloadError, match=message):
        from_module(module, torch.rand(1, 1, 8, 8), 1)


def test_products_in_other_notations():
    """Weights on the left, and einsum, are linear layers."""

    class Notations(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = (nn.Parameter(torch.rand(4, n)) for n in (3, 4))

        def forward(self, x):
            left = (self.a @ x.T).T
            return torch.einsum("bi,oi->bo", left, self.b)

    layers = from_module(Notations(), torch.rand(5, 3), 1).layers
    assert [(x.name, x.in_channels, x.out_channels) for x in layers] == [
        ("module", 3, 4),
        ("module.b", 4, 4),
    ]


def test_attention_is_refused():
    module = nn.Sequential(nn.Linear(8, 8), nn.TransformerEncoderLayer(8, 2, 8))
    with pytest.raises(WorkloadError, match="module '1"):
        from_module(module, torch.rand(1, 8), 1)
