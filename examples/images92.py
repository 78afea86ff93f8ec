"""Monkey and human IT, and judgements, on 92 pictures (Kriegeskorte et al., Neuron 2008), beside an RSM of yours.

    python examples/images92.py FOLDER [RSM.npy]
    python examples/images92.py FOLDER --pictures OUT

FOLDER holds the files of rsatoolbox's demo 92imageData (github.com/rsagroup/rsatoolbox, demos). With --pictures the 92 pictures
are written to OUT, as 00.png to 91.png, so that `data extract` and `rsm` make an RSM of a network on them.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.io import loadmat

import semrsm_bench as sb

IDS = [f"{i:02}.png" for i in range(92)]


def mean_rsm(folder, file, variable, wanted=""):
    """Mean of the RDMs of a file whose names begin so, as similarities with the ids of the pictures."""
    entries = loadmat(folder / file)[variable].ravel()
    rdms = [entry["RDM"] for entry in entries if str(entry["name"][0]).startswith(wanted)]
    return sb.with_ids(-np.mean(rdms, axis=0), IDS, IDS)


def read(folder):
    return {
        "human IT": mean_rsm(folder, "92_brainRDMs.mat", "RDMs", "hIT"),
        "monkey IT": mean_rsm(folder, "92_modelRDMs.mat", "Models", "monkeyIT"),
        "judgements": mean_rsm(folder, "92_behavRDMs.mat", "rdms_behav_92"),
        "animacy": mean_rsm(folder, "92_modelRDMs.mat", "Models", "animacy"),
        "V1 model": mean_rsm(folder, "92_modelRDMs.mat", "Models", "V1"),
    }


def write_pictures(folder, out):
    from PIL import Image

    out.mkdir(parents=True, exist_ok=True)
    for name, entry in zip(
        IDS, loadmat(folder / "Kriegeskorte_Neuron2008_supplementalData.mat")["stimuli_92objs"].flat
    ):
        Image.fromarray(entry["image"]).save(out / name)


def main(folder, *more):
    if more[:1] == ("--pictures",):
        write_pictures(Path(folder), Path(more[1]))
        return
    rsms = read(Path(folder))
    for path in map(Path, more):
        rsms[path.stem], _ = sb.align(sb.load_rsm(path), rsms["human IT"])
    table = {a: {b: sb.metrics.compare_rsms(*sb.align(rsms[a], rsms[b])) for b in rsms} for a in rsms}
    print(pd.DataFrame(table).round(2).to_string())


if __name__ == "__main__":
    main(*sys.argv[1:])
