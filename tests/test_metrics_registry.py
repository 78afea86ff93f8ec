"""Metrics and instance scores by name: what is registered, what composites are, and what checks of false ones find."""

import inspect
import itertools
import math

import numpy as np
import pytest
from scipy.spatial.distance import cosine
from scipy.stats import kstest

from semrsm_bench import compute_rsm, metrics, rsm_names
from semrsm_bench.core.checking import CheckFailedError
from semrsm_bench.metrics.check_cases import INSTANCE_CASES, METRIC_CASES
from semrsm_bench.metrics.instances import get_instance, register_instance
from semrsm_bench.metrics.registry import InvalidValueError, get_metric, metric_names, register_metric


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 4))
    return x, x[:, :3] + rng.standard_normal((20, 3))


def test_options_are_those_of_the_name_or_of_the_call(pair):
    x, y = pair
    assert get_metric("pwcca_y").run(x, y) == metrics.pwcca(x, y, "y")
    assert get_metric("cka").run(x @ x.T, y @ y.T, estimator="debiased") == metrics.cka(x @ x.T, y @ y.T, "debiased")
    stack = np.stack([x, x[::-1]])
    found = get_instance("dispersion").run({"aligned": stack, "pixels": None})
    np.testing.assert_array_equal(found, metrics.instance_similarity(stack, "dispersion"))


@pytest.mark.parametrize("sides", [["identity"], ["batch-optimal-256"], ["identity", "exact-auction"]], ids="|".join)
@pytest.mark.parametrize("kernel", ["", "rbf"])
def test_composites_keep_the_names_of_their_rsms(sides, kernel):
    name = f"cka_debiased[{'|'.join(sides)}{',' * bool(kernel)}{kernel}]"
    found = get_metric(name)
    assert found.rsms == tuple((side, kernel or "linear") for side in (sides[0], sides[-1]))
    assert (found.name, found.symmetric) == (name, len(sides) == 1)
    assert found.declare().facts["inputs"] == ["zx", "zy"]
    assert found.options == get_metric("cka_debiased").options
    assert name not in metric_names()


@pytest.mark.parametrize("name", rsm_names(available_only=True))
@pytest.mark.parametrize("metric", ["cka", "rsa_spearman", "rsa_whitened"])
def test_metrics_of_rsms_take_every_rsm_method(metric, name):
    z = np.maximum(np.random.default_rng(0).standard_normal((2, 8, 3, 16)), 0)
    composite = get_metric(f"{metric}[{name}]")
    ((matching, kernel), _) = composite.rsms
    first, second = (compute_rsm(side, matching=matching, kernel=kernel, grid=(4, 4)) for side in z)
    assert composite.run(first, first) == pytest.approx(1.0)
    assert -1 <= composite.run(first, second) < 0.99


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cak", "did you mean 'cka'"),
        ("linear_cka[identity]", "linear_cka takes features"),
        ("cka[nonsense]", r"unknown metric 'cka[nonsense]': unknown RSM method 'nonsense'"),
        ("cka[identity|exact-action]", "unknown RSM method 'exact-action'; did you mean 'exact-auction'"),
        ("cka[identity,cosin]", "no kernel 'cosin'; did you mean 'cosine'"),
        *((wrong, "unknown metric") for wrong in ("cka[]", "cka[a,b,c]", "cka[a|b|c]", "nothing[identity]")),
    ],
)
def test_what_is_no_metric(name, said):
    with pytest.raises(KeyError, match=said.replace("[", r"\[")):
        get_metric(name)


class Angle:
    """Cosine of two RSMs."""

    def __init__(self, shift=0.0):
        self.shift = shift

    def prepare(self, k):
        return (k - self.shift) / np.linalg.norm(k - self.shift)

    def compare(self, a, b):
        return np.sum(a * b)


def test_a_metric_of_two_parts_is_a_function_too(pair):
    register_metric("angle", takes="rsms", best="max", range=(-1, 1), category="mine")(Angle)
    angle = get_metric("angle")
    assert (angle.defaults, angle.summary, angle.category) == ({"shift": 0.0}, "Cosine of two RSMs.", "mine")
    k, l = (side @ side.T for side in pair)  # noqa: E741
    for shift in (0.0, 1.0):
        expected = pytest.approx(1 - cosine((k - shift).ravel(), (l - shift).ravel()))
        prepared = angle.prepare(k, shift=shift), angle.prepare(l, shift=shift)
        assert angle.compare(*prepared, shift=shift) == expected
        assert angle.run(k, l, shift=shift) == angle.function(k, l, shift=shift) == expected
    assert get_metric("angle[identity]").rsms
    with pytest.raises(TypeError, match="no option 'shfit'; did you mean 'shift'"):
        angle.run(k, l, shfit=1)


GOOD = {"takes": "features", "best": "max", "range": (0, 1)}


@pytest.mark.parametrize(
    ("target", "changes", "error", "said"),
    [
        *(
            (lambda x, y, *, k=1: 0.0, changes, ValueError, said)
            for changes, said in (
                ({"name": "cka"}, "registered already"),
                ({"invariant_to": "rotation"}, "did you mean 'translation'"),
                ({"takes": "rsms", "invariant_to": ["orthogonal"]}, "no invariance 'orthogonal' of rsm"),
                ({"best": "high"}, "max or min"),
                ({"range": (1, 0)}, "lowest, highest"),
                ({"measured_in": "entry"}, "did you mean 'entries'"),
                ({"takes": "images"}, "features or rsms"),
                ({"grid": {"k": []}}, "empty grid"),
            )
        ),
        (lambda x, y, *, k=1: 0.0, {"kk": 3}, TypeError, "no option 'kk'"),
        (lambda x: 0.0, {}, TypeError, "2 positional"),
        (3, {}, TypeError, r"function of \(x, y\)"),
    ],
)
def test_declarations_that_are_refused_register_nothing(target, changes, error, said):
    before = metric_names()
    with pytest.raises(error, match=said):
        register_metric(**{"name": "bad", **GOOD, **changes})(target)
    assert metric_names() == before


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
# What is false, of what it is, and the check that is about it.
FALSE = [
    (of_both(lambda x: abs(x).sum(), 2), {}, "symmetry"),
    (of_both(lambda x: abs(x).sum()), {"invariant_to": "orthogonal"}, "invariances"),
    (lambda x, y: cka(x, y), {"range": (0, 0.001)}, "value range"),
    (lambda x, y: cka(x, y), {"best": "min"}, "direction"),
    (lambda x, y: cka(x, y), {"measured_in": "features"}, "unit"),
    (lambda x, y: 1 / (1 + sum(np.nanmean(np.asarray(side) ** 2) for side in (x, y))), {}, "not finite"),
    (only_one_side_checked, {}, "not finite"),
    (lambda x, y: min(1.0, next(_calls) / 1000), {}, "deterministic"),
    (writing, {}, "read only input"),
    (writing, {}, "strided input"),
    (of_both(lambda x: np.square(x[0]).sum()), {}, "order of stimuli"),
    (lambda x, y: cka(x, y) if np.shape(x)[1] < len(x) else [][0], {}, "fewer stimuli than units"),
    (lambda x, y: cka(x, y) * np.random.rand(), {}, "global random state"),  # noqa: NPY002
    (lambda x, y: cka(x, y) * (0.9 if np.asarray(x).dtype == np.float32 else 1), {}, "single precision"),
    (lambda a: np.zeros(3), {}, "value range"),
    (lambda a: np.arange(len(a[0])) / 1e3, {}, "order of stimuli"),
    (lambda a: np.abs(np.asarray(a)[:, :, 0]).mean(0) / 1e3, {"invariant_to": "orthogonal"}, "invariances"),
    (lambda a: np.nan_to_num(np.asarray(a)).std(axis=(0, 2)) / 1e3, {}, "not finite"),
    (lambda a: 1 - 1 / (1 + np.asarray(a).std(axis=0).mean(1)), {}, "direction"),
]


@pytest.mark.parametrize(("function", "changes", "case"), FALSE)
def test_a_false_measure_fails_the_check_that_is_about_it(function, changes, case):
    if inspect.signature(function).parameters.keys() == {"a"}:
        register_instance("false", **{"best": "max", "range": (0, 1), **changes})(function)
        measure, checks = get_instance("false"), INSTANCE_CASES
    else:
        register_metric("false", **{**GOOD, **changes})(function)
        measure, checks = get_metric("false"), METRIC_CASES
    with pytest.raises(CheckFailedError, match=r"\w"):
        checks[case](measure)


def test_what_holds_and_is_not_declared_is_a_note():
    register_metric("quiet", **{**GOOD, "symmetric": False, "invariant_to": "translation"})(lambda x, y: cka(x, y))
    notes = {case: note for case, check in METRIC_CASES.items() if (note := check(get_metric("quiet")))}
    assert notes.keys() == {"symmetry", "invariances"}
    assert "exchanging x and y changed nothing" in notes["symmetry"]
    said = notes["invariances"].partition(": ")[2].split(", ")
    every = {"isotropic_scaling", "unit_permutation", "orthogonal", "zero_units"}
    assert set(said) == {f"{name} of input {side}" for name in every for side in (0, 1)}


# Baselines


def test_the_spectrum_sees_singular_values_alone_and_the_width_not_even_those():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 6)) * [5, 3, 2, 1, 1, 0.5]
    spectrum = get_metric("spectrum")
    turned = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    assert spectrum.run(x, 3 * x[rng.permutation(30)] @ turned + 7) == pytest.approx(1)
    a, b = (np.linalg.svd(v - v.mean(0), compute_uv=False) for v in (x, x[:, :4]))
    expected = a[:4] @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert spectrum.run(x, x[:, :4]) == pytest.approx(expected)
    assert math.isnan(spectrum.run(x, np.ones((30, 2))))
    assert get_metric("width").run(x, x[:, :4]) == pytest.approx(4 / 6)


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_norms_are_those_of_the_stimuli_in_any_order(scale):
    x, y = np.array([[3.0, 4], [0, 1], [6, 8]]), np.array([[2.0], [0], [5]])
    for order in itertools.permutations(range(3)):
        # 1, 5, 10 against 0, 2, 5.
        assert get_metric("norms").run(x * scale, y[list(order)] * scale) == pytest.approx(7 / 16)
    assert math.isnan(get_metric("norms").run(0 * x, 0 * y))


def test_random_numbers_are_spread_evenly_and_each_pair_has_its_own():
    rng = np.random.default_rng(0)
    random = get_metric("random")
    sides = rng.standard_normal((60, 5, 2))
    values = np.array([random.run(x, y) for x, y in itertools.combinations(sides, 2)])
    assert len(set(values)) == len(values)
    assert kstest(values, "uniform").pvalue > 0.01
    assert random.run(sides[0], sides[1]) == random.run(sides[1][::-1], sides[0])


def test_the_distance_from_the_mean_is_a_mean_of_lengths():
    aligned = np.array([[[3.0, 4.0], [0, 0]], [[0, 1.0], [6, 8]]])
    assert get_instance("distance_from_mean").run(aligned).tolist() == [3.0, 5.0]


def plain(colour):
    return np.full((1, 10, 10, 3), colour, np.uint8)


def columns(values):
    """A grey picture of columns of ten values."""
    return plain(0) + np.array(values, np.uint8)[:, None]


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        *((plain(grey), {"brightness": grey / 255, "colourfulness": 0}) for grey in (0, 90, 255)),
        (plain((255, 0, 0)), {"brightness": 0.299, "colourfulness": 0.3 * np.hypot(255, 127.5), "contrast": 0}),
        (plain((0, 0, 255)), {"brightness": 0.114, "colourfulness": 0.3 * 255, "edge_density": 0}),
        # An edge is two pixels wide.
        (columns([0] * 5 + [255] * 5), {"edge_density": 2 / 10, "contrast": 0.5, "brightness": 0.5}),
        # A slope is an edge from a tenth of the scale per pixel on; the mirrored border columns see half of it.
        (columns(np.arange(10) * 28), {"edge_density": 0.8}),
        (columns(np.arange(10) * 24), {"edge_density": 0}),
    ],
)
def test_statistics_of_pictures(pixels, expected):
    assert {name: get_instance(name).run(pixels)[0] for name in expected} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4, 3)), np.zeros((0, 4, 4, 3), np.uint8)]
)
def test_other_pixels_are_refused(pixels):
    with pytest.raises(ValueError, match="pixels must be"):
        get_instance("brightness").run(pixels)
