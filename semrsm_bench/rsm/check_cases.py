"""What every RSM method must pass: the cases of ``semrsm-bench check``, each a function that raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.checking import CheckFailedError, describe, require, without_global_randomness
from semrsm_bench.rsm.compute import compute_rsm
from semrsm_bench.rsm.registry import INVARIANCES, RsmMethod

Array = NDArray[Any]

GRID = (3, 4)
# What rounding may cost, as a share of the largest similarity.
_TOLERANCE = 1e-6


def images(seed: int, n: int = 5, channels: int = 6, grid: tuple[int, int] = GRID) -> Array:
    """ReLU-like activations (n, C, H, W) that have something in common, float64."""
    rng = np.random.default_rng([seed, channels, *grid])
    common = rng.standard_normal((channels, *grid))
    return np.asarray(np.maximum(common + 0.7 * rng.standard_normal((n, channels, *grid)) + 0.3, 0))


def rsm(method: RsmMethod, *sides: Array, **how: Any) -> Array:
    """The method's RSM; whatever it raises fails the check."""
    try:
        return np.asarray(compute_rsm(*sides, matching=method.name, layout="channels_first", **how))
    except Exception as error:
        raise CheckFailedError(describe(error)) from error


def _require_same(first: Array, second: Array, what: str) -> None:
    scale = float(np.abs(first).max())
    worst = float(np.abs(first - second).max())
    require(worst <= _TOLERANCE * scale, f"{what}: entries differ by {worst:.3g}, the largest is {scale:.3g}")


def shapes(method: RsmMethod) -> None:
    """One image, several, and queries against a database; one position, one channel."""
    for n, channels, grid in ((1, 6, GRID), (5, 6, GRID), (3, 1, GRID), (3, 6, (1, 1)), (3, 4, (1, 7))):
        z, z2 = images(0, n, channels, grid), images(1, 4, channels, grid)
        for sides, shape in (((z,), (n, n)), ((z, z2), (n, 4))):
            found = rsm(method, *sides)
            require(found.shape == shape and bool(np.isfinite(found).all()), f"of {z.shape} it is no finite {shape}")


def deterministic(method: RsmMethod) -> None:
    """The same images have the same RSM: at once, and after others."""
    z = images(2)
    first = rsm(method, z)
    rsm(method, images(3))
    require(np.array_equal(first, rsm(method, z.copy())), "the same images gave another RSM")


def global_random_state(method: RsmMethod) -> None:
    """The method neither reads nor moves the process-wide random generators."""
    without_global_randomness(lambda: rsm(method, images(4, 3)), np.array_equal)


def input_is_left_alone(method: RsmMethod) -> None:
    """Nothing is written to the activations."""
    z, z2 = images(5), images(6)
    rsm(method, z, z2)
    require(np.array_equal(z, images(5)) and np.array_equal(z2, images(6)), "it changed its input")


def entries_of_two_images(method: RsmMethod) -> None:
    """An entry depends on its two images alone, whichever others are there and however the matrix is cut."""
    z, z2 = images(7), images(8, 4)
    whole = rsm(method, z, z2)
    alone = np.array([[rsm(method, a[None], b[None])[0, 0] for b in z2] for a in z])
    _require_same(whole, alone, "images by themselves and among others")
    _require_same(whole, rsm(method, z, z2, block=2), "the matrix as a whole and in tiles")
    _require_same(whole, rsm(method, z[::-1], z2[::-1])[::-1, ::-1], "images in another order")


def symmetry(method: RsmMethod) -> None:
    """What is declared symmetric does not change when two images are exchanged."""
    z, z2 = images(9), images(10)
    if method.symmetric:
        both = rsm(method, z, z2), rsm(method, z2, z).T
        _require_same(*both, "declared symmetric, but the order of two images counts")


def invariances(method: RsmMethod) -> None:
    """Nothing that is declared not to change the value changes it."""
    for seed in range(3):
        z, z2 = images(seed + 11), images(seed + 14)
        before = rsm(method, z, z2)
        for name in method.invariant_to:
            for side in range(2):
                changed = [z, z2]
                changed[side] = _moved(name, changed[side], np.random.default_rng(seed))
                what = f"declared invariant to {name} ({INVARIANCES[name]}), and it is not"
                _require_same(before, rsm(method, *changed), what)


def _moved(name: str, z: Array, rng: np.random.Generator) -> Array:
    if name == "translation":
        return np.stack([np.roll(image, rng.integers(1, GRID), axis=(1, 2)) for image in z])
    flat = z.reshape(*z.shape[:2], -1)
    return np.stack([image[:, rng.permutation(flat.shape[2])] for image in flat]).reshape(z.shape)


def kernels(method: RsmMethod) -> None:
    """The other kernels can be derived: similarities with oneself are positive."""
    for kernel, low in (("cosine", -1.0), ("rbf", 0.0)):
        found = rsm(method, images(17), kernel=kernel)
        require(bool((found >= low).all() and (found <= 1.0).all()), f"the kernel {kernel} leaves [{low:g}, 1]")


def single_precision(method: RsmMethod) -> None:
    """float32 gives what the same numbers give as float64; a matching may differ where two are almost equal."""
    z = images(18).astype(np.float32)
    single, double = rsm(method, z), rsm(method, z.astype(np.float64))
    allowed = 1e-4 if method.category == "matching-free" or method.symmetric else 0.1
    worst = float(np.abs(single - double).max() / np.abs(double).max())
    require(worst <= allowed, f"float32 and float64 differ by {worst:.3g} of the largest similarity")


def large_and_small(method: RsmMethod) -> None:
    """Activations of very different sizes, also beyond float32."""
    for scale in (1e-12, 1e12, 1e25):
        z = (images(19) * scale).astype(np.float32)
        require(bool(np.isfinite(rsm(method, z)).all()), f"activations times {scale:g} give NaN or infinity")


def images_of_zeros(method: RsmMethod) -> None:
    """Images without any activation."""
    z = images(20)
    z[1] = 0.0
    z[2] = z[0]
    require(bool(np.isfinite(rsm(method, z)).all()), "an image of zeros gives NaN or infinity")


CASES: dict[str, Callable[[RsmMethod], None]] = {
    case.__name__.replace("_", " "): case
    for case in (
        *(shapes, deterministic, global_random_state, input_is_left_alone, entries_of_two_images),
        *(symmetry, invariances, kernels, single_precision, large_and_small, images_of_zeros),
    )
}


def warm_up(method: RsmMethod) -> None:
    """Compile and import what the first call needs."""
    compute_rsm(images(0, 2), matching=method.name)
