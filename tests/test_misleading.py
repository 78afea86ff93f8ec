"""Warnings of figures that are right and mislead: when they come, that they are true, and that they come at no other time."""

import itertools
import math
import warnings

import numpy as np
import pytest

import semrsm_bench as sb
from semrsm_bench import metrics
from semrsm_bench.metrics.cka import Cka, LinearCka
from semrsm_bench.report.results import collect
from semrsm_bench.report.tables import render_table
from tests.synthetic_rows import make_row


def random(n, p, seed=0):
    return np.random.default_rng(seed).standard_normal((n, p))


@pytest.fixture
def silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error", sb.MisleadingWarning)
        yield


WIDE = {
    "linear_cka": metrics.linear_cka,
    "rbf_cka": metrics.rbf_cka,
    "cosine_cka": metrics.cosine_cka,
    "cka": lambda X, Y, *more: metrics.cka(X @ X.T, Y @ Y.T, *more),
    "cka_matrix": lambda X, Y, *more: metrics.cka_matrix([X], [Y], kernel="linear", estimator=(*more, "biased")[0]),
}


@pytest.mark.parametrize("name", WIDE)
def test_biased_cka_of_few_stimuli_and_many_units_warns_and_names_the_way_out(name, silent):
    X, Y = random(12, 4096), random(12, 4096, seed=1)
    with pytest.warns(
        sb.MisleadingWarning, match=r"of 12 stimuli: .* more than 0\.9 .* estimator='debiased'"
    ) as caught:
        value = np.ravel(WIDE[name](X, Y))[0]
    assert value > 0.99, "what the warning is about"
    assert caught[0].filename == __file__
    assert abs(np.ravel(WIDE[name](X, Y, "debiased"))[0]) < 0.5


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize(("n", "p"), [(300, 64), (300, 20), (100, 80)])
def test_enough_stimuli_give_no_warning(name, n, p, silent):
    latent = random(n, 5, seed=2) @ random(5, p, seed=3)
    WIDE[name](latent + 0.5 * random(n, p), latent + 0.5 * random(n, p, seed=1))


@pytest.mark.parametrize("p", [2, 3, 9])
def test_what_is_said_of_shuffled_stimuli_is_their_mean(p):
    X, Y = random(6, p), random(6, p + 1, seed=1)
    side = LinearCka()
    a, b = side.prepare(X), side.prepare(Y)
    shuffled = [side.compare(a, side.prepare(Y[list(order)])) for order in itertools.permutations(range(6))]
    assert side.trace(a) * side.trace(b) / 5 == pytest.approx(np.mean(shuffled))
    K, L = X @ X.T, Y @ Y.T
    general = Cka()
    assert general.trace(general.prepare(K)) * general.trace(general.prepare(L)) / 5 == pytest.approx(np.mean(shuffled))


def test_the_ratio_of_centred_features_has_its_note_and_that_of_raw_ones_has_none():
    for centring, said in (("none", False), ("channel", True)):
        (results,) = collect([make_row("greedy", centring=centring), make_row("ortools", centring=centring)], {})
        text = " ".join(render_table(results).split())
        assert ("k/k_opt of centred features is not that of raw ones, which papers print: compare c." in text) == said


def of_images(count):
    """Rows of all pairs of so many images."""
    pairs = itertools.combinations(map(str, range(count)), 2)
    return [make_row(solver, pair="-".join(pair)) for pair in pairs for solver in ("greedy", "ortools")]


@pytest.mark.parametrize(("images", "said"), [(2, "1 pair is"), (3, "3 images are"), (4, "4 images are"), (5, "")])
def test_few_images_have_no_interval_that_says_anything(images, said):
    (results,) = collect(of_images(images), {})
    text = " ".join(render_table(results).split())
    assert ("too few for an interval" in text) == bool(said)
    assert not said or f"{said} too few for an interval that says anything: take 5 or more." in text
    # What it is about: a percentile of so many different draws, of which most are nobody's.
    assert (math.comb(2 * images - 1, images) < 40) == bool(said)
