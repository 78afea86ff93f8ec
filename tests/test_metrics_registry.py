"""Metrics and instance scores by name: what is registered, what composites are, and what checks of false ones find."""

import json
import math

import numpy as np
import pytest
from click.testing import CliRunner

from semrsm_bench import metrics
from semrsm_bench.cli import cli
from semrsm_bench.core.registry import load_plugin
from semrsm_bench.metrics.check_cases import INSTANCE_CASES, METRIC_CASES, CheckFailedError
from semrsm_bench.metrics.instances import INSTANCES, get_instance, register_instance
from semrsm_bench.metrics.registry import METRICS, InvalidValueError, get_metric, metric_names, register_metric


@pytest.fixture
def fresh():
    """What a test registers goes again."""
    before = {registry: set(registry.names()) for registry in (METRICS, INSTANCES)}
    yield
    for registry, names in before.items():
        for name in set(registry.names()) - names:
            registry.forget(name)


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


def test_a_plugin_of_one_function_and_of_two_parts(tmp_path, fresh, pair):
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


def test_names_are_taken_once_and_functions_take_two_inputs():
    with pytest.raises(ValueError, match="registered already"):
        register_metric("cka", **GOOD)(lambda x, y: 0.0)
    with pytest.raises(TypeError, match="2 positional"):
        register_metric("bad", **GOOD)(lambda x: 0.0)
    with pytest.raises(TypeError, match=r"function of \(x, y\)"):
        register_metric("bad", **GOOD)(3)


@pytest.mark.parametrize("value", [np.ones(2), "0.5", None, 1j, [0.1, 0.2]])
def test_what_is_no_number_is_no_value(value, fresh, pair):
    register_metric("strange", **GOOD)(lambda x, y: value)
    with pytest.raises(InvalidValueError, match="not one real number"):
        get_metric("strange").run(*pair)


def checked(x):
    x = np.asarray(x, dtype=float)
    if not np.isfinite(x).all():
        raise ValueError("not finite")
    return x


_calls = []


def growing(x, y):
    _calls.append(1)
    return min(1.0, len(_calls) / 1000)


def writing(x, y):
    x, y = checked(x), checked(y)
    value = 1 / (1 + np.square(x.mean(0).sum() - y.mean(0).sum()))
    x[:] = 0
    return value


FALSE = {
    "asymmetric": ({}, lambda x, y: 1 / (1 + np.abs(checked(x)).sum() + 2 * np.abs(checked(y)).sum()), {"symmetry"}),
    "not-rotation-invariant": (
        {"invariant_to": "orthogonal"},
        lambda x, y: 1 / (1 + np.abs(checked(x)).sum() + np.abs(checked(y)).sum()),
        {"invariances"},
    ),
    "out-of-range": (
        {"best": "min", "range": (0, 0.001)},
        lambda x, y: float(np.abs(checked(x)).sum() + np.abs(checked(y)).sum()),
        {"value range"},
    ),
    "wrong-direction": (
        {"best": "min"},
        lambda x, y: metrics.linear_cka(x, y),
        {"direction"},
    ),
    "hides-nan": (
        {},
        lambda x, y: 1 / (1 + np.nanmean(np.asarray(x) ** 2) + np.nanmean(np.asarray(y) ** 2)),
        {"not finite"},
    ),
    "growing": ({}, growing, {"deterministic"}),
    "writing": ({}, writing, {"read only input"}),
    "of-first-stimulus": (
        {},
        lambda x, y: 1 / (1 + np.square(checked(x)[0]).sum() + np.square(checked(y)[0]).sum()),
        {"order of stimuli"},
    ),
    "crashes-when-wide": (
        {},
        lambda x, y: metrics.linear_cka(x, y) if np.shape(x)[1] < len(x) else [][0],
        {"fewer stimuli than units"},
    ),
    "global-random": ({}, lambda x, y: metrics.linear_cka(x, y) * np.random.rand(), {"global random state"}),  # noqa: NPY002
    "single": (
        {},
        lambda x, y: metrics.linear_cka(x, y) * (0.9 if np.asarray(x).dtype == np.float32 else 1.0),
        {"single precision"},
    ),
}


@pytest.mark.parametrize("name", FALSE)
def test_a_false_metric_fails_the_check_that_is_about_it(name, fresh):
    changes, function, expected = FALSE[name]
    register_metric(name, **{**GOOD, **changes})(function)
    failed = {}
    for case, check in METRIC_CASES.items():
        try:
            check(get_metric(name))
        except CheckFailedError as error:
            failed[case] = str(error)
    assert all(failed.values())
    assert expected <= set(failed)


def test_what_holds_and_is_not_declared_is_a_note(fresh):
    register_metric("quiet", **{**GOOD, "symmetric": False, "invariant_to": "translation"})(metrics.linear_cka)
    notes = {case: note for case, check in METRIC_CASES.items() if (note := check(get_metric("quiet")))}
    assert notes.keys() == {"symmetry", "invariances"}
    assert "exchanging x and y changed nothing" in notes["symmetry"]
    said = notes["invariances"].partition(": ")[2].split(", ")
    every = {"isotropic_scaling", "unit_permutation", "orthogonal", "zero_units"}
    assert set(said) == {f"{name} of input {side}" for name in every for side in (0, 1)}


PLUGIN = """
import numpy as np
import semrsm_bench as sb

def checked(x):
    x = np.asarray(x, dtype=float)
    if not np.isfinite(x).all():
        raise ValueError("not finite")
    return x - x.mean(0)

@sb.register_metric("top-angle", takes="features", best="max", range=(0, 1), invariant_to=[{invariances}])
def top_angle(x, y):
    a, b = (np.linalg.svd(checked(side), full_matrices=False)[0][:, 0] for side in (x, y))
    return abs(a @ b)
"""


@pytest.mark.parametrize(
    ("invariances", "status", "reason"),
    [
        ("'orthogonal', 'unit_permutation', 'zero_units', 'translation', 'isotropic_scaling'", "passed", ""),
        (
            "'translation'",
            "passed",
            "not declared, but it changed nothing on random input: isotropic_scaling of input 0",
        ),
        ("'translation', 'unit_scaling'", "failed", "declared invariant to unit_scaling"),
    ],
)
def test_a_metric_in_a_file_is_held_to_what_it_declares(tmp_path, invariances, status, reason):
    (tmp_path / "mine.py").write_text(PLUGIN.replace("{invariances}", invariances))
    command = ["check", str(tmp_path / "mine.py"), "--json", "--case", "invariances", "--case", "symmetry"]
    result = CliRunner().invoke(cli, command, standalone_mode=False)
    (entry,) = json.loads(result.output)
    assert entry["metric"] == "top-angle"
    found = {case["case"]: case for case in entry["cases"]}
    assert (found["invariances"]["status"], found["symmetry"]["status"]) == (status, "passed")
    assert found["invariances"]["reason"].startswith(reason)
    assert bool(found["invariances"]["reason"]) == bool(reason)
    assert result.return_value == (status == "failed")


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
def test_a_false_instance_score_fails_the_check_that_is_about_it(function, changes, case, fresh):
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


STATISTICS = ("brightness", "contrast", "colourfulness", "edge_density")


def statistics(pixels):
    return {name: get_instance(name).run(pixels) for name in STATISTICS}


@pytest.mark.parametrize(
    ("colour", "brightness", "colourfulness"),
    [
        ((0, 0, 0), 0, 0),
        ((255, 255, 255), 1, 0),
        ((90, 90, 90), 90 / 255, 0),
        ((255, 0, 0), 0.299, 0.3 * np.hypot(255, 127.5)),
        ((0, 0, 255), 0.114, 0.3 * 255),
    ],
)
def test_plain_pictures(colour, brightness, colourfulness):
    found = statistics(plain(colour))
    assert found["brightness"] == pytest.approx(brightness)
    assert found["colourfulness"] == pytest.approx(colourfulness)
    assert found["contrast"] == pytest.approx(0, abs=1e-12)
    assert found["edge_density"] == 0


def test_a_step_has_an_edge_two_pixels_wide_and_the_largest_contrast():
    pixels = plain((0, 0, 0))
    pixels[:, :, 8:] = 255
    found = statistics(pixels)
    assert found["edge_density"] == pytest.approx(2 / 16)
    assert found["contrast"] == found["brightness"] == pytest.approx(0.5)


@pytest.mark.parametrize(("step", "share"), [(28, 0.8), (24, 0.0)])
def test_a_slope_is_an_edge_from_a_tenth_of_the_scale_per_pixel(step, share):
    pixels = plain((0, 0, 0), 10)
    pixels[0, :, :, :] = (np.arange(10) * step)[None, :, None]
    # The border columns see half the slope, since the picture is mirrored there.
    assert statistics(pixels)["edge_density"] == pytest.approx(share)


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4, 3)), np.zeros((0, 4, 4, 3), np.uint8)]
)
def test_other_pixels_are_refused(pixels):
    with pytest.raises(ValueError, match="pixels must be"):
        get_instance("brightness").run(pixels)
