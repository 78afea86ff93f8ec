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


def test_names_are_the_methods_and_every_solver_once():
    names = sb.rsm_names()
    assert names[:3] == ["identity", "translation", "pooled"]
    assert set(sb.solver_names()) <= set(names)
    assert len(set(names)) == len(names)
    with pytest.raises(ValueError, match="did you mean 'ortools'"):
        sb.get_rsm("ortols")
    with pytest.raises(KeyError, match="did you mean 'pooled'"):
        sb.get_rsm("poled")


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
    assert "nowhere" in sb.rsm_names()
    assert "nowhere" not in sb.rsm_names(available_only=True)
    with pytest.raises(sb.solvers.SolverUnavailableError, match="no_such_library"):
        compute_rsm(Z, matching="nowhere")


def test_the_name_identity_is_the_matrix_product_and_not_the_solver():
    assert sb.get_rsm("identity").category == "matching"
    flat = Z.reshape(6, -1)
    np.testing.assert_allclose(compute_rsm(Z, matching="identity"), flat @ flat.T, rtol=1e-12)


def test_pooled_is_the_inner_product_of_mean_positions_and_the_mean_over_random_matchings():
    flat, flat2 = Z.reshape(6, 3, 12), Z2.reshape(4, 3, 12)
    means, means2 = flat.mean(axis=2), flat2.mean(axis=2)
    pooled = compute_rsm(Z, Z2, matching="pooled")
    np.testing.assert_allclose(pooled, 12 * means @ means2.T, rtol=1e-12)
    cyclic = [np.einsum("ics,jcs->ij", flat, np.roll(flat2, by, axis=2)) for by in range(12)]
    np.testing.assert_allclose(pooled, np.mean(cyclic, axis=0), rtol=1e-12)
    assert (pooled <= compute_rsm(Z, Z2, matching="scipy") + 1e-12).all()


@pytest.mark.parametrize("sides", [(Z,), (Z, Z2)])
def test_kernels_follow_from_the_methods_own_self_similarities(sides, tmp_path):
    means = [np.sqrt(12) * side.reshape(len(side), 3, 12).mean(axis=2) for side in (sides[0], sides[-1])]
    norms = [np.linalg.norm(m, axis=1) for m in means]
    distances = ((means[0][:, None] - means[1]) ** 2).sum(axis=2)
    kernels = ["linear", "cosine", "rbf"]
    found = compute_rsm(*sides, matching="pooled", kernel=kernels, sigma=2.0)
    np.testing.assert_allclose(found["linear"], means[0] @ means[1].T, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found["cosine"], means[0] @ means[1].T / np.outer(*norms), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(found["rbf"], np.exp(-distances / 8), rtol=1e-11)
    off = distances if len(sides) == 2 else distances[~np.eye(6, dtype=bool)]
    by_rule = compute_rsm(*sides, matching="pooled", kernel="rbf")
    np.testing.assert_allclose(by_rule, np.exp(-distances / (2 * np.median(off))), rtol=1e-10)
    streamed = compute_rsm(*sides, matching="pooled", kernel=kernels, sigma=2.0, out=tmp_path / "k.npy", block=2)
    for kernel in kernels:
        np.testing.assert_allclose(streamed[kernel], found[kernel], rtol=1e-12, atol=1e-13)


def test_kernels_of_several_methods_keep_their_own_self_similarities():
    together = compute_rsm(Z, matching=["pooled", "identity", "scipy"], kernel=["linear", "cosine"])
    for name, rsms in together.items():
        for kernel, rsm in rsms.items():
            np.testing.assert_array_equal(rsm, compute_rsm(Z, matching=name, kernel=kernel))
    assert (np.diag(together["pooled"]["linear"]) < np.diag(together["scipy"]["linear"])).all()


def test_no_cosine_where_an_image_has_no_similarity_with_itself():
    z = Z.copy()
    z[2] = np.where(np.arange(4) % 2, 1.0, -1.0)
    with pytest.raises(ValueError, match=r"by 'pooled', the first is image 2.*cosine"):
        compute_rsm(z, matching="pooled", kernel="cosine")
    assert compute_rsm(z, matching="pooled")[2].tolist() == [0.0] * 6


def test_a_method_without_a_matching_has_no_permutations_and_no_options():
    with pytest.raises(ValueError, match="matches no positions"):
        compute_rsm(Z, matching="pooled", return_permutations=True)
    with pytest.raises(ValueError, match="'pooled' takes no options, got b"):
        compute_rsm(Z, matching="pooled", options={"b": 3})
    both = compute_rsm(Z, matching=["pooled", "batch-optimal-128"], options={"b": 4})
    np.testing.assert_array_equal(both["pooled"], compute_rsm(Z, matching="pooled"))


def test_a_function_and_a_pair_of_functions_are_the_same_method(tmp_path):
    sb.register_rsm("moments", invariant_to="permutation")(second_moments)
    seen = []

    def prepare(image, *, power=1):
        seen.append(image.shape)
        return power * (image @ image.T)

    @sb.register_rsm("moments-apart", invariant_to=["permutation"], prepare=prepare, grid={"scale": [1, 3]})
    def compare(a, b, *, scale):
        return scale * float((a * b).sum())

    assert sb.get_rsm("moments-apart-3").defaults == {"power": 1, "scale": 3}
    expected = second_moments(Z.reshape(6, 3, 12), Z2.reshape(4, 3, 12))
    np.testing.assert_allclose(compute_rsm(Z, Z2, matching="moments"), expected, rtol=1e-12)
    np.testing.assert_allclose(compute_rsm(Z, Z2, matching="moments-apart-1"), expected, rtol=1e-12)
    assert set(seen) == {(3, 12)}
    assert len(seen) == 10, "every image is prepared once in a tile"
    scaled = compute_rsm(Z, Z2, matching="moments-apart-3", options={"power": 2})
    np.testing.assert_allclose(scaled, 12 * expected, rtol=1e-12)
    cosine = compute_rsm(Z, matching="moments-apart-1", kernel="cosine")
    np.testing.assert_allclose(cosine, compute_rsm(Z, matching="moments", kernel="cosine"), rtol=1e-12)
    for name in ("moments", "moments-apart-1"):
        CASES["invariances"](sb.get_rsm(name))
        parallel = compute_rsm(Z, matching=name, n_jobs=2, block=2)
        np.testing.assert_allclose(parallel, compute_rsm(Z, matching=name), rtol=1e-12)
    with pytest.raises(TypeError, match="did you mean 'power'"):
        compute_rsm(Z, matching="moments-apart-1", options={"powr": 2})
    compute_rsm(Z, matching="moments-apart-1", options={"power": 2}, out=tmp_path / "k.npy")
    with pytest.raises(ResumeError, match="options"):
        compute_rsm(Z, matching="moments-apart-1", options={"power": 1}, out=tmp_path / "k.npy")


def test_images_whose_products_leave_float32_are_given_in_float64():
    z = (Z * 1e25).astype(np.float32)
    kinds = []

    @sb.register_rsm("watching")
    def watching(z, z2):
        kinds.append(z.dtype)
        return second_moments(z / 1e25, z2 / 1e25)

    assert np.isfinite(compute_rsm(z, matching="watching")).all()
    assert np.dtype(np.float64) in kinds
    kinds.clear()
    compute_rsm(Z.astype(np.float32), matching="watching")
    assert set(kinds) == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda z, z2: np.zeros((len(z), len(z2) + 1)), "a matrix of shape"),
        (lambda z, z2: np.full((len(z), len(z2)), np.nan), "similarity of nan"),
        (lambda z, z2: np.full((len(z), len(z2)), 1j), "complex128"),
        (lambda z, z2: None, "NoneType"),
    ],
)
def test_what_is_no_matrix_of_similarities_is_refused(answer, said):
    sb.register_rsm("strange")(answer)
    with pytest.raises(InvalidRsmError, match=said):
        compute_rsm(Z, matching="strange")


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"name": "ortools"}, ValueError, "is a solver"),
        ({"name": "pooled"}, ValueError, "registered already"),
        ({"name": "Two Words"}, ValueError, "lower case"),
        ({"name": "own", "invariant_to": "rotation"}, ValueError, "invariant_to takes permutation, translation"),
        ({"name": "own", "power": 2}, TypeError, "no option 'power'"),
        ({"name": "own", "grid": {"p": []}}, ValueError, "empty grid"),
    ],
)
def test_false_registrations_are_refused(arguments, error, said):
    with pytest.raises(error, match=said):
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
