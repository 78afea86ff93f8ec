"""The networks that studies look into: those the project ships, or the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from semrsm_bench.activations.locate import shipped_weights, small_weights
from semrsm_bench.activations.models import Model, load_model


def study_network(model: str | None = None, layers: Sequence[str] = ()) -> Model:
    """The network named by ``model`` (see `load_model`), or the shipped ResNet-18."""
    return load_model(model or str(shipped_weights()), layers)


def study_networks(models: Sequence[str] = (), layers: Sequence[str] = ()) -> list[Model]:
    """The networks named, or the four small ResNets that the project ships (two depths, two seeds).

    Raises
    ------
    ValueError
        Two networks have the same name.
    """
    loaded = [load_model(spec, layers) for spec in (models or [str(path) for path in small_weights()])]
    names = [model.name for model in loaded]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(
            f"two networks are called {twice!r}; rename one of the files, names tell them apart in the tables"
        )
    return loaded


def provenance(models: Sequence[Model]) -> list[dict[str, Any]]:
    """What goes into ``inputs`` of a study."""
    return [{"model": model.name, "weights_sha256": model.weights_sha256} for model in models]
