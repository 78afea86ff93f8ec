"""Settings and fixtures that every test shares."""

import shutil
import sys

import hypothesis
import pytest

from semrsm_bench.bench import drift
from semrsm_bench.core import registry

from .bench_data import KeptWorkers
from .browser import Browser, find_browser

# The first call of a compiled kernel takes seconds, and machines that run tests are busy: no test asserts on time.
hypothesis.settings.register_profile("semrsm_bench", deadline=None)
hypothesis.settings.load_profile("semrsm_bench")


@pytest.fixture(scope="module")
def chromium():
    """A browser for the tests of a module."""
    if find_browser() is None:
        pytest.skip("no Chromium is installed; install the package chromium to test pages")
    with Browser() as running:
        yield running


@pytest.fixture(scope="module")
def client():
    """A client of a Dask cluster on loopback: two worker processes of one thread each."""
    distributed = pytest.importorskip("distributed")
    from semrsm_bench.rsm.tiles import connect

    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None, silence_logs=50
        ) as running,
        connect(running.scheduler_address) as connected,
    ):
        yield connected


@pytest.fixture
def same_place(tmp_path_factory):
    """An empty folder, the same for every test: workers begin as copies only while no variable and no path changes."""
    folder = tmp_path_factory.getbasetemp() / "place"
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():  # not the folder itself, where processes may be at work
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return folder


@pytest.fixture
def user_cache(same_place, monkeypatch):
    """The user's folder of caches, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(same_place / "user-cache"))
    return same_place / "user-cache"


@pytest.fixture(scope="session")
def _workers():
    with KeptWorkers() as workers:
        yield workers


@pytest.fixture
def kept_workers(_workers):
    """Runs in this process share their workers with those of other tests."""
    with _workers.lent():
        yield


@pytest.fixture(autouse=True)
def _no_drift(monkeypatch):
    """Nothing is measured again because the machine of the tests has other work; tests of that bring a machine of their own."""
    monkeypatch.setattr(drift, "FEWEST", 1 << 30)


@pytest.fixture(autouse=True)
def _registries_as_they_were():
    """Methods that a test registers or loads from a file end with it; the package's own stay."""
    before = {noun: set(one._entries) for noun, one in registry.REGISTRIES.items()}
    plugins, path = dict(registry._plugins), list(sys.path)
    yield
    for noun, one in registry.REGISTRIES.items():
        for name, entry in list(one._entries.items()):
            if name not in before.get(noun, ()) and not entry.module.startswith("semrsm_bench."):
                one.forget(name)
    for name in [m for m in sys.modules if m.startswith(registry.PLUGIN_MODULE)]:
        del sys.modules[name]
    registry._plugins.clear()
    registry._plugins.update(plugins)
    sys.path[:] = path


@pytest.fixture(scope="session")
def nets(tmp_path_factory):
    """Files of small untrained networks, by name."""
    pytest.importorskip("torch")
    from tests.small_networks import save_untrained

    return save_untrained(tmp_path_factory.mktemp("networks"))
