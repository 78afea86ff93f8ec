"""CKA of all layers of all networks, by kind of RSM, and which networks and layers are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.studies.cka_values import AllCka, Estimate, all_cka
from semrsm_bench.studies.network_rsms import SEMANTIC, SPATIO_SEMANTIC, LayerRsms

if TYPE_CHECKING:
    from semrsm_bench.activations.models import Model

Matrix = NDArray[np.float64]

KINDS = (SPATIO_SEMANTIC, SEMANTIC)
ALIKE, UNLIKE = "same architecture", "different architectures"


@dataclass(frozen=True)
class Comparison:
    """CKA of the RSMs of all layers of all networks, for one kernel.

    The first half of the rows and columns of ``cka`` is spatio-semantic, the second semantic; inside each stand the layers in
    the order of ``layers``.

    Attributes
    ----------
    kernel : str
    layers : sequence of LayerRsms
    cka : AllCka
    """

    kernel: str
    layers: Sequence[LayerRsms]
    cka: AllCka

    def between(self, a: int, b: int, kind: str) -> Estimate:
        """CKA of the RSMs of that kind of layers a and b."""
        shift = KINDS.index(kind) * len(self.layers)
        return self.cka[a + shift, b + shift]

    def change(self, a: int, b: int) -> Estimate:
        """Semantic minus spatio-semantic."""
        return self.between(a, b, SEMANTIC) - self.between(a, b, SPATIO_SEMANTIC)

    def own(self, a: int) -> Estimate:
        """CKA of the semantic with the spatio-semantic RSM of layer a."""
        return self.cka[a, a + len(self.layers)]

    def matrix(self, kind: str) -> Matrix:
        """All layers with all layers."""
        count = len(self.layers)
        part = slice(0, count) if kind == SPATIO_SEMANTIC else slice(count, None)
        return self.cka.values[part, part]

    @property
    def networks(self) -> dict[str, list[int]]:
        """Places of each network's layers."""
        places: dict[str, list[int]] = {}
        for place, layer in enumerate(self.layers):
            places.setdefault(layer.network, []).append(place)
        return places


def compare(layers: Sequence[LayerRsms], kernel: str, estimator: str, *, quiet: bool = True) -> Comparison:
    """CKA of all RSMs of all layers, for one kernel."""
    rsms = [layer.rsms[kind][kernel] for kind in KINDS for layer in layers]
    return Comparison(kernel, layers, all_cka(rsms, estimator, quiet=quiet))


def architecture_relations(models: Sequence[Model]) -> dict[tuple[str, str], str]:
    """For each pair of networks whether their parameters have the same names and shapes."""
    shapes = {m.name: {name: tuple(p.shape) for name, p in m.network.state_dict().items()} for m in models}
    return {(a, b): ALIKE if shapes[a] == shapes[b] else UNLIKE for a, b in combinations(shapes, 2)}


def same_layers(
    comparison: Comparison, relations: Mapping[tuple[str, str], str]
) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """Pairs of places of layers of one name in two networks, by relation of the networks and name of the layer."""
    places = comparison.networks
    result: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for relation in (ALIKE, UNLIKE):
        for (first, second), here in relations.items():
            for a in places[first]:
                for b in places[second]:
                    name = comparison.layers[a].layer
                    if here == relation and name == comparison.layers[b].layer:
                        result.setdefault((relation, name), []).append((a, b))
    return result
