"""What runs in the worker for each kind of method, called here: repeats, what is kept, what a clock gets to see."""

import gc
import itertools
import resource
from typing import ClassVar

import numba
import numpy as np
import pytest

import semrsm_bench as sb
from semrsm_bench.bench import observe
from semrsm_bench.bench.worker import ReferenceKernel, ResultCache
from semrsm_bench.core.clock import MOST_COMPILING, Clock


class Noted:
    """A clock that makes some calls and keeps what it gave them."""

    def __init__(self, calls=3, cold=True):
        self.seconds, self.shared_seconds, self.peak_bytes, self.timed = [], [], None, True
        self.calls, self.cold, self.given = calls, cold, []

    def run(self, fresh, call, *, warm=None, shape=None, most=20):
        if self.cold:
            warm() if warm else call(fresh(-1))
        self.given = [fresh(i) for i in range(min(most, self.calls))]
        self.seconds = [1.0] * len(self.given)
        return [call(given) for given in self.given]

    def shared(self, call):
        self.shared_seconds.append(0.5)
        return call()


def ask(kind, name, inputs, clock=None, memory=None, seed=0, run=7, repeats=6, options=None, **settings):
    given = {"settings": settings, "seed": (run, seed, repeats), "inputs": {n: n for n in inputs}}
    given |= {"options": options} if options else {}
    command = {"kind": kind, "name": name, **given}
    return observe.observe(command, inputs, clock or Noted(), memory or ResultCache())


@pytest.fixture
def z():
    return np.random.default_rng(0).standard_normal((6, 3, 9)).astype(np.float32)


@pytest.fixture
def counted():
    """An RSM method that counts its images."""
    seen: ClassVar = []

    @sb.register_rsm("counted")
    def counted(a, b):
        seen.append((len(a), len(b)))
        return a.mean(axis=2) @ b.mean(axis=2).T

    return seen


@pytest.mark.parametrize("name", ["identity", "scipy", "pooled", "counted"])
@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("seed", [0, 1, 5])
def test_repeats_see_the_images_in_another_order_and_say_the_same(z, counted, name, sides, seed):
    inputs = {"z": z} if sides == 1 else {"z": z, "z2": z[:4] + 1}
    clock = Noted()
    found = ask("rsm", name, inputs, clock, seed=seed, kernel="linear", centring="channel")["arrays"]["rsm"]
    expected = sb.compute_rsm(z, inputs.get("z2"), matching=name, kernel="linear", centring="channel")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert not np.array_equal(clock.given[0], z)


def test_a_kernel_without_a_bandwidth_costs_no_other_kernel(z):
    """Most images are equal: the RBF kernel has no bandwidth, as the task's settings say."""
    alike = {"z": np.concatenate([z[:2], np.repeat(z[:1], 9, axis=0)])}
    settings = {"kernels": ["linear"], "sigma": None, "rule": "offdiag_median"}
    assert ask("rsm", "identity", alike, kernel="linear", **settings)["arrays"]["rsm"].shape == (11, 11)
    with pytest.raises(ValueError, match="median"):
        ask("rsm", "identity", alike, kernel="rbf", **settings)


def test_one_matching_serves_all_kernels_and_no_other_repeat(z, counted):
    memory = ResultCache()
    found = {}
    for kernel in ("linear", "cosine"):
        clock = Noted()
        found[kernel] = ask("rsm", "counted", {"z": z}, clock, memory, kernel=kernel, kernels=["linear", "cosine"])
        assert clock.seconds == [1.0], "each row says how long the matching took"
    once = len(counted)
    assert not np.allclose(*(found[k]["arrays"]["rsm"] for k in found))
    ask("rsm", "counted", {"z": z}, None, memory, seed=1, kernel="linear", kernels=["linear", "cosine"])
    assert len(counted) > once


@pytest.mark.parametrize("seed", [0, 3])
def test_no_two_calls_of_a_metric_get_the_same_order_of_stimuli(seed):
    x, y = np.random.default_rng(1).standard_normal((2, 12, 4))
    seen: ClassVar = []

    @sb.register_metric("noted", takes="features", best="max", range=(-1, 1), symmetric=False)
    def noted(a, b):
        seen.append((a.tobytes(), b.tobytes()))
        return sb.metrics.cka(a @ a.T, b @ b.T)

    values = ask("metric", "noted", {"x": x, "y": y}, seed=seed)["arrays"]["values"]
    np.testing.assert_allclose(values, sb.metrics.cka(x @ x.T, y @ y.T))
    timed = seen[:-1]  # the last call is (y, x)
    assert len(timed) == len(set(timed)) == 4
    assert (x.tobytes(), y.tobytes()) not in seen


@pytest.mark.parametrize(("size", "repeats"), [(9, 8), (16, 3), (64, 8), (256, 1), (256, 5)])
def test_no_two_timed_calls_get_the_same_pair_or_position_vectors(size, repeats):
    """Of one run or of two, which go through the same shifts."""
    x, y = np.random.default_rng(0).standard_normal((2, size, 16))
    seen: ClassVar = []

    @sb.register_solver("noted-solver", kind="baseline")
    def noted_solver(problem):
        seen.append((problem.x, problem.y))
        return np.arange(problem.size)

    for run, repeat in itertools.product((1, 2), range(repeats)):
        ask("solver", "noted-solver", {"x": x, "y": y}, Noted(20, cold=False), seed=repeat, run=run, repeats=repeats)
    half = len(seen) // 2
    assert half >= repeats
    shifted = [np.sort(a, axis=1).tobytes() for a, _ in seen]  # whatever the order of the channels
    assert shifted[:half] == shifted[half:]
    assert len(set(shifted)) == half
    seen.append((x, y))  # the pair as it is given is for the warm-up
    assert len({a.tobytes() + b.tobytes() for a, b in seen}) == len(seen)
    vectors = [{v.tobytes() for v in np.vstack(pair)} for pair in seen]
    assert all(a.isdisjoint(b) for a, b in itertools.combinations(vectors, 2))


@pytest.mark.parametrize("takes", ["features", "rsms", "composite"])
def test_what_a_metric_is_given(z, takes):
    """Parts of both sides, and exchanged, by a metric that tells them apart; what is kept of one part serves no other."""

    x, y = np.random.default_rng(5).standard_normal((2, 6, 6))
    name, parts = f"total-{takes}", [[side[:, :2], side[:, 2:]] for side in (x, y)]
    inputs, settings = {"x": x, "y": y}, {"widths_x": [2, 4], "widths_y": [2, 4]}
    forth = back = parts if takes == "features" else [[sb.metrics.linear_rsm(part) for part in side] for side in parts]
    if takes == "composite":
        name = f"{name}[identity|pooled,rbf]"
        sides = [[z, z[:, :2]], [z[::-1] + 1, z[::-1, 1:]]]
        inputs = {
            name: np.concatenate([part.reshape(6, -1) for part in side], axis=1)
            for name, side in zip(("zx", "zy"), sides, strict=True)
        }
        settings = {f"shapes_{s}": [list(p.shape[1:]) for p in side] for s, side in zip("xy", sides, strict=True)}
        settings["centring"] = "none"
        forth, back = (
            [[sb.compute_rsm(part, matching=how, kernel="rbf") for part in side] for how, side in zip(methods, sides)]
            for methods in (("identity", "pooled"), ("pooled", "identity"))
        )
    pairs = [[0, 0], [0, 1], [1, 1]]
    settings["pairs"] = pairs

    def total(a, b):
        return a.sum() * (b**2).sum()

    @sb.register_metric(f"total-{takes}", takes="features" if takes == "features" else "rsms", best="max",
                        range=(-1e9, 1e9), symmetric=False)  # fmt: skip
    def of_all(a, b):
        return float(total(a, b))

    found = ask("metric", name, inputs, memory=ResultCache(), **settings)["arrays"]
    np.testing.assert_allclose(found["values"], [[total(forth[0][i], forth[1][j]) for i, j in pairs]], rtol=1e-6)
    np.testing.assert_allclose(found["values_yx"], [total(back[1][j], back[0][i]) for i, j in pairs], rtol=1e-6)


class InTwoParts:
    """A metric that is prepared side by side and notes what it sees; it compares no fewer than three stimuli."""

    seen: ClassVar = []

    def prepare(self, x):
        self.seen.append(("prepare", x.tobytes()))
        return x

    def compare(self, a, b):
        self.seen.append(("compare", a.tobytes() + b.tobytes()))
        if len(a) < 3:
            raise ValueError("too few stimuli to compare")
        return float((a * b).sum())


@pytest.mark.parametrize("seed", [0, 2])
def test_a_metric_in_two_parts_is_warmed_up_on_other_inputs_and_prepares_each_side_once(seed):
    sb.register_metric("in-two-parts", takes="features", best="max", range=(-100, 100))(InTwoParts)
    x, y = np.random.default_rng(3).standard_normal((2, 9, 4))
    InTwoParts.seen.clear()
    clock, memory = Noted(), ResultCache()
    found = ask("metric", "in-two-parts", {"x": x, "y": y}, clock, memory, seed=seed)
    assert found["arrays"]["values"].tolist() == [pytest.approx([(x * y).sum()])]
    seen = list(InTwoParts.seen)
    assert [what for what, _ in seen] == ["prepare", "prepare", "compare"] * 2
    assert len(set(seen)) == 6, "the warm-up saw what is timed"
    order = [x.tolist().index(row) for row in np.frombuffer(seen[3][1]).reshape(x.shape).tolist()]
    assert seen[3:5] == [("prepare", x[order].tobytes()), ("prepare", y[order].tobytes())]
    assert sorted(order) == list(range(len(x))) != order
    assert len(clock.shared_seconds) == 1
    clock = Noted(cold=False)
    ask("metric", "in-two-parts", {"x": x, "y": y}, clock, memory, seed=seed)
    assert [what for what, _ in InTwoParts.seen[6:]] == ["compare"]
    assert len(clock.shared_seconds) == 1, "each row says how long both sides took to prepare"


@pytest.mark.parametrize(("digests", "again"), [(["a", "b"], 0), (["b", "a"], 0), (["a", "c"], 1), (None, 2)])
def test_what_is_prepared_of_a_part_serves_cases_that_have_it_in_another_file(digests, again):
    sb.register_metric("in-two-parts", takes="features", best="max", range=(-100, 100))(InTwoParts)
    x, y = np.random.default_rng(3).standard_normal((2, 9, 4))
    memory = ResultCache()
    first = {"digests_x": ["a"], "digests_y": ["b"]}
    ask("metric", "in-two-parts", {"x": x, "y": y}, Noted(cold=False), memory, **first)
    InTwoParts.seen.clear()
    command = {"kind": "metric", "name": "in-two-parts", "seed": (7, 0, 6), "inputs": {"x": "elsewhere", "y": "there"}}
    settings = {f"digests_{side}": [digest] for side, digest in zip("xy", digests or ())}
    sides = (y, x) if digests == ["b", "a"] else (x, y)
    found = observe.observe({**command, "settings": settings}, dict(zip("xy", sides)), Noted(cold=False), memory)
    assert [what for what, _ in InTwoParts.seen] == ["prepare"] * again + ["compare"]
    assert found["arrays"]["values"].tolist() == [pytest.approx([(x * y).sum()])]


@pytest.mark.parametrize("part", ["prepare", "compare"])
def test_what_a_metric_refuses_is_undefined_with_its_words(part):
    class Picky(InTwoParts):
        def prepare(self, x):
            if part == "prepare":
                raise ValueError("too few stimuli to prepare")
            return x

    sb.register_metric(f"picky-{part}", takes="features", best="max", range=(-100, 100), symmetric=False)(Picky)
    found = ask("metric", f"picky-{part}", dict.fromkeys("xy", np.ones((2, 3))))
    assert found["info"] == {"undefined": f"too few stimuli to {part}"}
    assert all(np.isnan(values).all() for values in found["arrays"].values())


def test_the_warm_up_of_an_instance_score_sees_other_inputs():
    seen: ClassVar = []

    @sb.register_instance("noted-instances", best="max", range=(-10, 10))
    def noted(aligned):
        seen.append(aligned.tobytes())
        return np.asarray(aligned)[0, :, 0]

    aligned = np.random.default_rng(2).standard_normal((3, 8, 2))
    found = ask("instance", "noted-instances", {"aligned": aligned})["arrays"]["scores"]
    np.testing.assert_array_equal(found, aligned[0, :, 0])
    assert len(set(seen)) == 2
    assert seen[-1] == aligned.tobytes()


# What the worker keeps, and its clock.


def test_what_is_kept_is_made_once_and_the_oldest_goes():
    memory, made = ResultCache(limit=1000), []

    def make(key, size):
        return memory.get(key, lambda: made.append(key) or np.zeros(size, dtype=np.uint8))

    for key in ("a", "b", "a", "c", "a", "b", "big", "big"):
        size = 5000 if key == "big" else 400
        assert len(make(key, size)) == size
    assert made == ["a", "b", "c", "b", "big"]


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("warm", [True, False])
def test_stages_and_calls_of_the_clock(timed, known, warm):
    stages, calls = [], []
    clock = Clock(lambda stage, size: stages.append(stage), 1 << 33, timed, {"shape"} if known else set())
    warm_up = (lambda: calls.append("warm")) if warm else None
    answers = clock.run(lambda i: i, lambda i: calls.append(i) or i, shape="shape", most=4, warm=warm_up)
    assert stages == ["prepared", "warm", "probed"]
    assert answers == ([0, 1, 2, 3] if timed else [0])
    assert calls == [*(["warm" if warm else -1] if timed and not known else []), *answers]
    assert len(clock.seconds) == len(answers)


@pytest.mark.parametrize("most", [1, 3])
@pytest.mark.parametrize("compiling", [[0], [0, 1], [1], [2], [1, 2, 3]])
def test_a_call_that_still_compiles_is_not_timed(most, compiling):
    """The warm-up has gone another way, or some of the calls go ways of their own."""
    ways = {i: numba.njit(lambda value: 2 * value) for i in compiling}
    stages = []
    clock = Clock(lambda stage, size: stages.append(stage), seen={"shape"})

    def call(i):
        return ways.get(i, lambda value: 2 * value)(i)

    answers = clock.run(lambda i: clock.shared(lambda: i), call, shape="shape", most=most, lasting=1e9)
    made = [i for i in range(10) if i not in compiling][:most]
    assert clock.calls == made
    assert answers == [2 * i for i in range(made[-1] + 1)]
    assert len(clock.seconds) == len(clock.waited_seconds) == len(clock.shared_seconds) == most
    assert stages == ["prepared", "warm", *["again"] * made[0], "probed"]


def test_a_method_that_compiles_in_every_call_is_timed_all_the_same():
    clock = Clock(seen={"shape"})
    answers = clock.run(lambda i: i, lambda i: numba.njit(lambda: i)(), shape="shape", most=2, lasting=1e9)
    assert answers == list(range(MOST_COMPILING + 2))
    assert clock.calls == [MOST_COMPILING, MOST_COMPILING + 1]


@pytest.mark.parametrize(("fewest", "most", "calls"), [(1, 9, 1), (3, 9, 3), (1, 1, 1)])
def test_the_clock_calls_as_often_as_it_must_and_no_more_once_the_time_is_up(fewest, most, calls):
    clock = Clock()
    assert len(clock.run(lambda i: i, lambda i: i, fewest=fewest, most=most, lasting=1e-12)) == calls
    assert len(Clock().run(lambda i: i, lambda i: i, most=most, lasting=1e9)) == most


def test_a_call_that_fails_leaves_no_limit_behind():
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(ZeroDivisionError):
        Clock(memory=1 << 33).run(lambda i: i, lambda i: 1 / 0)
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert gc.isenabled()


def test_the_reference_kernel_does_the_same_each_time():
    assert ReferenceKernel()() == pytest.approx(ReferenceKernel()())
    assert ReferenceKernel().seconds(times=2) > 0


@pytest.mark.parametrize("seed", [0, 5])
def test_methods_of_every_kind_get_the_options_of_the_command(z, seed):
    @sb.register_metric("drawn-metric", takes="features", best="max", range=(0, np.inf))
    def drawn_metric(x, y, *, seed=0):
        return float(seed)

    options = {"seed": seed} if seed else None
    found = ask("rsm", "sliced", {"z": z}, options=options, kernel="linear", centring="none")["arrays"]["rsm"]
    expected = sb.compute_rsm(z, matching="sliced", centring="none", options={"seed": seed})
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    x = z.reshape(6, -1)
    assert (ask("metric", "drawn-metric", {"x": x, "y": x}, options=options)["arrays"]["values"] == seed).all()
    found = ask("solver", "sliced-sort", {"x": x, "y": x[::-1]}, options=options)["arrays"]["perms"]
    assert found.shape[1:] == (6,)


def test_results_are_kept_up_to_a_limit_and_the_oldest_goes_first():
    kept, made = ResultCache(limit=100), []

    def get(key, size=40):
        return kept.get(key, lambda: (made.append(key), np.zeros(size, dtype=np.uint8))[1])

    for key in ("a", "b", "a", "c", "a", "c"):
        get(key)
    # b was in use before a: it gave way to c.
    assert made == ["a", "b", "c"]
    get("b")
    get("c")
    assert made == ["a", "b", "c", "b"]
    assert get("too large", 1000).size == 1000
    get("too large")
    get("b")
    get("c")
    get("b")
    get("c")
    assert made == ["a", "b", "c", "b", "too large", "b", "c"]
