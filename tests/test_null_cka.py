"""The study of CKA's null: its levels, its calibration, and the picture."""

import numpy as np
import pytest

from semrsm_bench.studies.null_cka import draw, expected_cka, main, null_levels, related_features, significances


def test_levels_follow_the_expectation():
    levels = null_levels(stimuli=(40,), widths=(40, 400), draws=6, quiet=True)
    assert [(level.p, level.estimator) for level in levels] == [
        (40, "biased"), (40, "debiased"), (400, "biased"), (400, "debiased")
    ]  # fmt: skip
    for level in levels:
        expected = expected_cka(40, level.p, level.p) if level.estimator == "biased" else 0.0
        assert level.mean == pytest.approx(expected, abs=0.03)


def test_calibration_brings_both_estimators_together():
    tests = significances(n=60, p=500, shares=(0.0, 0.2), permutations=100)
    assert tests[0.0, "biased"].value > 0.85
    for share in (0.0, 0.2):
        biased, debiased = (tests[share, estimator] for estimator in ("biased", "debiased"))
        assert biased.score == pytest.approx(debiased.score, abs=0.02)
    assert tests[0.2, "biased"].p_value == tests[0.2, "debiased"].p_value == 1 / 101
    assert abs(tests[0.0, "biased"].score) < 0.1


def test_related_features_share_what_they_should():
    X, Y = related_features(400, 3000, 0.3)
    assert np.var(X) == pytest.approx(1.0, abs=0.2)
    shared = np.linalg.svd(X - X.mean(0), compute_uv=False)[:10]
    assert (shared**2).sum() / np.square(X).sum() == pytest.approx(0.3, abs=0.1)
    assert X.shape == Y.shape == (400, 3000)


def test_picture_is_written_and_the_same_every_time(tmp_path, capsys):
    for name in ("a.png", "b.png"):
        main(
            [
                "--out",
                str(tmp_path / name),
                "--draws",
                "2",
                "--permutations",
                "5",
                "--stimuli",
                "10",
                "20",
                "--widths",
                "5",
                "20",
            ]
        )
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert "calibrated" in capsys.readouterr().out
    figure = draw(
        null_levels(stimuli=(10, 20), widths=(5, 10), draws=2, quiet=True), significances(20, 30, permutations=5)
    )
    assert len(figure.axes) == 2
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path / "a.txt")])
