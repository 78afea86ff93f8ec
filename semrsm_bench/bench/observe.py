"""What runs in a worker for each kind of method. Loaded by its path, so it uses public names of the package alone.

Every observer is a function of (command, inputs, clock, memory): what the parent asked for, arrays by name, the clock that times
the calls, and what the worker keeps between observations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any
from zlib import crc32

import numpy as np

# From this S on one call is timed: the spread between pairs is larger than that between calls.
LARGE = 4096
_MOST_CALLS = 20
_MOST_METRIC_CALLS = 5


class NoPermutationError(Exception):
    """What a solver returned cannot be read as an array."""


def observe(command: Mapping[str, Any], inputs: Mapping[str, Any], clock: Any, memory: Any) -> dict[str, Any]:
    """One method on one case; arrays, duals, info, or a status and a message."""
    return _OBSERVERS[command["kind"]](command, inputs, clock, memory)


def solver(command: Mapping[str, Any], inputs: Mapping[str, Any], clock: Any, memory: Any) -> dict[str, Any]:
    """Match two images again and again, each time under another circular shift of the positions, the same for both.

    Nothing remembered from an earlier call fits the next one, and yet it is the same problem: identity and neighbourhoods keep
    their answers. What comes back is shifted back: all permutations are of the pair as it was given. Repeats continue the same
    sequence of shifts, so there are no more calls than positions.
    """
    import semrsm_bench as sb

    found = sb.get_solver(command["name"])
    options = {**found.options, **command.get("options", {})}
    check = getattr(found, "check_options", None)
    if check is not None:
        check(options)
    x, y = np.asarray(inputs["x"]), np.asarray(inputs["y"])
    size = len(x)
    most = 1 if size >= LARGE else max(1, min(_MOST_CALLS, size - 1))
    sequence = np.random.default_rng(crc32(repr(x.shape).encode())).permutation(size)
    begin = int(command.get("seed", 0)) * (most + 1)
    # Of the calls: each shift; of the first one also the problem, checksums of its arrays, and what the solver returned.
    shifts: list[int] = []
    first: dict[str, Any] = {}

    def fresh(i: int) -> Any:
        shift = int(sequence[(begin + i + 1) % size]) if clock.timed and size else 0
        problem = sb.MatchingProblem(np.roll(x, shift, axis=0), np.roll(y, shift, axis=0))
        if not found.matrix_free:
            clock.shared(lambda: problem.affinity)
        if i == 0:
            first.clear()
            first.update(problem=problem, checksums=_checksums(problem))
        if i >= 0:
            shifts.append(shift)
        return problem

    def call(problem: Any) -> Any:
        result = found.function(problem, **options)
        first.setdefault("result", result)
        try:
            return np.array(getattr(result, "perm", result))
        except (ValueError, TypeError) as error:
            raise NoPermutationError(str(error)[:200]) from None

    shape = ("solver", command["name"], x.shape, str(x.dtype))
    try:
        answers = clock.run(fresh, call, shape=shape, most=most)
    except NoPermutationError as error:
        return {"status": "invalid", "message": f"it returned no permutation: {error}"}
    problem, result = first["problem"], first["result"]
    if found.matrix_free and getattr(problem, "has_affinity", False):
        return {"status": "invalid", "message": "it is registered as matrix_free but used problem.affinity"}
    if _checksums(problem) != first["checksums"]:
        return {"status": "invalid", "message": "it changed its inputs"}
    perms = []
    for perm, shift in zip(answers, shifts, strict=True):
        if perm.shape != (size,) or (size and perm.dtype.kind not in "iu"):
            what = f"{type(getattr(result, 'perm', result)).__name__} of shape {perm.shape} and dtype {perm.dtype}"
            return {"status": "invalid", "message": f"it returned {what}, not a permutation of {size} positions"}
        back = np.roll(perm.astype(np.intp), -shift)
        perms.append(np.where((back >= 0) & (back < size), (back - shift) % max(size, 1), back))
    arrays: dict[str, Any] = {"perms": np.stack(perms)}
    for name, values in zip(("u", "v"), getattr(result, "duals", None) or ()):
        arrays[name] = np.roll(np.asarray(values, dtype=np.float64), -shifts[0])
    return {"arrays": arrays, "info": getattr(result, "info", {})}


def _checksums(problem: Any) -> tuple[int, ...]:
    """Of everything that a solver can reach."""
    arrays = [problem.x, problem.y, *([problem.affinity] if problem.has_affinity else [])]
    return tuple(crc32(np.ascontiguousarray(array).data) for array in arrays)


def rsm(command: Mapping[str, Any], inputs: Mapping[str, Any], clock: Any, memory: Any) -> dict[str, Any]:
    """The RSM of a set of images, under one kernel; one matching serves all kernels that the settings name.

    Repeats see the images in another order, and their entries are put back.
    """
    import semrsm_bench as sb

    name, settings, repeat = command["name"], command["settings"], int(command.get("seed", 0))
    z, z2 = inputs["z"], inputs.get("z2")
    kernels = list(settings.get("kernels") or [settings["kernel"]])
    given = {key: settings[key] for key in ("sigma", "centring") if key in settings}
    if "rule" in settings and getattr(sb.get_rsm(name), "category", "") != "matching":
        given["sigma"] = settings["rule"]
    if settings.get("grid"):
        given["grid"] = tuple(settings["grid"])
    if command.get("options"):
        given["options"] = dict(command["options"])

    def compute(images: Any, database: Any) -> Any:
        return sb.compute_rsm(images, database, kernel=kernels, matching=name, **given)

    def measure() -> Any:
        order = np.random.default_rng(repeat).permutation(len(z)) if repeat else np.arange(len(z))
        (made,) = clock.run(
            lambda i: z[order] if repeat else z,
            lambda images: compute(images, z2),
            warm=lambda: compute(np.asarray(z[:2]), None if z2 is None else np.asarray(z2[:2])),
            shape=("rsm", name, z.shape[1:], str(z.dtype)),
            most=1,
        )
        back = np.argsort(order)
        put_back = {k: m[back] if z2 is not None else m[np.ix_(back, back)] for k, m in made.items()}
        return put_back, list(clock.seconds), clock.peak_bytes

    key = ("rsm", name, repr(given), tuple(kernels), *(_file_of(command, n) for n in ("z", "z2")), repeat)
    found, seconds, peak = memory.get(key, measure)
    clock.seconds[:], clock.peak_bytes = seconds, peak
    return {"arrays": {"rsm": np.asarray(found[settings["kernel"]])}}


def metric(command: Mapping[str, Any], inputs: Mapping[str, Any], clock: Any, memory: Any) -> dict[str, Any]:
    """A metric on two representations; repeats see the stimuli in another order, the same on both sides.

    What can be prepared of one side alone is made once for all its comparisons; its time counts as shared, in every row.
    """
    import semrsm_bench as sb

    found = sb.get_metric(command["name"])
    options = {**found.options, **command.get("options", {})}
    pair = _Pair(found, command, inputs, memory)
    repeat = int(command.get("seed", 0))
    rng = np.random.default_rng(repeat)
    undefined: list[str] = []
    spent: list[float] = []

    def attempt(make: Callable[[], float]) -> float:
        # The inputs are finite and of one length: a metric that refuses them is not defined for their shape, which is an answer.
        try:
            return float(make())
        except ValueError as error:
            undefined.append(str(error))
            return float("nan")

    def whole(sides: tuple[Any, Any]) -> float:
        return attempt(lambda: found.compare(*(found.prepare(side, **options) for side in sides), **options))

    def prepared(name: str, side: Any) -> Any:
        """One side of the case, prepared now or before."""

        def prepare() -> tuple[Any, float]:
            return clock.shared(lambda: found.prepare(side, **options)), clock.shared_seconds.pop()

        made, seconds = memory.get(("prepared", command["name"], repr(options), *pair.made_of(name)), prepare)
        spent.append(seconds)
        return made

    def another_order() -> tuple[Any, Any]:
        return pair.reordered(rng.permutation(len(pair.x)))

    def fresh(i: int) -> Any:
        if i == 0:
            undefined.clear()  # by the warm-up
        if found.pair is None:
            return another_order() if i or repeat else (pair.x, pair.y)
        try:
            return prepared("x", pair.x), prepared("y", pair.y)
        except ValueError as error:
            undefined.append(str(error))
            return None

    def call(sides: Any) -> float:
        return float("nan") if sides is None else attempt(lambda: found.compare(*sides, **options))

    values = clock.run(
        fresh,
        call,
        warm=lambda: whole(another_order()),
        shape=("metric", command["name"], *((a.shape[1:], str(a.dtype)) for a in (pair.x, pair.y))),
        most=_MOST_METRIC_CALLS if found.pair is None else 1,
    )
    if spent:
        clock.shared_seconds[:] = [sum(spent)]
    back = values[0] if found.symmetric else whole(pair.sides("yx"))
    arrays = {"value": np.array(values), "value_yx": np.array([back])}
    if command["settings"].get("leave_one_out"):
        arrays["without"] = np.array([whole(pair.without(i)) for i in range(len(pair.x))])
    return {"arrays": arrays, "info": {"undefined": undefined[0]} if undefined else {}}


class _Pair:
    """The two representations of a case as a metric takes them: features, linear RSMs, or the RSMs that a composite names."""

    def __init__(self, found: Any, command: Mapping[str, Any], inputs: Mapping[str, Any], memory: Any) -> None:
        self._found, self._command, self._inputs, self._memory = found, command, inputs, memory
        self._settings = command["settings"]
        self.x, self.y = self.sides("xy")

    def sides(self, names: str) -> tuple[Any, ...]:
        """Both, each made once; y is permuted where the case says so.

        With the sides exchanged (``yx``), the RSM method that a composite names first is that of y.
        """
        seed = self._settings.get("permuted")
        rsms: Any = getattr(self._found, "rsms", None) or (None, None)
        sides = []
        for name, rsm_of in zip(names, rsms):
            side = self._side(name, rsm_of)
            if name == "y" and seed is not None:
                side = self._taken(side, np.random.default_rng(int(seed)).permutation(len(side)))
            sides.append(side)
        return tuple(sides)

    def _side(self, name: str, rsm_of: tuple[str, str] | None) -> Any:
        import semrsm_bench as sb

        if self._found.takes == "features":
            return np.asarray(self._inputs[name])
        if rsm_of is None:
            linear = ("linear", _file_of(self._command, name))
            return self._memory.get(linear, lambda: sb.metrics.linear_rsm(np.asarray(self._inputs[name])))
        settings, (matching, kernel) = self._settings, rsm_of
        given = {"kernel": kernel, "matching": matching, "centring": settings.get("centring", "channel")}
        if kernel == "rbf" and sb.get_rsm(matching).category == "matching" and settings.get(f"sigma_{name}"):
            # One bandwidth for all that match positions, so that their RSMs compare; others go by the rule.
            given["sigma"] = settings[f"sigma_{name}"]
        grid = settings.get(f"grid_{name}")
        key = ("rsm", repr(given), _file_of(self._command, f"z{name}"))
        z = self._inputs[f"z{name}"]
        return self._memory.get(key, lambda: sb.compute_rsm(z, grid=tuple(grid) if grid else None, **given))

    def made_of(self, name: str) -> tuple[Any, ...]:
        """All that a side depends on."""
        settings = [
            self._settings.get(n) for n in ("centring", f"sigma_{name}", *(("permuted",) if name == "y" else ()))
        ]
        return (repr(settings), *(_file_of(self._command, n) for n in (name, f"z{name}")))

    def reordered(self, order: Any) -> tuple[Any, Any]:
        """Both with their stimuli in another order."""
        return self._taken(self.x, order), self._taken(self.y, order)

    def without(self, i: int) -> tuple[Any, Any]:
        """Both without one stimulus."""
        return self.reordered(np.delete(np.arange(len(self.x)), i))

    def _taken(self, side: Any, order: Any) -> Any:
        return side[np.ix_(order, order)] if self._found.takes == "rsms" else side[order]


def instance(command: Mapping[str, Any], inputs: Mapping[str, Any], clock: Any, memory: Any) -> dict[str, Any]:
    """A score for each stimulus, from representations of several networks that were brought into one space."""
    import semrsm_bench as sb

    found = sb.get_instance(command["name"])
    named = {name: np.asarray(array) for name, array in inputs.items()}
    answers = clock.run(
        # The warm-up sees every array in the reverse order.
        lambda i: {name: a[::-1].copy() for name, a in named.items()} if i < 0 else named,
        lambda given: found.run(given, **command.get("options", {})),
        shape=("instance", command["name"]),
        most=1,
    )
    return {"arrays": {"scores": answers[0]}, "info": {}}


def _file_of(command: Mapping[str, Any], name: str) -> str:
    """What tells an input from others: the file that holds it."""
    return str(command["inputs"].get(name, ""))


_OBSERVERS: dict[str, Callable[..., dict[str, Any]]]
_OBSERVERS = {"solver": solver, "rsm": rsm, "metric": metric, "instance": instance}


def declarations(kinds: list[str] | None = None) -> list[dict[str, Any]]:
    """Declarations of the methods known here; for packages from before declarations those of its solvers."""
    import semrsm_bench as sb

    found = []
    for kind in CASES:
        if (kinds is None or kind in kinds) and f"{kind}_names" in dir(sb):
            for name in getattr(sb, f"{kind}_names")():
                method = getattr(sb, f"get_{kind}")(name)
                declare = getattr(method, "declare", None)
                made = declare().as_dict() if declare is not None else _declared_before(method)
                made["own"] = (getattr(method.function, "__module__", None) or "").startswith("semrsm_bench.")
                found.append(made)
    return found


def _declared_before(solver: Any) -> dict[str, Any]:
    return {
        "kind": "solver",
        "name": solver.name,
        "category": solver.kind,
        "options": dict(solver.options),
        "reason": solver.reason,
        "max_size": solver.max_size,
        "facts": {"matrix_free": bool(solver.matrix_free)},
    }


# Kind -> module and name of the cases of ``semrsm-bench check``; beside them is ``warm_up``.
CASES = {
    "solver": ("semrsm_bench.solvers.check_cases", "CASES"),
    "rsm": ("semrsm_bench.rsm.check_cases", "CASES"),
    "metric": ("semrsm_bench.metrics.check_cases", "METRIC_CASES"),
    "instance": ("semrsm_bench.metrics.check_cases", "INSTANCE_CASES"),
}


def check(kind: str, name: str, case: str) -> dict[str, Any]:
    """Run one case of ``semrsm-bench check``: whether it passed, and why it did not; of one that passed, a note or ""."""
    import semrsm_bench as sb

    module, cases = CASES[kind]
    room = import_module(module)
    method = getattr(sb, f"get_{kind}")(name)
    try:
        note = (room.warm_up if case == "warm up" else getattr(room, cases)[case])(method)
    except room.CheckFailedError as error:
        return {"passed": False, "reason": str(error) or "failed"}
    return {"passed": True, "reason": note or ""}
