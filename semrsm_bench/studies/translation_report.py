"""Tables, sentence and notes of the study `translation`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from semrsm_bench.bench.stats import Interval
from semrsm_bench.report.formatting import plural
from semrsm_bench.studies.network_rsms import SEMANTIC, SPATIO_SEMANTIC, How
from semrsm_bench.studies.separation import POOLED, Separation
from semrsm_bench.studies.study import Table

if TYPE_CHECKING:
    from semrsm_bench.studies.translation import Found, Key, Looked


def differences(separations: Mapping[Key, Separation]) -> dict[Key, Interval]:
    """AUROC minus that of the spatio-semantic RSM of the same network, shift, layer and kernel; paired by batch."""
    reference = {_place(key): one for key, one in separations.items() if key.matching == SPATIO_SEMANTIC}
    return {
        key: one.minus(reference[_place(key)])
        for key, one in separations.items()
        if key.matching != SPATIO_SEMANTIC and _place(key) in reference
    }


def _place(key: Key) -> tuple[Any, ...]:
    return key.network, key.shift, key.layer, key.kernel


def verdicts(compared: Mapping[Key, Interval], matching: str) -> tuple[int, int, int]:
    """In how many layers an RSM separates better than the spatio-semantic one, worse, and neither clearly."""
    mine = [interval for key, interval in compared.items() if key.matching == matching]
    better, worse = sum(i.low > 0 for i in mine), sum(i.high < 0 for i in mine)
    return better, worse, len(mine) - better - worse


def sentence(separations: Mapping[Key, Separation], compared: Mapping[Key, Interval]) -> str:
    """What was found, whichever way it fell."""
    better, worse, neither = verdicts(compared, SEMANTIC)
    first = next(iter(separations))
    shifts = "; ".join(dict.fromkeys(str(key.shift) for key in separations))
    several = [
        plural(len({getattr(key, name) for key in separations}), name)
        for name in ("network", "shift", "kernel")
        if len({getattr(key, name) for key in separations}) > 1
    ]
    total = better + worse + neither
    cases = plural(total, "layer")
    if several:
        layers = len({(key.network, key.layer) for key in separations})
        cases = f"{plural(total, 'case')} ({', '.join([plural(layers, 'layer'), *several])})"
    where = f"shifted by {shifts} pixels (down, right)"
    ranges = (
        f"AUROC {_range(separations, SEMANTIC)} against {_range(separations, SPATIO_SEMANTIC)}, and "
        f"{_range(separations, POOLED)} for the {POOLED}, without any matching."
    )
    if len(separations[first].per_batch) < 2:
        return (
            f"On crops {where}, in a single batch and so without an interval, overlapping and unrelated pairs are separated by "
            f"semantic against spatio-semantic RSMs with {ranges}"
        )
    return (
        f"On crops {where}, the semantic RSM separates overlapping from unrelated pairs better than the spatio-semantic one in "
        f"{better} of {cases}, worse in {worse}, with no clear difference in {neither}: "
        f"{ranges}"
    )


def _range(separations: Mapping[Key, Separation], matching: str) -> str:
    values = [float(one.per_batch.mean()) for key, one in separations.items() if key.matching == matching]
    low, high = f"{min(values):.3f}", f"{max(values):.3f}"
    return low if low == high else f"{low} to {high}"


def tables(
    separations: Mapping[Key, Separation], found: Mapping[Key, Found], compared: Mapping[Key, Interval]
) -> list[Table]:
    """Similarities and AUROC of every RSM, and how its AUROC differs from the spatio-semantic one's."""
    varying = [name for name in ("network", "shift", "kernel") if len({getattr(key, name) for key in separations}) > 1]
    constant = [name for name in ("network", "shift", "kernel") if name not in varying]
    first = next(iter(separations))
    title = ", ".join(_word(name, first) for name in constant)

    def head(key: Key) -> list[Any]:
        return [str(getattr(key, name)) for name in varying]

    rows, changes = [], []
    for key, one in separations.items():
        solver = found[key].solver
        name = f"{key.matching} ({solver})" if solver else key.matching
        auroc = one.auroc
        similar, unrelated = float(np.median(one.overlapping)), float(np.median(one.unrelated))
        place = [*head(key), key.layer, found[key].positions, name]
        rows.append([*place, similar, unrelated, auroc.value, auroc.low, auroc.high, 100 * one.partners])
        if key in compared:
            changes.append([*place, *compared[key]])
    columns = [*varying, "layer", "S", "RSM"]
    batches = len(next(iter(separations.values())).per_batch)
    interval = f"low and high: 95 % bootstrap interval over {plural(batches, 'batch')}".replace("batchs", "batches")
    return [
        Table(
            f"Overlapping against unrelated crops ({title})" if title else "Overlapping against unrelated crops",
            [*columns, "overlapping", "unrelated", "AUROC", "low", "high", "partner first %"],
            rows,
            "overlapping, unrelated: median similarity of pairs. AUROC: probability that an overlapping pair is more similar than "
            f"an unrelated one of its batch; mean over batches, {interval}. partner first: crops whose most similar crop is the "
            "one that overlaps with them.",
        ),
        Table(
            "AUROC minus that of the spatio-semantic RSM",
            [*columns, "difference", "low", "high"],
            changes,
            f"Paired by batch; {interval}.",
        ),
    ]


def _word(name: str, key: Key) -> str:
    value = getattr(key, name)
    return {"network": f"{value}", "shift": f"shift {value} pixels", "kernel": f"{value} kernel"}[name]


def notes(looked: Sequence[Looked], how: How, left_out: Sequence[str]) -> list[str]:
    """What a reader must know."""
    result = []
    for one in looked:
        shared = "; ".join(
            f"shift {shift}: {shift.shared(one.size)[0]} x {shift.shared(one.size)[1]} pixels shared"
            for shift in one.shifts
        )
        side = one.scenes.pixels.shape[1]
        result.append(
            f"{one.model.name}: {plural(len(one.scenes), 'picture')} of {side} x {side} pixels in "
            f"{len(one.groups)} batches of {len(one.groups[0])}, crops of {one.size} x {one.size}; {shared}."
        )
    result.append(
        f"Centring {how.centring} within the batch; bandwidth rule {how.sigma}, one sigma for the spatio-semantic, translation "
        "and semantic RSM of a layer and batch. The AUROC inside a batch does not depend on the RBF bandwidth, and the RBF "
        "similarities do not depend on centring by channel."
    )
    result.append(
        "The mean over positions is no RSM of the paper: it compares what is left of a picture when every channel is averaged, "
        "with a bandwidth of its own, and is the cheapest similarity that does not see where things are."
    )
    result.append("The paper prints no figures for this experiment, only pictures of distributions (Fig. 2 and 7).")
    if left_out:
        result.append(f"Left out by --quick for their many positions: {', '.join(left_out)}.")
    return result
