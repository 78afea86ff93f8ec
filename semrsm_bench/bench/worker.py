"""The worker process: carries out the commands of its parent, one JSON line each, and keeps the clock inside.

Standard library and numpy only, and nothing of this package is imported by name until a command needs it (but in the template of
`start.py`): the file is started by its path, beside the package of any commit and under any interpreter. Commands come over a
socket, arrays as ``.npy`` files that are mapped read-only; answers go back the same way. What runs for each kind of method stands
in ``observe.py`` beside it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import faulthandler
import gc
import importlib
import importlib.util
import os
import resource
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

# Taken before any method's file is imported, which might put something else in their place.
from json import dumps, loads
from pathlib import Path
from typing import Any

import numpy as np

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
# Its output goes to a file: a method that never stops printing must not fill the disk.
_LARGEST_FILE = 1 << 30
_PAGE = 4096
# Settings of a worker with its module path, bytes.
_LONGEST_REQUEST = 1 << 18


def own(name: str) -> Any:
    """A module of the package that this file lies in, whatever package is on the search path: ``bench/observe``."""
    full = f"_semrsm_worker_{name.replace('/', '_')}"
    if full not in sys.modules:
        spec: Any = importlib.util.spec_from_file_location(full, Path(__file__).resolve().parents[1] / f"{name}.py")
        sys.modules[full] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full])
    return sys.modules[full]


clock, files, row = own("core/clock"), own("core/files"), own("core/row")


class ResultCache:
    """Results that later cases need again, by key, the oldest dropped beyond a gigabyte."""

    def __init__(self, limit: int = 1 << 30) -> None:
        self._limit, self._size, self._kept = limit, 0, OrderedDict[Any, tuple[Any, int]]()

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        """What is kept under the key, or what ``make`` returns, kept from now on."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        value = make()
        self._kept[key] = (value, _size_of(value))
        self._size += self._kept[key][1]
        while len(self._kept) > 1 and self._size > self._limit:
            self._size -= self._kept.popitem(last=False)[1][1]
        return value


def _size_of(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    parts = value.values() if isinstance(value, Mapping) else value
    return sum(map(_size_of, parts)) if isinstance(value, (Mapping, list, tuple)) else 64


class ReferenceKernel:
    """Fixed work that no commit can change: a small product, row maxima and a sort, about a millisecond together.

    The three stand for what solvers spend their time on: arithmetic, memory and branches.
    """

    def __init__(self) -> None:
        rng = np.random.default_rng(20240501)
        self._square = rng.standard_normal((128, 128), dtype=np.float32)
        self._wide = rng.standard_normal((256, 1024), dtype=np.float32)
        self._line = rng.standard_normal(8192, dtype=np.float32)

    def __call__(self) -> float:
        """Do the work once; the number returned depends on all of it."""
        product = self._square @ self._square
        return float(product[0, 0] + self._wide.max(axis=1)[-1] + self._wide.argmax(axis=1)[0] + np.sort(self._line)[0])

    def seconds(self, times: int = 5) -> float:
        """Fastest of a few calls: what disturbs one of them is not the machine's speed."""
        found: list[float] = []
        for _ in range(times):
            start = clock.perf_counter_ns()
            self()
            found.append((clock.perf_counter_ns() - start) / 1e9)
        return min(found)


class Commands:
    """What the parent may ask for, beside ``describe`` and ``check`` of `observe.py`; ``report`` is what the clock calls."""

    def __init__(self, report: Callable[[str, int], None]) -> None:
        self._report = report
        self._seen: set[Any] = set()
        self._memory, self._arrays = ResultCache(), ResultCache()
        self._reference = ReferenceKernel()
        self._alone = contextlib.ExitStack()

    def load(self, plugins: list[str], entry_points: bool, method: Any = None, scratch: str = "") -> dict[str, Any]:
        """Import the package, the plugins and the room of a method, whose time belongs to no case; where the package lies.

        No other plugin is imported, unless ``entry_points``: the worker of a commit holds all solvers that are there.
        """
        import semrsm_bench

        if scratch:  # the place of temporary files, which the parent removes
            os.environ["TMPDIR"] = tempfile.tempdir = scratch
        if not entry_points:
            from semrsm_bench.core.registry import entry_points_limited_to

            self._alone.enter_context(entry_points_limited_to("none"))
        own("bench/observe")  # before any plugin, as the clock is
        for plugin in plugins:
            semrsm_bench.load_plugin(plugin)
        with contextlib.suppress(Exception):  # what is wrong with the method is said where it is observed
            getattr(semrsm_bench, f"get_{method[0]}")(method[1])
        if compiled := sys.modules.get("semrsm_bench.core.compiled"):  # not where numba is missing
            vars(compiled)["tell"] = lambda: self._report("compiling", 0)
        return {"package": str(Path(semrsm_bench.__file__).resolve())}

    def reference(self) -> dict[str, Any]:
        """Seconds of the reference kernel, now."""
        return {"seconds": self._reference.seconds()}

    def observe(self, **command: Any) -> dict[str, Any]:
        """One observation; see `observe.py`."""
        watch = clock.Clock(self._report, int(command["memory"]), bool(command.get("timed", True)), self._seen)
        with _not_the_methods_fault("its inputs cannot be read"):
            inputs = {name: self._arrays.get(path, partial(_mapped, path)) for name, path in command["inputs"].items()}
        found = _observer(command.get("observer"))(command, inputs, watch, self._memory)
        info, arrays = row.short_info(found.pop("info", {})), {}
        for name, array in found.pop("arrays", {}).items():
            arrays[name] = f"{command['out']}-{name}.npy"
            with _not_the_methods_fault(f"its answer cannot be written to {arrays[name]}"):
                np.save(arrays[name], np.ascontiguousarray(array))
        measured = ("seconds", "shared_seconds", "waited_seconds", "peak_bytes")
        return {**found, "info": info, "arrays": arrays, **{name: getattr(watch, name) for name in measured}}


@contextlib.contextmanager
def _not_the_methods_fault(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise files.MachineError(f"{what}: {files.explain(error)}") from error


def _mapped(path: str) -> Any:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    # Every page once, now: what is read for the first time inside a call would count as memory that the call took.
    array.reshape(-1, order="A").view(np.uint8)[::_PAGE].max(initial=0)
    return array


def _observer(of_task: tuple[str, str, str | None] | None) -> Any:
    """The function that runs an observation: that of the kind, or the one that the task names by module, name and plugin's file."""
    if not of_task:
        return own("bench/observe").observe
    module, name, file = of_task
    if file:
        import semrsm_bench

        semrsm_bench.load_plugin(file)
    return getattr(importlib.import_module(module), name)


def _failure(error: BaseException) -> dict[str, Any]:
    machine = False
    try:
        text = str(error)
        machine = files.of_the_machine(error)
        if machine and isinstance(error, OSError):
            text = files.explain(error)
    except BaseException:  # an error whose text cannot be made is still the method's error
        text = "(its message cannot be shown)"
    if (status := getattr(error, "status", "")) in ("crashed", "memory", "invalid"):  # of a program that the method ran
        return {"status": status, "message": text[:500]}
    # The worker's own limit is met first.
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return {"status": "memory", "message": f"out of memory: {text}"[:500]}
    return {"status": "error", "message": f"{type(error).__name__}: {text}"[:500], "machine": machine}


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _settle(parent: int, cores: Sequence[int]) -> None:
    """Die with the parent, leave no core dumps, show where a crash happened, stay on these cores."""
    _die_with(parent)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)  # so that the parent finds whatever a method starts
    for kind, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, _LARGEST_FILE)):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    faulthandler.enable()
    if cores:
        os.sched_setaffinity(0, cores)


def serve_copies(requests: socket.socket) -> Mapping[str, Any]:
    """Import what workers need, and make a copy of this process for every request; returns in the copy, with its settings."""
    own("bench/observe")
    from semrsm_bench.core.compiled import set_up
    from semrsm_bench.core.registry import registry_of

    set_up()
    for kind in ("solver", "rsm", "metric", "instance"):
        registry_of(kind).find("")  # imports the built-in ones
    gc.collect()
    gc.freeze()
    while True:
        text, given, _, _ = socket.recv_fds(requests, _LONGEST_REQUEST, 2)
        if not text:
            os._exit(0)
        told, tell = os.pipe()
        # The parent of the copy ends at once, so that the copy becomes the child of the process that it works for.
        if not (parent := os.fork()):
            parent = os.getpid()
            if not (copy := os.fork()):
                break
            os.write(tell, str(copy).encode())
            os._exit(0)
        os.waitpid(parent, 0)
        requests.send(os.read(told, _LONGEST_REQUEST))
        for descriptor in (told, tell, *given):
            os.close(descriptor)
    os.setsid()
    pipe, output = given
    for standard in (1, 2):
        os.dup2(output, standard)
    for descriptor in (told, tell, output):
        os.close(descriptor)
    requests.close()
    while os.getppid() == parent:
        time.sleep(0.0005)
    settings = loads(text)
    np.random.seed()  # noqa: NPY002  # copies would all draw the same from the legacy generator
    os.chdir(settings["folder"])
    return {**settings, "pipe": pipe}


def _import_package_alone() -> None:
    """Import the package that this file lies in by its path, not what is installed beside it: other libraries are to run."""
    folder = Path(__file__).resolve().parents[1]
    spec: Any = importlib.util.spec_from_file_location("semrsm_bench", folder / "__init__.py")
    sys.modules["semrsm_bench"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["semrsm_bench"])
    importlib.import_module("semrsm_bench.core.registry").leave_out_what_lacks_libraries()


def main(text: str) -> None:
    """Answer commands over the socket until it closes; settings are JSON. Every message names the command that it belongs to."""
    settings = loads(text)
    if settings["path"]:
        sys.path[:] = settings["path"]
    if settings.get("template"):
        _die_with(settings["parent"])
        settings = serve_copies(socket.socket(fileno=settings["pipe"]))
    _settle(settings["parent"], settings["cores"])
    if settings.get("alone"):
        _import_package_alone()
    pipe = os.fdopen(settings["pipe"], "r+b", buffering=0)
    os.set_inheritable(settings["pipe"], False)
    reader = os.fdopen(os.dup(settings["pipe"]), "rb")
    this, number = os.getpid(), 0

    def send(**message: Any) -> None:
        clock.leave_if_copied(this)
        data = dumps({"id": number, **message}, default=row.plain).encode() + b"\n"
        while data:
            data = data[pipe.write(data) or 0 :]

    def report(stage: str, size: int) -> None:
        send(stage=stage, bytes=size)
        reader.readline()  # the parent has read its clock

    commands = Commands(report)
    for line in reader:
        command = loads(line)
        number, verbose, do = command.pop("id"), command.pop("verbose", False), command.pop("do")
        try:
            carry_out = getattr(commands, do, None) or getattr(own("bench/observe"), do)
            send(done={"status": "ok", **carry_out(**command)})
        except BaseException as error:  # a method may raise SystemExit or KeyboardInterrupt: this costs its row only
            if verbose:
                traceback.print_exc()
            send(done=_failure(error))


if __name__ == "__main__":
    main(sys.argv[1])
