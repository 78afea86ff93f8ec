"""Files of the form that rsatoolbox distributes of the 92 pictures, with numbers of our own."""

import numpy as np
from scipy.io import savemat
from scipy.spatial.distance import pdist, squareform


def write_images92(folder):
    """Write them; returns the points (92, 5) whose distances the judgements are; those of the others have noise."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(92, 5))

    def rdms(*names, noise=0.0):
        moved = [points + noise * rng.normal(size=points.shape) for _ in names]
        entries = [(squareform(pdist(p)), np.array([name])) for p, name in zip(moved, names)]
        return np.array(entries, dtype=[("RDM", object), ("name", object)])[None]

    folder.mkdir(exist_ok=True)
    savemat(folder / "92_brainRDMs.mat", {"RDMs": rdms("hIT | A | Session: 1", "hIT | B | Session: 1", noise=0.3)})
    savemat(folder / "92_modelRDMs.mat", {"Models": rdms("animacy", "monkeyIT", "V1", noise=1.0)})
    savemat(folder / "92_behavRDMs.mat", {"rdms_behav_92": rdms("simJudge | subject1")})
    pictures = np.array([(rng.integers(0, 256, (20, 20, 3), np.uint8),) for _ in points], dtype=[("image", object)])
    savemat(folder / "Kriegeskorte_Neuron2008_supplementalData.mat", {"stimuli_92objs": pictures[None]})
    return points
