"""RSM methods by name: what is registered, what kernels follow from, and what checks of false ones find."""

import inspect
import random

import numpy as np
import pytest

import semrsm_bench as sb
from semrsm_bench.core.options import describe
from semrsm_bench.rsm import InvalidRsmError, ResumeError, RsmOptions, compute_rsm, estimate_rsm
from semrsm_bench.rsm.check_cases import CASES, CheckFailedError

RNG = np.random.default_rng(0)
Z, Z2 = RNG.normal(size=(6, 3, 3, 4)) + 0.3, RNG.normal(size=(4, 3, 3, 4)) + 0.3


def second_moments(z, z2):
    grams = [np.einsum("ncs,nds->ncd", a.astype(np.float64), a) for a in (z, z2)]
    return np.einsum("ncd,mcd->nm", *grams)


@pytest.mark.parametrize("case", CASES)
def test_every_rsm_method_passes_every_check(case):
    for name in sb.rsm_names(available_only=True):
        CASES[case](sb.get_rsm(name))


def test_a_solver_is_an_rsm_method_with_its_options_and_availability():
    solver = sb.get_solver("batch-optimal-128")
    declared = sb.get_rsm("batch-optimal-128").declare()
    assert (declared.kind, declared.category) == ("rsm", "matching")
    assert (declared.defaults, declared.version) == (solver.defaults, solver.version)
    assert declared.code != solver.declare().code, "it also depends on the code of this room"
    assert declared.facts == {"invariant_to": [], "symmetric": False}
    assert sb.get_rsm("scipy").declare().facts == {"invariant_to": ["permutation", "translation"], "symmetric": True}

    @sb.register_solver("nowhere", kind="exact", requires=["no_such_library"], max_size=7)
    def nowhere(problem):
        raise AssertionError

    assert sb.get_rsm("nowhere").max_size == 7
    assert "no_such_library" in sb.get_rsm("nowhere").reason
    names = sb.rsm_names()
    assert names[:3] == ["identity", "translation", "pooled"]
    here = {name for name in sb.solver_names() if sb.get_solver(name).in_process}
    assert {"nowhere", *here} <= set(names)
    assert not set(names) & ({*sb.solver_names()} - here)
    assert len(set(names)) == len(names)
    assert "nowhere" not in sb.rsm_names(available_only=True)
    with pytest.raises(sb.solvers.SolverUnavailableError, match="no_such_library"):
        compute_rsm(Z, matching="nowhere")


@pytest.mark.parametrize("sides", [(Z,), (Z, Z2)])
def test_pooled_is_the_rsm_of_mean_positions_and_the_mean_over_random_matchings(sides, tmp_path):
    kernels = ["linear", "cosine", "rbf"]
    means = [np.sqrt(12) * side.reshape(len(side), 3, 12).mean(axis=2, keepdims=True) for side in sides]
    expected = compute_rsm(*means, matching="identity", kernel=kernels)
    for more in ({}, {"out": tmp_path / "k.npy", "block": 2}):
        found = compute_rsm(*sides, matching="pooled", kernel=kernels, **more)
        for kernel in kernels:
            np.testing.assert_allclose(found[kernel], expected[kernel], rtol=1e-10, atol=1e-12)
    flat, flat2 = (side.reshape(len(side), 3, 12) for side in (sides[0], sides[-1]))
    cyclic = [np.einsum("ics,jcs->ij", flat, np.roll(flat2, by, axis=2)) for by in range(12)]
    np.testing.assert_allclose(compute_rsm(*sides, matching="pooled"), np.mean(cyclic, axis=0), rtol=1e-12, atol=1e-13)
    # The name identity is the matrix product, and not the solver.
    np.testing.assert_allclose(compute_rsm(*sides, matching="identity"), cyclic[0], rtol=1e-12, atol=1e-13)


def test_kernels_of_several_methods_keep_their_own_self_similarities():
    together = compute_rsm(Z, matching=["pooled", "identity", "scipy"], kernel=["linear", "cosine"])
    for name, rsms in together.items():
        for kernel, rsm in rsms.items():
            np.testing.assert_array_equal(rsm, compute_rsm(Z, matching=name, kernel=kernel))
    assert (np.diag(together["pooled"]["linear"]) < np.diag(together["scipy"]["linear"])).all()


def test_a_method_without_a_matching_has_no_permutations_no_options_and_no_cosine_of_nothing():
    z = Z.copy()
    z[2] = np.where(np.arange(4) % 2, 1.0, -1.0)
    for how, message in (
        ({"return_permutations": True}, "matches no positions"),
        ({"options": {"b": 3}}, "'pooled' takes no options, got b"),
        ({"kernel": "cosine"}, r"by 'pooled', the first is image 2.*cosine"),
    ):
        with pytest.raises(ValueError, match=message):
            compute_rsm(z, matching="pooled", **how)
    both = compute_rsm(z, matching=["pooled", "batch-optimal-128"], options={"b": 4})
    np.testing.assert_array_equal(both["pooled"], compute_rsm(z, matching="pooled"))
    assert both["pooled"][2].tolist() == [0.0] * 6


def test_a_function_and_a_pair_of_functions_are_the_same_method(tmp_path):
    sb.register_rsm("moments", invariant_to="permutation")(second_moments)
    seen = []

    def prepare(image, *, power=1):
        seen.append(image.shape)
        return power * (image @ image.T)

    @sb.register_rsm("apart", invariant_to=["permutation"], prepare=prepare, grid={"scale": [1, 3]})
    def compare(a, b, *, scale):
        return scale * float((a * b).sum())

    assert sb.get_rsm("apart-3").defaults == {"power": 1, "scale": 3}
    expected = second_moments(Z.reshape(6, 3, 12), Z2.reshape(4, 3, 12))
    for name, factor, options in (("moments", 1, {}), ("apart-1", 1, {}), ("apart-3", 12, {"power": 2})):
        seen.clear()
        found = compute_rsm(Z, Z2, matching=name, options=options)
        np.testing.assert_allclose(found, factor * expected, rtol=1e-12)
        assert seen == ([] if name == "moments" else [(3, 12)] * 10), "every image is prepared once in a tile"
        parallel = compute_rsm(Z, Z2, matching=name, options=options, n_jobs=2, block=2)
        np.testing.assert_allclose(parallel, found, rtol=1e-12)
        CASES["invariances"](sb.get_rsm(name))
    cosines = [compute_rsm(Z, matching=name, kernel="cosine") for name in ("moments", "apart-3")]
    np.testing.assert_allclose(*cosines, rtol=1e-12)
    with pytest.raises(TypeError, match="did you mean 'power'"):
        compute_rsm(Z, matching="apart-1", options={"powr": 2})
    compute_rsm(Z, matching="apart-1", options={"power": 2}, out=tmp_path / "k.npy")
    with pytest.raises(ResumeError, match="options"):
        compute_rsm(Z, matching="apart-1", options={"power": 1}, out=tmp_path / "k.npy")


@pytest.mark.parametrize(("scale", "dtype"), [(1.0, np.float32), (1e25, np.float64)])
def test_images_whose_products_leave_float32_are_given_in_float64(scale, dtype):
    kinds = set()

    @sb.register_rsm("watching")
    def watching(z, z2):
        kinds.add(z.dtype)
        return second_moments(z / scale, z2 / scale)

    assert np.isfinite(compute_rsm((Z * scale).astype(np.float32), matching="watching")).all()
    assert kinds == {np.dtype(dtype)}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (np.zeros((6, 7)), "a matrix of shape"),
        (np.full((6, 6), np.nan), "similarity of nan"),
        (np.full((6, 6), 1j), "complex128"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_matrix_of_similarities_is_refused(answer, said):
    sb.register_rsm("strange")(lambda z, z2: answer)
    with pytest.raises(InvalidRsmError, match=said):
        compute_rsm(Z, Z, matching="strange")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": "ortools"}, "is a solver"),
        ({"name": "pooled"}, "registered already"),
        ({"name": "own", "invariant_to": "rotation"}, "invariant_to takes permutation, translation"),
    ],
)
def test_false_registrations_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        sb.register_rsm(**arguments)(second_moments)
    assert "own" not in sb.rsm_names()


@pytest.mark.parametrize(
    ("case", "function", "declared"),
    [
        ("shapes", lambda z, z2: second_moments(z, z2)[:, :3], {}),
        ("deterministic", lambda z, z2: second_moments(z, z2) + np.random.default_rng().random(), {}),
        ("global random state", lambda z, z2: second_moments(z, z2) + random.random(), {}),
        ("entries of two images", lambda z, z2: second_moments(z - z.mean(axis=0), z2), {}),
        ("symmetry", lambda z, z2: second_moments(np.abs(z) ** 3, z2), {}),
        ("invariances", lambda z, z2: second_moments(z[:, :, :4], z2[:, :, :4]), {"invariant_to": "permutation"}),
        ("invariances", lambda z, z2: second_moments(z[:, :, :4], z2[:, :, :4]), {"invariant_to": "translation"}),
        ("kernels", lambda z, z2: -second_moments(z, z2), {}),
        ("single precision", lambda z, z2: second_moments(z, z2) * z.itemsize, {}),
        ("large and small", lambda z, z2: second_moments(z, z2) + np.square(z.astype(np.float32)).max() * 0, {}),
        ("images of zeros", lambda z, z2: second_moments(z, z2) / z.max(axis=(1, 2))[:, None], {}),
    ],
)
def test_checks_find_false_methods_out(case, function, declared):
    sb.register_rsm("false", **declared)(function)
    with pytest.raises(CheckFailedError), np.errstate(all="ignore"):
        CASES[case](sb.get_rsm("false"))


def test_random_numbers_know_nothing_of_two_images_but_which_they_are():
    z = np.random.default_rng(0).standard_normal((40, 3, 4)).astype(np.float32)
    rsms = compute_rsm(z, matching="random", kernel=["linear", "cosine", "rbf"])
    rsm, upper = rsms["linear"], np.triu_indices(40, 1)
    np.testing.assert_array_equal(rsm, rsm.T)
    np.testing.assert_array_equal(compute_rsm(z[3:9], z[20:], matching="random", block=2), rsm[3:9, 20:])
    assert (compute_rsm(z, matching="random", options={"seed": 1}) != rsm).mean() > 0.9
    assert np.abs(np.quantile(rsm[upper], [0.25, 0.5, 0.75]) - [-0.5, 0, 0.5]).max() < 0.1
    for values in rsms.values():
        np.testing.assert_array_equal(np.argsort(values[upper]), np.argsort(rsm[upper]))
    assert sb.get_rsm("random").declare().category == "baseline"


@pytest.mark.parametrize("function", [compute_rsm, estimate_rsm])
def test_options_are_the_keywords_of_compute_rsm(function):
    shown = inspect.signature(function).parameters
    defaults = {**vars(RsmOptions()), "matching": "ortools", "kernel": "linear", "options": None}
    assert {name: shown[name].default for name in defaults} == defaults
    assert all(parameter.kind is not parameter.VAR_KEYWORD for parameter in shown.values())
    assert all(info.help for info in describe(RsmOptions))
    with pytest.raises(TypeError, match="kernle"):
        function(Z, kernle="rbf")
    with pytest.raises(ValueError, match="matching"):
        function(Z, matching=())
