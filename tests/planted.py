"""Networks whose likeness is known, as files of features."""

import numpy as np

N = 60


def frames(rng, count, width=6):
    """Representations (N, width) without a mean, all of one spectrum, each at right angles to all others."""
    basis = np.linalg.qr(np.column_stack([np.ones(N), rng.standard_normal((N, count * width))]))[0][:, 1:]
    return np.split(8 * basis, count, axis=1)


def seen(rng, z, noise=0.0):
    """The same through a rotation, with noise."""
    rotated = z @ np.linalg.qr(rng.standard_normal((z.shape[1],) * 2))[0]
    return rotated + noise * rng.standard_normal(z.shape)


def turned(rng, t, pair):
    """Between two representations: at angles t from the first, so that the farther apart two are the less they share."""
    return seen(rng, np.cos(t) * pair[0] + np.sin(t) * pair[1])


def written(folder, arrays):
    path = folder / "planted.npz"
    np.savez(path, **arrays)
    return path
