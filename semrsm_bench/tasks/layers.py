"""Does a metric find the same layer of another network? And how alike does it find layers and networks?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import combinations
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.store import CENTRINGS
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.options import option
from semrsm_bench.core.stats import row_weights, weighted_mean
from semrsm_bench.core.task import Answer, Arrays, Case, Floats, Profile, Result, Score, Scored, Task
from semrsm_bench.metrics.ranks import TIE
from semrsm_bench.tasks.networks import CountOptions, NetworkActivations, identity_bandwidth
from semrsm_bench.tasks.registry import register_task

# Which networks the two layers of a case belong to; the last three by what the networks have in common.
ITSELF, WITHIN = "same layer", "same network"
ALIKE, SAME_WIDTH, ACROSS = "same architecture", "same width", "across widths"
MATCHED, PERMUTED = "matched", "permuted"
LEAST_IMAGES = 10
# What reordering the stimuli may change a value by, as a share of it, or of 1 where it is smaller.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class LayersOptions(CountOptions):
    """Networks, layers and pictures."""

    centring: str = option(
        "channel", help="Which means are subtracted before the RSMs of composites.", choices=CENTRINGS
    )
    permuted: int | None = option(
        None, help="How often the second network's pictures are reordered to see what chance gives.", minimum=0
    )
    leave_one_out: bool | None = option(
        None, help="Also without each picture in turn, for intervals over pictures; default: the profile's."
    )


@dataclass(frozen=True)
class Layer:
    """One layer of a network on the pictures; its place is counted from the input on."""

    seen: NetworkActivations
    name: str
    place: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """N, C and S."""
        return self.seen.shape(self.name)

    @cached_property
    def pooled(self) -> NDArray[np.float32]:
        """Means over positions, (N, C)."""
        return np.asarray(self.positions().mean(axis=2, dtype=np.float64), dtype=np.float32)

    @cached_property
    def sigma(self) -> float | None:
        """Bandwidth of RBF kernels, one for all that match positions; None where there is none."""
        try:
            return identity_bandwidth(self.positions())
        except ValueError:
            return None

    def positions(self) -> NDArray[np.float32]:
        """Activations, (N, C, S)."""
        return self.seen.activations(self.name)


@register_task
class Layers(Task):
    """Metrics on layers of networks."""

    name = "layers"
    question = "Does a metric find the same layer of another network?"
    kind = "metric"
    scores = (
        Score("identification", "layers identified %", style="percent"),
        Score("same", "value, same layer", low=-float("inf"), high=float("inf")),
        Score("value", "value, all pairs", low=-float("inf"), high=float("inf")),
    )
    unit = "network"
    resampling: ClassVar[Literal["bootstrap", "jackknife"]] = "jackknife"
    across = ("networks", "pictures")
    options = LayersOptions
    source = "Kornblith et al., ICML 2019, section 6.1; Wald et al., NeurIPS 2024, appendix G, Figs. 15-17"
    profiles: ClassVar[Mapping[str, Profile]] = {
        "quick": Profile("60 pictures", {"count": 60, "permuted": 1, "leave_one_out": False}, 600.0, 1200.0),
        "paper": Profile(
            "60 pictures, and without each of them", {"count": 60, "permuted": 1, "leave_one_out": True}, 1800.0, 7200.0
        ),
    }

    def cases(self, options: LayersOptions) -> Iterator[Case]:
        """All pairs of layers, of one network and of two; pairs of two networks also with the pictures of one reordered."""
        seen, _ = options.seen(least=LEAST_IMAGES)
        networks = [[Layer(one, name, place) for place, name in enumerate(one.layers)] for one in seen]
        for layers in networks:
            for layer in layers:
                yield _case(options, (layer, layer), ITSELF, same=True)
            for pair in combinations(layers, 2):
                yield _case(options, pair, WITHIN)
        for first, second in combinations(networks, 2):
            group, partners = _relation(first, second), dict(_partners(first, second))
            for a in first:
                for b in second:
                    for seed in (None, *range(options.permuted or 0)):
                        yield _case(options, (a, b), group, same=partners.get(a) is b, permuted=seed)

    def score(self, case: Case, arrays: Arrays, answer: Answer, truth: Any, declared: Declaration) -> Scored:
        """The value; NaN is undefined, and a value outside of the declared range or that moves with the order is invalid."""
        sides, same = case.known
        values = np.asarray(answer.arrays["value"], dtype=np.float64)
        value, back = float(values[0]), float(answer.arrays["value_yx"][0])
        low, high = (end if end is not None else sign * np.inf for end, sign in zip(declared.facts["range"], (-1, 1)))
        slack = _TOLERANCE * max(1.0, abs(value))
        for found in (value, back):
            if found < low - slack or found > high + slack:
                return Scored(status="invalid", message=f"{found:.6g} is outside of its range, {low:g} to {high:g}")
        if not np.allclose(values, value, rtol=0, atol=slack, equal_nan=True):
            other = values[np.nanargmax(np.abs(values - value))]
            message = f"with the pictures in another order on both sides it gave {other:.6g}, not {value:.6g}"
            return Scored(status="invalid", message=message)
        raw: dict[str, Any] = {"value_yx": back, "best": declared.facts["best"], "same": same}
        for prefix, layer in zip(("", "other_"), sides):
            _, channels, positions = layer.shape
            entries = {"network": layer.seen.name, "layer": layer.name, "place": layer.place}
            raw |= {prefix + k: v for k, v in {**entries, "channels": channels, "positions": positions}.items()}
        kept = {"without": answer.arrays["without"]} if "without" in answer.arrays else {}
        return Scored({"value": value}, raw, kept)

    def aggregate(self, results: Sequence[Result], draws: Floats, units: Sequence[str]) -> dict[str, Floats]:
        """Share of layers whose best match in another network is the same layer, and mean values.

        Of both directions of every pair of networks. Tied matches share the credit, and what is undefined earns none.
        """
        values = np.array([result.score("value") for result in results])
        weights = row_weights([r.units[self.unit] for r in results], draws, units)
        same = np.array([bool(r.raw["same"]) for r in results])
        found = {"value": weighted_mean(values, weights)}
        if same.any():
            found["same"] = weighted_mean(values[same], weights[:, same])
        if pairs := _accuracies(results):
            shares = np.array(list(pairs.values()))
            found["identification"] = weighted_mean(shares, row_weights(list(pairs), draws, units))
        return found


def _case(
    options: LayersOptions, sides: tuple[Layer, Layer], group: str, *, same: bool = False, permuted: int | None = None
) -> Case:
    a, b = sides
    inputs: dict[str, Any] = {"zx": a.positions, "zy": b.positions}
    order = "" if permuted is None else f"/permuted-{permuted}"
    settings: dict[str, Any] = {"centring": options.centring, "leave_one_out": bool(options.leave_one_out)}
    for side, layer in zip("xy", sides):
        settings |= {f"grid_{side}": layer.seen.grid(layer.name), f"sigma_{side}": partial(getattr, layer, "sigma")}
    if permuted is not None:
        # All pairs see the same order, so that means over pairs are those of one reordering.
        settings |= {"permuted": 1000 * options.seed + permuted, "leave_one_out": False}
    images, channels, positions = max((layer.shape for layer in sides), key=lambda shape: shape[2])
    return Case(
        f"{a.seen.name}/{a.name}/{b.seen.name}/{b.name}/{options.centring}{order}",
        {"networks": group, "pictures": MATCHED if permuted is None else PERMUTED, "images": images},
        lambda: {"x": a.pooled, "y": b.pooled, **inputs},
        {"network": tuple(dict.fromkeys(layer.seen.name for layer in sides))},
        settings,
        "-".join(layer.seen.sha256[:32] for layer in sides),
        positions,
        channels,
        known=(sides, same),
    )


def _relation(first: Sequence[Layer], second: Sequence[Layer]) -> str:
    weights = [layers[0].seen.model.network.state_dict() for layers in (first, second)]
    shapes = [{name: tuple(p.shape) for name, p in one.items()} for one in weights]
    if shapes[0] == shapes[1]:
        return ALIKE
    return SAME_WIDTH if all(a.shape[1] == b.shape[1] for a, b in _partners(first, second)) else ACROSS


def _partners(first: Sequence[Layer], second: Sequence[Layer]) -> list[tuple[Layer, Layer]]:
    """The same layers of two networks: those of one name, or where no name is the same, of one place among as many."""
    named = {layer.name: layer for layer in second}
    if any(layer.name in named for layer in first):
        return [(layer, named[layer.name]) for layer in first if layer.name in named]
    return list(zip(first, second)) if len(first) == len(second) else []


def _accuracies(results: Sequence[Result]) -> dict[tuple[str, str], float]:
    """Share of the first network's layers that are found in the second, for each ordered pair of networks."""
    # For each layer: all candidates, with their similarity and whether they are the right one.
    candidates: dict[tuple[str, str], dict[tuple[str, str], list[tuple[float, bool]]]] = {}
    for result in results:
        raw, repeat = result.raw, result.case.rpartition("/")[2]
        sign = 1.0 if raw["best"] == "max" else -1.0
        for side, other, value in (("", "other_", result.scores.get("value")), ("other_", "", raw["value_yx"])):
            networks = raw[f"{side}network"], raw[f"{other}network"]
            similarity = -np.inf if value is None else sign * float(value)
            if networks[0] != networks[1]:
                seen = candidates.setdefault(networks, {}).setdefault((raw[f"{side}layer"], repeat), [])
                seen.append((similarity, bool(raw["same"])))
    accuracies = {}
    for networks, layers in candidates.items():
        credits = []
        for found in layers.values():
            # Where there is one candidate, or none that is right, there is nothing to find.
            if len(found) > 1 and any(right for _, right in found):
                best = max(similarity for similarity, _ in found)
                tied = [right for similarity, right in found if similarity >= best - TIE * abs(best)]
                credits.append(np.mean(tied) * np.isfinite(best))
        if credits:
            accuracies[networks] = float(np.mean(credits))
    return accuracies
