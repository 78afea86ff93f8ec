"""Settings and fixtures that every test shares."""

import hypothesis
import pytest

from semrsm_bench.solvers import registry

# The first call of a compiled kernel takes seconds, and machines that run tests are busy: no test asserts on time.
hypothesis.settings.register_profile("semrsm_bench", deadline=None)
hypothesis.settings.load_profile("semrsm_bench")


@pytest.fixture(autouse=True)
def _registry_as_it_was():
    """Solvers that a test registers or loads from a file end with it; the package's own stay."""
    before, plugins = set(registry._SOLVERS), dict(registry._PLUGINS)
    yield
    for name, solver in list(registry._SOLVERS.items()):
        if name not in before and not solver.function.__module__.startswith("semrsm_bench."):
            del registry._SOLVERS[name]
    registry._PLUGINS.clear()
    registry._PLUGINS.update(plugins)
