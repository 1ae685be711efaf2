"""Images as rows of a stock: splits without overlap, exact scaling, digests, batches."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas_service.data import DATASETS
from nas_service.data.batches import all_images, batch, raw, scale
from nas_service.data.images import Images, Stock, digest_of, split
from nas_service.data.stratified import split_by_class
from nas_service.errors import DataError


def images_of(pixels, labels=None):
    labels = np.zeros(len(pixels), dtype=np.int64) if labels is None else labels
    return Images.of(Stock.of(pixels), labels)


def tagged(n=100):
    """Images that carry their own number, ten of each of ten classes."""
    pixels = np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1)
    return images_of(pixels, np.arange(n, dtype=np.int64) % 10)


def numbers(images):
    return images.stock.pixels[images.rows].ravel().tolist()


def test_digits_split_once():
    train = DATASETS["digits"].read_train(Path())
    test = DATASETS["digits"].read_test(Path())
    parts = split(train, None, 360, seed=0)
    assert (len(parts.train), len(parts.validation), len(test)) == (1077, 360, 360)
    pixels, _ = all_images(parts.train)
    assert abs(pixels.mean()) < 1e-5
    assert pixels.std() == pytest.approx(1, abs=1e-4)
    for part in (parts.validation, test):
        assert np.bincount(part.labels).min() >= 34
    assert split(train, None, 360, seed=0).train.digest == parts.train.digest
    assert split(train, None, 360, seed=1).train.digest != parts.train.digest


def test_digits_never_share_an_image():
    """1797 images; the 360 test images are the same in every study."""
    from sklearn.datasets import load_digits

    train, test = DATASETS["digits"].read_train(Path()), DATASETS["digits"].read_test(Path())
    shown = [raw(part, slice(None)).numpy() for part in (train, test)]
    assert (len(train), len(test), shown[0].min(), shown[0].max()) == (1437, 360, 0, 16)
    both = sorted(p.tobytes() for part in shown for p in part)
    assert both == sorted(p.astype(np.uint8).tobytes() for p in load_digits().images)
    assert DATASETS["digits"].read_test(Path()).digest == test.digest
    assert train.digest != test.digest


def test_parts_are_those_of_scikit_learn():
    from sklearn.model_selection import train_test_split

    for seed in range(40):
        random = np.random.default_rng(seed)
        classes = random.integers(2, 9)
        labels = random.permutation(np.repeat(range(classes), random.integers(2, 30, classes)))
        first = int(random.integers(classes, len(labels) - classes + 1))
        second = int(random.integers(classes, len(labels) - first + 1))
        sizes = {"train_size": first, "test_size": second}
        rows = np.arange(len(labels))
        theirs = train_test_split(rows, stratify=labels, random_state=seed, **sizes)
        for ours, part in zip(split_by_class(labels, first, second, seed), theirs, strict=True):
            np.testing.assert_array_equal(ours, part)


def test_too_many_requested_images_are_refused():
    with pytest.raises(DataError, match="1078 training and 360 validation"):
        split(DATASETS["digits"].read_train(Path()), 1078, 360, seed=0)


def test_fewer_images_than_classes():
    with pytest.raises(DataError, match="80 training images and 5 that are held out: each"):
        split(tagged(), 80, 5, seed=0)


@pytest.mark.parametrize(
    ("labels", "wanted", "held_out", "message"),
    [
        ([0, 0, 1], None, 2, "class 1 has 1 image that is no test image, at least 2 are needed"),
        ([0, 0, 1, 1], None, 1, "3 training images and 1 that are held out: each needs at least"),
        ([0, 0, 1, 1], None, 4, "data.validation_samples = 4: the data set has 4 images"),
        ([0, 0, 1, 1], 3, 2, "3 training and 2 validation images wanted of 4: .* at most 2"),
        ([0, 0, 1, 1], None, 0, "data.validation_samples is needed"),
    ],
)
def test_too_few_images_are_named(labels, wanted, held_out, message):
    pixels = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    with pytest.raises(DataError, match=message):
        split(images_of(pixels, np.array(labels)), wanted, held_out, seed=0)


@pytest.mark.parametrize(("wanted", "size"), [(None, 80), (80, 80), (40, 40)])
def test_parts_are_disjoint_and_stratified(wanted, size):
    parts = split(tagged(), wanted, 20, seed=4)
    train, held_out = numbers(parts.train), numbers(parts.validation)
    assert (len(train), len(held_out)) == (size, 20)
    assert len(set(train) | set(held_out)) == size + 20
    assert np.bincount(parts.train.labels).tolist() == [size // 10] * 10
    assert np.bincount(parts.validation.labels).tolist() == [2] * 10
    assert [n % 10 for n in held_out] == parts.validation.labels.tolist()


def test_no_pixel_is_copied_by_taking():
    all_of_them = tagged()
    parts = split(all_of_them, None, 20, seed=0)
    assert parts.train.stock.pixels is all_of_them.stock.pixels
    assert parts.train.take(np.array([3, 1])).stock.pixels is all_of_them.stock.pixels


def test_take_of_take_by_hand():
    part = tagged().take(np.array([50, 60, 70])).take(np.array([2, 0]))
    assert (numbers(part), part.labels.tolist()) == ([70, 50], [0, 0])


def test_digest_sees_every_pixel_label_and_row():
    a = tagged()
    other = a.stock.pixels.copy()
    other[7] += 1
    assert a.digest == tagged().digest
    assert images_of(other, a.labels).digest != a.digest
    assert images_of(a.stock.pixels, a.labels[::-1]).digest != a.digest
    rows = np.arange(10)
    assert a.take(rows).digest != a.take(rows + 10).digest  # the same labels


def test_digest_of_arrays_sees_shape_and_type():
    a = np.arange(6, dtype=np.uint8)
    result = {digest_of(x) for x in (a, a.reshape(2, 3), a.astype(np.uint16), a[:5])}
    assert len(result) == 4
    assert digest_of(a.astype(">u2")) == digest_of(a.astype("<u2"))


def test_scaling_by_hand():
    """Two channels, means 1 and 10, deviations 2 and 5."""
    pixels = np.array([[[[1, 3]], [[10, 20]]]], dtype=np.uint8)  # [1, 2, 1, 2]
    scaled = images_of(pixels).scaled([1, 10], [2, 5])
    shown, _ = all_images(scaled)
    assert shown.tolist() == [[[[0, 1]], [[0, 2]]]]
    assert shown.dtype == torch.float32


@given(st.integers(1, 30), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_moments_are_those_of_numpy(n, channels, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (n, channels, 3, 3), dtype=np.uint8)
    pixels[0, :, 0, :2] = 0, 255  # no constant channel
    chosen = rng.permutation(n)[: max(1, n // 2)]
    chosen[0] = 0
    mean, deviation = images_of(pixels).take(chosen).moments()
    assert mean == pytest.approx(pixels[chosen].mean((0, 2, 3)))
    assert deviation == pytest.approx(pixels[chosen].std((0, 2, 3)))


def test_a_constant_channel_cannot_be_scaled():
    pixels = np.zeros((4, 2, 2, 2), dtype=np.uint8)
    pixels[0, 0, 0, 0] = 1
    with pytest.raises(DataError, match="channel 1 is the same in all images"):
        images_of(pixels).moments()


def events(n=20):
    pixels = np.random.default_rng(0).poisson(0.2, (n, 4, 2, 6, 6)).astype(np.uint8)
    return images_of(pixels, np.arange(n) % 2)


def test_counts_of_events_stay_counts():
    parts = split(events(), None, 4, seed=0)
    shown, _ = batch(parts.train, [0, 3])
    assert shown.shape == (2, 4, 2, 6, 6)
    expected = events().stock.pixels[parts.train.rows[[0, 3]]]
    assert (shown.numpy() == expected).all()
    assert 0.01 < (shown > 0).float().mean() < 0.9


def test_moments_of_events_are_those_of_numpy():
    mean, deviation = events().moments()
    assert mean == pytest.approx(events().stock.pixels.mean((0, 1, 3, 4)))
    assert deviation == pytest.approx(events().stock.pixels.std((0, 1, 3, 4)))


@pytest.mark.parametrize("index", [torch.tensor([4, 2]), np.array([4, 2]), [4, 2]])
def test_batches_by_any_index(index):
    shown, labels = batch(tagged().scaled(0, 1), index)
    assert (shown.ravel().tolist(), labels.tolist()) == ([4, 2], [4, 2])


def test_raw_pixels_stay_bytes_and_are_a_copy():
    a = tagged()
    a.stock.pixels.setflags(write=False)  # as of a file mapped for reading
    pixels = raw(a, torch.tensor([1, 2]))
    assert pixels.dtype == torch.uint8
    pixels += 1
    assert numbers(a)[1:3] == [1, 2]
    assert (scale(a.scaled(1, 1), pixels).ravel() == torch.tensor([1.0, 2.0])).all()


def test_counts_beyond_a_byte():
    pixels = np.array([[[[[0, 256]], [[65535, 1]]]]], dtype=np.uint16)  # [1, 1, 2, 1, 2]
    shown, _ = all_images(images_of(pixels))
    assert shown.ravel().tolist() == [0, 256, 65535, 1]
    sums = [[256, 256**2], [65536, 65535**2 + 1]]
    assert images_of(pixels).stock.sums[0].tolist() == sums
