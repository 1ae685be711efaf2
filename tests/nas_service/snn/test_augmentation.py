"""Random crops and flips, by hand on tiny tensors."""

from dataclasses import replace

import pytest
import torch

from nas_service.data.batches import ImageTensors
from nas_service.snn.augmentation import AS_IS, Augmentation
from nas_service.snn.training import Recipe, fit


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch_of_numbers(*shape, dtype=torch.uint8):
    """1, 2, ... so that the border, 0, is none of them."""
    return (torch.arange(torch.Size(shape).numel()) % 250 + 1).view(shape).to(dtype)


def windows(image, border):
    """Every window of the old size in an image [C, H, W] with a black border."""
    side, wide = image.shape[-1], image.shape[-1] + 2 * border
    padded = torch.zeros(len(image), wide, wide, dtype=image.dtype)
    padded[:, border : border + side, border : border + side] = image
    places = range(2 * border + 1)
    return [padded[:, y : y + side, x : x + side] for y in places for x in places]


def test_without_augmentation_images_are_unchanged():
    pixels = batch_of_numbers(3, 1, 2, 2)
    assert AS_IS(pixels, generator()) is pixels


def test_crop_of_two_pixels_a_side():
    """One pixel of border around [[1, 2], [3, 4]]: nine windows, all of which come up."""
    pixels = torch.tensor([[[[1, 2], [3, 4]]]]).expand(400, 1, 2, 2)
    windows_seen = {
        tuple(image.flatten().tolist()) for image in Augmentation(crop=1)(pixels, generator())
    }
    assert windows_seen == {
        (0, 0, 0, 1), (0, 0, 1, 2), (0, 0, 2, 0),
        (0, 1, 0, 3), (1, 2, 3, 4), (2, 0, 4, 0),
        (0, 3, 0, 0), (3, 4, 0, 0), (4, 0, 0, 0),
    }  # fmt: skip


def test_crop_moves_all_channels_of_an_image_alike():
    pixels = batch_of_numbers(20, 3, 4, 4)
    for before, after in zip(pixels, Augmentation(crop=2)(pixels, generator()), strict=True):
        assert any(torch.equal(after, window) for window in windows(before, 2))


def test_flip_turns_left_to_right_every_other_image():
    pixels = batch_of_numbers(400, 2, 3, 3)
    moved = Augmentation(flip=True)(pixels, generator())
    mirrored = pixels[..., [2, 1, 0]]
    flipped = torch.tensor([torch.equal(a, b) for a, b in zip(moved, mirrored, strict=True)])
    assert torch.equal(moved[~flipped], pixels[~flipped])
    assert 150 < flipped.sum() < 250


@pytest.mark.parametrize("augmentation", [Augmentation(2), Augmentation(0, True)])
def test_frames_of_a_recording_are_moved_alike(augmentation):
    """Equal frames stay equal, and each recording is moved by itself."""
    recording = batch_of_numbers(1, 1, 2, 5, 5).expand(30, 6, 2, 5, 5)
    moved = augmentation(recording, generator())
    assert moved.shape == recording.shape
    assert torch.equal(moved, moved[:, :1].expand_as(moved))
    assert len({tuple(r.flatten().tolist()) for r in moved}) > 1


def test_frames_keep_their_order():
    recordings = batch_of_numbers(8, 3, 2, 4, 4)
    moved = Augmentation(crop=1)(recordings, generator())
    for before, after in zip(recordings, moved, strict=True):
        assert any(torch.equal(after.flatten(0, 1), w) for w in windows(before.flatten(0, 1), 1))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float32])
def test_the_generator_alone_decides_and_the_type_is_kept(dtype):
    pixels, both = batch_of_numbers(16, 1, 4, 4, dtype=dtype), Augmentation(2, True)
    before = pixels.clone()
    one, two, other = (
        both(pixels, generator(1)),
        both(pixels, generator(1)),
        both(pixels, generator(2)),
    )
    assert one.dtype == dtype
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(pixels, before)


class Spy(torch.nn.Module):
    """Remembers what it is fed; its loss tells which labels came with it."""

    def __init__(self):
        super().__init__()
        self.scores = torch.nn.Parameter(torch.zeros(1, 4))
        self.seen = []

    def forward(self, images):
        self.seen.append(images)
        return self.scores + 10 * torch.nn.functional.one_hot(images.amax((1, 2, 3)).long(), 4)


def test_labels_stay_with_their_images():
    """Images of one value, which is their label: moved, they are still classified correctly."""
    labels = torch.arange(64) % 4
    images = ImageTensors(labels.float()[:, None, None, None].expand(64, 1, 6, 6), labels)
    recipe = replace(Recipe(1, 16, 1e-9, 0.0), augmentation=Augmentation(2, True))
    spy = Spy()
    (epoch,) = fit(spy, images, recipe, 0)
    assert epoch.loss < 1e-3
    fed = torch.cat(spy.seen)
    assert ((fed == 0).sum((1, 2, 3))[fed.amax((1, 2, 3)) > 0] > 0).any()  # borders came in
