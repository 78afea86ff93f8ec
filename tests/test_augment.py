"""Random changes of training pictures: they move, mirror and cut out as they say, and one seed makes one result."""

import numpy as np
import pytest
import torch

from semrsm_bench.activations import augment as module
from semrsm_bench.activations.augment import augment, distort


@pytest.mark.parametrize("size", [8, 16])
def test_augmentation_moves_and_mirrors_but_invents_nothing(size):
    # 24 of 64 pixels are three eighths of any image.
    shift = 3 * size // 8
    ramp = np.arange(size * size).reshape(size, size)
    pixels = torch.from_numpy(np.repeat(ramp[None, :, :, None], 400, axis=0).astype(np.uint8))
    moved = augment(pixels, 24, torch.Generator().manual_seed(0)).numpy()[..., 0].astype(ramp.dtype)
    padded = np.pad(ramp, shift, mode="reflect")
    moves = range(-shift, shift + 1)
    windows = {(i, j): padded[shift + i : shift + i + size, shift + j : shift + j + size] for i in moves for j in moves}
    known = {window[:, ::flip].tobytes(): (*move, flip) for move, window in windows.items() for flip in (1, -1)}
    down, right, flip = np.array([known[image.tobytes()] for image in moved]).T
    for direction in (down, right):
        assert (direction.min(), direction.max()) == (-shift, shift)
    assert 150 < (flip == 1).sum() < 250
    # Both directions and the flip are drawn by themselves.
    assert np.abs(np.triu(np.corrcoef([down, right, flip]), 1)).max() < 0.2
    still = augment(pixels, 0, torch.Generator().manual_seed(0)).numpy()[..., 0]
    assert {s.astype(ramp.dtype).tobytes() for s in still} == {ramp.tobytes(), ramp[:, ::-1].tobytes()}


def distorted(pixels, seed=0):
    return distort(torch.from_numpy(pixels), torch.Generator().manual_seed(seed)).numpy()


def test_a_square_part_is_cut_out_and_scaled(monkeypatch):
    for name in ("_COLOUR", "_GREY", "_NOISE"):
        monkeypatch.setattr(module, name, 0.0)
    side, n = 64, 300
    ramp = np.linspace(10, 250, side)
    picture = np.stack(np.broadcast_arrays(ramp[:, None], ramp, 128.0), axis=-1)
    cut = distorted(np.repeat(picture[None].round().astype(np.uint8), n, axis=0)).astype(float)
    down, across = cut[..., 0].mean(axis=2), cut[..., 1].mean(axis=1)
    # A part of a ramp is a ramp; how steep it is tells how large the part was, the same along both axes.
    size = [(line[:, -2] - line[:, 1]) / (ramp[-2] - ramp[1]) for line in (down, across)]
    np.testing.assert_allclose(*size, atol=0.02)
    assert 0.49 < size[0].min() < 0.52
    assert 0.97 < size[0].max() < 1.01
    middle = [line.mean(axis=1) - 130 for line in (down, across)]
    # The part lies inside: its middle is off by at most what it leaves free.
    for off in middle:
        assert (np.abs(off) <= (1 - size[0]) * 120 + 2).all()
    assert abs(np.corrcoef(middle)[0, 1]) < 0.2


def test_colours_change_and_some_pictures_lose_theirs(monkeypatch):
    monkeypatch.setattr(module, "_NOISE", 0.0)
    pixels = np.full((400, 8, 8, 3), (150, 90, 60), dtype=np.uint8)
    changed = distorted(pixels)[:, 4, 4].astype(float)
    grey = np.ptp(changed, axis=1) == 0
    assert 0.12 < grey.mean() < 0.28
    brightness = changed.mean(axis=1) / 100
    assert 0.59 < brightness.min() < 0.7
    assert 1.3 < brightness.max() < 1.41


def test_noise_and_seeds():
    pixels = np.full((40, 16, 16, 3), 128, dtype=np.uint8)
    noisy = distorted(pixels)
    assert (noisy.dtype, noisy.shape) == (pixels.dtype, pixels.shape)
    assert 1 < noisy.reshape(40, -1).std(axis=1).mean() < 0.05 * 255
    np.testing.assert_array_equal(noisy, distorted(pixels))
    assert (noisy != distorted(pixels, seed=1)).any()
