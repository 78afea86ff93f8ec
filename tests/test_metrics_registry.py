"""Metrics and instance scores by name: what is registered, what composites are, and what checks of false ones find."""

import itertools
import math

import numpy as np
import pytest

from semrsm_bench import metrics
from semrsm_bench.core.registry import load_plugin
from semrsm_bench.metrics.check_cases import INSTANCE_CASES, METRIC_CASES, CheckFailedError
from semrsm_bench.metrics.instances import get_instance, register_instance
from semrsm_bench.metrics.registry import InvalidValueError, get_metric, metric_names, register_metric


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 4))
    return x, x[:, :3] + rng.standard_normal((20, 3))


def test_values_are_those_of_the_functions(pair):
    x, y = pair
    assert get_metric("linear_cka_debiased").run(x, y) == metrics.linear_cka(x, y, "debiased")
    assert get_metric("pwcca_y").run(x, y) == metrics.pwcca(x, y, "y")
    assert get_metric("cka").run(x @ x.T, y @ y.T, estimator="debiased") == metrics.cka(x @ x.T, y @ y.T, "debiased")
    stack = np.stack([x, x[::-1]])
    assert get_instance("dispersion").run({"aligned": stack, "pixels": None}).tolist() == pytest.approx(
        metrics.instance_similarity(stack, "dispersion").tolist()
    )


@pytest.mark.parametrize(
    ("name", "rsms", "symmetric"),
    [
        ("cka[identity]", (("identity", "linear"),) * 2, True),
        ("rsa_spearman[batch-optimal-256,rbf]", (("batch-optimal-256", "rbf"),) * 2, True),
        ("cka_debiased[identity|exact-auction]", (("identity", "linear"), ("exact-auction", "linear")), False),
        ("cka[pooled|greedy,cosine]", (("pooled", "cosine"), ("greedy", "cosine")), False),
    ],
)
def test_composites_keep_the_names_of_their_rsms(name, rsms, symmetric):
    found = get_metric(name)
    assert (found.name, found.rsms, found.symmetric) == (name, rsms, symmetric)
    assert found.declare().facts["inputs"] == ["zx", "zy"]
    assert found.options == get_metric(name.partition("[")[0]).options
    assert name not in metric_names()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cak", "did you mean 'cka'"),
        ("linear_cka[identity]", "linear_cka takes features"),
        ("cka[nonsense]", r"unknown metric 'cka[nonsense]': unknown RSM method 'nonsense'"),
        ("cka[identity|exact-action]", "unknown RSM method 'exact-action'; did you mean 'exact-auction'"),
        ("cka[identity,cosin]", "no kernel 'cosin'; did you mean 'cosine'"),
        ("cka[]", "unknown metric"),
        ("cka[a,b,c]", "unknown metric"),
        ("cka[a|b|c]", "unknown metric"),
        ("cka[identity][identity]", "unknown metric"),
        ("nothing[identity]", "unknown metric"),
    ],
)
def test_what_is_no_metric(name, said):
    with pytest.raises(KeyError, match=said.replace("[", r"\[")):
        get_metric(name)


def test_a_plugin_of_one_function_and_of_two_parts(tmp_path, pair):
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "import semrsm_bench.metrics as m\n"
        "@m.register_metric('mean-gap', takes='features', best='min', range=(0, np.inf), grid={'power': [1, 2]})\n"
        "def gap(x, y, *, power=1):\n"
        "    '''Distance of the means.'''\n"
        "    return abs(np.mean(x) - np.mean(y)) ** power\n"
        "@m.register_metric('angle', takes='rsms', best='max', range=(-1, 1), category='mine')\n"
        "class Angle:\n"
        "    '''Cosine of two RSMs.'''\n"
        "    def __init__(self, shift=0.0):\n"
        "        self.shift = shift\n"
        "    def prepare(self, k):\n"
        "        k = np.asarray(k) - self.shift\n"
        "        return k / np.linalg.norm(k)\n"
        "    def compare(self, a, b):\n"
        "        return np.sum(a * b)\n"
    )
    assert load_plugin(tmp_path / "mine.py") == ["mean-gap-1", "mean-gap-2", "angle"]
    x, y = pair
    assert get_metric("mean-gap-2").run(x, y) == pytest.approx((x.mean() - y.mean()) ** 2)
    angle = get_metric("angle")
    assert angle.defaults == {"shift": 0.0}
    assert (angle.summary, angle.category) == ("Cosine of two RSMs.", "mine")
    k, l = x @ x.T, y @ y.T  # noqa: E741
    for shift in (0.0, 1.0):
        a, b = k - shift, l - shift
        expected = (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)
        assert angle.run(k, l, shift=shift) == pytest.approx(expected)
        prepared = angle.prepare(k, shift=shift), angle.prepare(l, shift=shift)
        assert angle.compare(*prepared, shift=shift) == pytest.approx(expected)
        assert angle.function(k, l, shift=shift) == pytest.approx(expected)
    assert get_metric("angle[identity]").rsms
    with pytest.raises(TypeError, match="no option 'shfit'; did you mean 'shift'"):
        angle.run(k, l, shfit=1)


GOOD = {"takes": "features", "best": "max", "range": (0, 1)}


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"invariant_to": "rotation"}, ValueError, "did you mean 'translation'"),
        ({"takes": "rsms", "invariant_to": ["orthogonal"]}, ValueError, "no invariance 'orthogonal' of rsm"),
        ({"best": "high"}, ValueError, "max or min"),
        ({"range": (1, 0)}, ValueError, "lowest, highest"),
        ({"takes": "images"}, ValueError, "features or rsms"),
        ({"grid": {"k": []}}, ValueError, "empty grid"),
        ({"kk": 3}, TypeError, "no option 'kk'"),
    ],
)
def test_declarations_that_say_nothing_are_refused(changes, error, said):
    with pytest.raises(error, match=said):
        register_metric("bad", **{**GOOD, **changes})(lambda x, y, *, k=1: 0.0)
    assert "bad" not in metric_names()


@pytest.mark.parametrize(
    ("name", "target", "error", "said"),
    [
        ("cka", lambda x, y: 0.0, ValueError, "registered already"),
        ("bad", lambda x: 0.0, TypeError, "2 positional"),
        ("bad", 3, TypeError, r"function of \(x, y\)"),
    ],
)
def test_names_are_taken_once_and_functions_take_two_inputs(name, target, error, said):
    with pytest.raises(error, match=said):
        register_metric(name, **GOOD)(target)


@pytest.mark.parametrize("value", [np.ones(2), "0.5", None, 1j, [0.1, 0.2]])
def test_what_is_no_number_is_no_value(value, pair):
    register_metric("strange", **GOOD)(lambda x, y: value)
    with pytest.raises(InvalidValueError, match="not one real number"):
        get_metric("strange").run(*pair)


def checked(x):
    x = np.asarray(x, dtype=float)
    if not np.isfinite(x).all():
        raise ValueError("not finite")
    return x


def of_both(statistic, factor=1):
    """A metric that is nothing but a number of each side."""
    return lambda x, y: 1 / (1 + statistic(checked(x)) + factor * statistic(checked(y)))


_calls = itertools.count()


def writing(x, y):
    value = of_both(np.sum)(np.square(x), np.square(y))
    x[:] = 0
    return value


def only_one_side_checked(x, y):
    return metrics.linear_cka(x, np.nan_to_num(np.asarray(y), posinf=0))


cka = metrics.linear_cka
FALSE = {
    "asymmetric": ({}, of_both(lambda x: abs(x).sum(), 2), "symmetry"),
    "not-rotation-invariant": ({"invariant_to": "orthogonal"}, of_both(lambda x: abs(x).sum()), "invariances"),
    "out-of-range": ({"range": (0, 0.001)}, lambda x, y: cka(x, y), "value range"),
    "wrong-direction": ({"best": "min"}, lambda x, y: cka(x, y), "direction"),
    "hides-nan": ({}, lambda x, y: 1 / (1 + sum(np.nanmean(np.asarray(side) ** 2) for side in (x, y))), "not finite"),
    "hides-nan-of-y": ({}, only_one_side_checked, "not finite"),
    "growing": ({}, lambda x, y: min(1.0, next(_calls) / 1000), "deterministic"),
    "writing": ({}, writing, "read only input"),
    "of-first-stimulus": ({}, of_both(lambda x: np.square(x[0]).sum()), "order of stimuli"),
    "crashes-when-wide": ({}, lambda x, y: cka(x, y) if np.shape(x)[1] < len(x) else [][0], "fewer stimuli than units"),
    "global-random": ({}, lambda x, y: cka(x, y) * np.random.rand(), "global random state"),  # noqa: NPY002
    "single": ({}, lambda x, y: cka(x, y) * (0.9 if np.asarray(x).dtype == np.float32 else 1), "single precision"),
}


@pytest.mark.parametrize("name", FALSE)
def test_a_false_metric_fails_the_check_that_is_about_it(name):
    changes, function, expected = FALSE[name]
    register_metric(name, **{**GOOD, **changes})(function)
    failed = {}
    for case, check in METRIC_CASES.items():
        try:
            check(get_metric(name))
        except CheckFailedError as error:
            failed[case] = str(error)
    assert all(failed.values())
    assert expected in failed


def test_what_holds_and_is_not_declared_is_a_note():
    register_metric("quiet", **{**GOOD, "symmetric": False, "invariant_to": "translation"})(lambda x, y: cka(x, y))
    notes = {case: note for case, check in METRIC_CASES.items() if (note := check(get_metric("quiet")))}
    assert notes.keys() == {"symmetry", "invariances"}
    assert "exchanging x and y changed nothing" in notes["symmetry"]
    said = notes["invariances"].partition(": ")[2].split(", ")
    every = {"isotropic_scaling", "unit_permutation", "orthogonal", "zero_units"}
    assert set(said) == {f"{name} of input {side}" for name in every for side in (0, 1)}


@pytest.mark.parametrize(
    ("function", "changes", "case"),
    [
        (lambda a: np.zeros(3), {}, "value range"),
        (lambda a: np.arange(len(a[0])) / 1e3, {}, "order of stimuli"),
        (
            lambda a: np.abs(np.asarray(a)[:, :, 0]).mean(0) / 1e3,
            {"invariant_to": "orthogonal"},
            "invariances",
        ),
        (lambda a: np.nan_to_num(np.asarray(a)).std(axis=(0, 2)) / 1e3, {}, "not finite"),
        (lambda a: 1 - 1 / (1 + np.asarray(a).std(axis=0).mean(1)), {}, "direction"),
    ],
)
def test_a_false_instance_score_fails_the_check_that_is_about_it(function, changes, case):
    register_instance("false", **{"best": "max", "range": (0, 1), **changes})(function)
    with pytest.raises(CheckFailedError):
        INSTANCE_CASES[case](get_instance("false"))


# Baselines


def test_the_spectrum_sees_singular_values_alone():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 6)) * [5, 3, 2, 1, 1, 0.5]
    spectrum = get_metric("spectrum")
    turned = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    assert spectrum.run(x, 3 * x[rng.permutation(30)] @ turned + 7) == pytest.approx(1)
    a, b = (np.linalg.svd(v - v.mean(0), compute_uv=False) for v in (x, x[:, :4]))
    expected = a[:4] @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert spectrum.run(x, x[:, :4]) == pytest.approx(expected)
    assert math.isnan(spectrum.run(x, np.ones((30, 2))))


def test_the_width_sees_the_number_of_units_alone():
    rng = np.random.default_rng(0)
    assert get_metric("width").run(rng.standard_normal((9, 4)), rng.standard_normal((9, 6))) == pytest.approx(4 / 6)
    assert {get_metric(name).category for name in ("spectrum", "width")} == {"baseline"}


def test_the_distance_from_the_mean_is_a_mean_of_lengths():
    aligned = np.array([[[3.0, 4.0], [0, 0]], [[0, 1.0], [6, 8]]])
    assert get_instance("distance_from_mean").run(aligned).tolist() == [3.0, 5.0]


def plain(colour, size=16):
    return np.tile(np.array(colour, dtype=np.uint8), (1, size, size, 1))


def statistics(pixels):
    return {
        name: get_instance(name).run(pixels)[0] for name in ("brightness", "contrast", "colourfulness", "edge_density")
    }


def step():
    pixels = plain((0, 0, 0))
    pixels[:, :, 8:] = 255
    return pixels


def slope(per_pixel):
    pixels = plain((0, 0, 0), 10)
    pixels[0] = (np.arange(10) * per_pixel)[None, :, None]
    return pixels


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        *((plain((grey,) * 3), {"brightness": grey / 255, "colourfulness": 0}) for grey in (0, 90, 255)),
        (plain((255, 0, 0)), {"brightness": 0.299, "colourfulness": 0.3 * np.hypot(255, 127.5), "contrast": 0}),
        (plain((0, 0, 255)), {"brightness": 0.114, "colourfulness": 0.3 * 255, "edge_density": 0}),
        # An edge is two pixels wide.
        (step(), {"edge_density": 2 / 16, "contrast": 0.5, "brightness": 0.5}),
        # A slope is an edge from a tenth of the scale per pixel on; the mirrored border columns see half of it.
        (slope(28), {"edge_density": 0.8}),
        (slope(24), {"edge_density": 0}),
    ],
)
def test_statistics_of_pictures(pixels, expected):
    found = statistics(pixels)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4, 3)), np.zeros((0, 4, 4, 3), np.uint8)]
)
def test_other_pixels_are_refused(pixels):
    with pytest.raises(ValueError, match="pixels must be"):
        get_instance("brightness").run(pixels)
