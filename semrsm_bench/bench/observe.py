"""What runs in a worker for each kind of method. Loaded by its path, so it uses public names of the package alone.

Every observer is a function of (command, inputs, clock, memory): what the parent asked for, arrays by name, the clock that times
the calls, and what the worker keeps between observations.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from importlib import import_module
from typing import Any
from zlib import crc32

import numpy as np

# From this S on one call is timed: the spread between pairs is larger than that between calls.
LARGE = 4096
_MOST_CALLS = 20
_MOST_METRIC_CALLS = 5
# Kind -> module and name of the cases of ``semrsm-bench check``; beside them is ``warm_up``.
CASES = {
    "solver": ("semrsm_bench.solvers.check_cases", "CASES"),
    "rsm": ("semrsm_bench.rsm.check_cases", "CASES"),
    "metric": ("semrsm_bench.metrics.check_cases", "METRIC_CASES"),
    "instance": ("semrsm_bench.metrics.check_cases", "INSTANCE_CASES"),
}
_DECLARED_BEFORE = ("name", "reason", "max_size")

Given = Mapping[str, Any]


def observe(command: Given, inputs: Given, clock: Any, memory: Any) -> dict[str, Any]:
    """One method on one case; arrays, duals, info, or a status and a message."""
    observers: Given = {"solver": solver, "rsm": rsm, "metric": metric, "instance": instance}
    found: dict[str, Any] = observers[command["kind"]](command, inputs, clock, memory)
    return found


def solver(command: Given, inputs: Given, clock: Any, memory: Any) -> dict[str, Any]:
    """Match two images again and again, each time with the positions shifted in a circle and the channels reordered, alike in both.

    Nothing remembered from an earlier call fits the next one, and yet it is the same problem: identity and neighbourhoods keep
    their answers. What comes back is shifted back: all permutations are of the pair as it was given. The shifts are the same in
    every run, so that methods that depend on the order of positions compare; its repeats share them out, so that none comes
    twice while there are more positions than repeats. Channels are in another order in every run, so that no file of an
    earlier run fits either. A problem that is a matrix (an input ``affinity``) has its rows and columns shifted.
    """
    import semrsm_bench as sb

    found, is_matrix = sb.get_solver(command["name"]), "affinity" in inputs
    x, y = (np.asarray(inputs[name]) for name in (("affinity",) * 2 if is_matrix else ("x", "y")))
    size = len(x)
    run, repeat, repeats = command.get("seed", (0, 0, 1))
    most = 1 if size >= LARGE else max(1, min(_MOST_CALLS, (size - 1) // repeats))
    sequence = np.random.default_rng(crc32(repr(x.shape).encode())).permutation(max(size - 1, 0)) + 1
    # Packages from before programs have neither.
    prepare, program = getattr(found, "prepare", None), getattr(found, "program", "")
    options = {**found.options, **command.get("options", {})}
    # The shift of each call; seconds that a program says it took; and the first call's problem, checksums of its arrays, and
    # what the solver returned.
    shifts: list[int] = []
    said: list[float | None] = []
    first: dict[str, Any] = {}

    def fresh(i: int) -> Any:
        shift, channels = 0, np.arange(x.shape[1])
        if clock.timed and i >= 0:
            channels = np.random.default_rng([run, repeat, i]).permutation(channels)
            shift = int(sequence[(repeat * most + i) % len(sequence)]) if len(sequence) else 0
        if is_matrix:
            problem = sb.MatchingProblem.from_affinity(np.roll(x, (shift, shift), axis=(0, 1)))
        else:
            problem = sb.MatchingProblem(*(np.roll(z[:, channels], shift, axis=0) for z in (x, y)))
        if not (found.matrix_free or is_matrix):
            clock.shared(lambda: problem.affinity)
        if i == 0:
            said.clear()
            first.clear()
            first.update(problem=problem, checksums=_checksums(problem))
        if i >= 0:
            shifts.append(shift)
        return prepare(problem, **options) if prepare else problem

    def call(problem: Any) -> Any:
        result = found.function(problem, **options)
        first.setdefault("result", result)
        if program:
            said.append(result.info.get("program_seconds"))
        try:
            return np.array(getattr(result, "perm", result))
        except (ValueError, TypeError):  # ragged
            return None

    answers = clock.run(fresh, call, shape=("solver", command["name"], x.shape, str(x.dtype)), most=most)
    problem, result = first["problem"], first["result"]
    if found.matrix_free and problem.has_affinity and not is_matrix:
        return {"status": "invalid", "message": "it is registered as matrix_free but used problem.affinity"}
    if _checksums(problem) != first["checksums"]:
        return {"status": "invalid", "message": "it changed its inputs"}
    perms = []
    for perm, shift in zip(answers, shifts, strict=True):
        if perm is None or perm.shape != (size,) or (size and perm.dtype.kind not in "iu"):
            what = type(getattr(result, "perm", result)).__name__
            what += "" if perm is None else f" of shape {perm.shape} and dtype {perm.dtype}"
            return {"status": "invalid", "message": f"it returned {what}, not a permutation of {size} positions"}
        back = np.roll(perm.astype(np.intp), -shift)
        perms.append(np.where((back >= 0) & (back < size), (back - shift) % max(size, 1), back))
    arrays: dict[str, Any] = {"perms": np.stack(perms)}
    for name, values in zip(("u", "v"), getattr(result, "duals", None) or ()):
        arrays[name] = np.roll(np.asarray(values, dtype=np.float64), -shifts[0])
    if program:
        clock.peak_bytes = None  # of this process, which only waits
    return {"arrays": arrays, "info": getattr(result, "info", {}), "program_seconds": said}


def _checksums(problem: Any) -> tuple[int, ...]:
    """Checksums of everything that a solver can reach."""
    arrays = [problem.x, problem.y, *([problem.affinity] if problem.has_affinity else [])]
    return tuple(crc32(np.ascontiguousarray(array).data) for array in arrays)


def rsm(command: Given, inputs: Given, clock: Any, memory: Any) -> dict[str, Any]:
    """The RSM of a set of images, under one kernel; one matching serves all kernels that the settings name.

    Every run and repeat sees the images in another order, and the entries are put back. An input ``beside`` is another set of
    images, whose RSM is added, untimed.
    """
    import semrsm_bench as sb

    name, settings, seed = command["name"], command["settings"], command.get("seed", (0, 0, 1))[:2]
    kernels = settings.get("kernels") or []
    kernels = list(kernels) if settings["kernel"] in kernels else [settings["kernel"]]
    given = {key: settings[key] for key in ("sigma", "centring") if key in settings}
    if "rule" in settings and (settings.get("sigma") is None or sb.get_rsm(name).category != "matching"):
        given["sigma"] = settings["rule"]
    if settings.get("grid"):
        given["grid"] = tuple(settings["grid"])
    if command.get("options"):
        given["options"] = command["options"]

    def compute(images: Any, database: Any) -> Any:
        return sb.compute_rsm(images, database, kernel=kernels, matching=name, layout="channels_first", **given)

    def measure(z: Any, z2: Any, timed: bool) -> Any:
        order = np.random.default_rng(seed).permutation(len(z))
        if timed:
            made, *_ = clock.run(
                lambda i: z[order],
                lambda images: compute(images, z2),
                warm=lambda: compute(np.asarray(z[:2]), None if z2 is None else np.asarray(z2[:2])),
                shape=("rsm", name, z.shape[1:], str(z.dtype)),
                most=1,
            )
        else:
            made = compute(z[order], z2)
        back = np.argsort(order)
        put_back = {k: m[back] if z2 is not None else m[np.ix_(back, back)] for k, m in made.items()}
        return put_back, list(clock.seconds) if timed else [], clock.peak_bytes if timed else None

    def made_of(first: str, second: str, timed: bool) -> Any:
        key = ("rsm", name, repr(given), tuple(kernels), *map(command["inputs"].get, (first, second)), tuple(seed))
        return memory.get(key, lambda: measure(inputs[first], inputs.get(second), timed))

    found, seconds, peak = made_of("z", "z2", timed=True)
    clock.seconds[:], clock.peak_bytes = seconds, peak
    arrays = {"rsm": np.asarray(found[settings["kernel"]])}
    if "beside" in inputs:
        arrays["beside"] = np.asarray(made_of("beside", "", timed=False)[0][settings["kernel"]])
    return {"arrays": arrays}


def metric(command: Given, inputs: Given, clock: Any, memory: Any) -> dict[str, Any]:
    """A metric on pairs of representations; every run, repeat and call sees the stimuli in another order, the same on both sides.

    ``settings["pairs"]`` are parts of x and of y that are compared, ``widths_x`` how many columns of x each part has; by default
    x is one part. ``digests_x`` say which parts are the same in other files. ``values``, (calls, pairs): more than one call where
    there is one pair. ``values_yx``, (pairs,): with x and y exchanged. What is prepared of one part serves all cases, of all
    tasks, that have it; its time counts as shared.
    """
    import semrsm_bench as sb

    found, settings = _bound(sb.get_metric(command["name"]), command), command["settings"]
    seed = command.get("seed", (0, 0, 1))[:2]
    pairs = [tuple(pair) for pair in settings.get("pairs") or [(0, 0)]]
    specs = found.rsms or (None, None)
    undefined: list[str] = []

    def attempt(make: Callable[[], Any], otherwise: Any) -> Any:
        # The inputs are finite and of one length: a metric that refuses them is not defined for their shape, which is an answer.
        try:
            return make()
        except ValueError as error:
            undefined.append(str(error))
            return otherwise

    def prepared(side: str, part: int, spec: Any, i: int) -> Any:
        def prepare() -> list[Any]:
            order = np.random.default_rng([*seed, i + 1]).permutation(len(next(iter(inputs.values()))))
            given = _part(command, inputs, memory, (side, part, spec), order)
            given = sb.metrics.linear_rsm(given) if found.takes == "rsms" and spec is None else given
            # With no value where it cannot be prepared: the reason is found again with every pair that has it.
            made = attempt(lambda: clock.shared(lambda: found.prepare(given)), None)
            return [made, clock.shared_seconds.pop() if made is not None else 0.0, *undefined[-1:] * (made is None)]

        return memory.get(("part", command["name"], _place(command, side, part, spec), spec, *seed, i), prepare)

    def fresh(i: int, chosen: Any = pairs, sides: tuple[str, str] = ("x", "y")) -> Any:
        # Once for each part, which many pairs share.
        xs, ys = (
            {part: prepared(side, part, spec, i) for part in dict.fromkeys(parts)}
            for side, parts, spec in zip(sides, zip(*chosen), specs, strict=True)
        )
        return [(xs[a], ys[b]) for a, b in chosen]

    def value(a: Any, b: Any) -> float:
        if reasons := [*a[2:], *b[2:]]:
            undefined.append(reasons[0])
            return math.nan
        return float(attempt(lambda: found.compare(a[0], b[0]), math.nan))

    def call(sides: Any) -> Any:
        return np.array([value(a, b) for a, b in sides])

    values = clock.run(
        fresh,
        call,
        warm=lambda: call(fresh(-1, pairs[:1])),
        shape=("metric", command["name"], len(pairs) == 1, *((a.shape[1:], str(a.dtype)) for a in inputs.values())),
        most=_MOST_METRIC_CALLS if found.pair is None and len(pairs) == 1 else 1,
    )
    parts = {id(part): part[1] for pair in fresh(0) for part in pair}
    clock.shared_seconds[:] = [sum(parts.values())] if found.pair is not None else []
    back = values[0] if found.symmetric else call(fresh(0, [(b, a) for a, b in pairs], ("y", "x")))
    unknown = np.isnan(values[0]).any() or np.isnan(back).any()
    info = {"undefined": Counter(undefined).most_common(1)[0][0]} if undefined and unknown else {}
    return {"arrays": {"values": np.array(values), "values_yx": back}, "info": info}


def _bound(found: Any, command: Given) -> Any:
    """A method with the options that the command gives it."""
    more = command.get("options")
    return replace(found, options={**found.options, **more}) if more else found


def _place(command: Given, side: str, part: int, spec: Any) -> Any:
    """What tells a part of a side from all others: its digest where the settings have it, else its file and its number there."""
    digests = command["settings"].get(f"digests_{side}")
    if spec is None and digests:
        return digests[part]
    return command["inputs"].get(side if spec is None else f"z{side}"), part


def _part(command: Given, inputs: Given, memory: Any, which: tuple[str, int, Any], order: Any) -> Any:
    """One part of a side, its stimuli in this order: features, or the RSM of positions that a composite names."""
    import semrsm_bench as sb

    side, part, spec = which
    settings = command["settings"]
    if spec is None:
        ends = np.cumsum([0, *(settings.get(f"widths_{side}") or [inputs[side].shape[1]])])
        return np.asarray(inputs[side][:, ends[part] : ends[part + 1]])[order]
    z = inputs[f"z{side}"]
    if shapes := settings.get(f"shapes_{side}"):
        ends = np.cumsum([0, *(math.prod(shape) for shape in shapes)])
        z = np.ascontiguousarray(z[:, ends[part] : ends[part + 1]]).reshape(len(z), *shapes[part])
    matching, kernel = spec
    given = {
        "layout": "channels_first",
        "matching": matching,
        "kernel": kernel,
        "centring": settings.get("centring", "channel"),
    }
    grid = (settings.get(f"grids_{side}") or [None] * (part + 1))[part]
    made = ("rsm", repr(given), command["inputs"].get(f"z{side}"), part)
    rsm = memory.get(made, lambda: sb.compute_rsm(z, grid=tuple(grid) if grid else None, **given))
    # Row by row is faster than entry by entry.
    return rsm[order].take(order, axis=1)


def instance(command: Given, inputs: Given, clock: Any, memory: Any) -> dict[str, Any]:
    """A score for each stimulus, from representations of several networks that were brought into one space."""
    import semrsm_bench as sb

    named = {name: np.asarray(array) for name, array in inputs.items()}
    answers = clock.run(
        # The warm-up sees every array in the reverse order.
        lambda i: {name: a[::-1].copy() for name, a in named.items()} if i < 0 else named,
        _bound(sb.get_instance(command["name"]), command).run,
        shape=("instance", command["name"]),
        most=1,
    )
    return {"arrays": {"scores": answers[0]}, "info": {}}


def describe(kinds: list[str] | None = None) -> dict[str, Any]:
    """Declarations of the methods known here; ``own`` says that this package brings one."""
    import semrsm_bench as sb

    found = []
    for kind in kinds or CASES:
        for name in getattr(sb, f"{kind}_names")():
            method = getattr(sb, f"get_{kind}")(name)
            own = (getattr(method.function, "__module__", None) or "").startswith("semrsm_bench.")
            if hasattr(method, "declare"):
                made = asdict(method.declare())
            else:  # a solver of a package from before declarations
                made = {"kind": kind, "category": method.kind, **{n: getattr(method, n) for n in _DECLARED_BEFORE}}
            found.append({**made, "own": own})
    return {"declared": found}


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
