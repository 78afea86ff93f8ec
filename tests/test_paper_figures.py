import pytest

from semrsm_bench.report.paper import CONDITIONS, PAPER_NAMES, SOURCE, TABLE_5, paper_figure


def test_table_agrees_with_what_the_paper_says_in_its_prose():
    ortools, lapjv, batch = TABLE_5["ortools"], TABLE_5["lapjv"], TABLE_5["batch-optimal-128"]
    assert ortools[4096].seconds == 1.52
    assert lapjv[4096].seconds / ortools[4096].seconds == pytest.approx(
        4, rel=0.02
    )  # "four times faster than the lapjv"
    assert ortools[4096].seconds / batch[4096].seconds == pytest.approx(36, rel=0.04)  # "improving run-time x36"
    assert 1 - batch[4096].quality < 0.08  # "< 8% error"
    assert 1 - TABLE_5["identity"][4096].quality == pytest.approx(0.42, abs=0.005)  # "42% deviation"


def test_every_solver_has_all_three_sizes_and_a_name():
    assert set(TABLE_5) == set(PAPER_NAMES)
    for sizes in TABLE_5.values():
        assert list(sizes) == [256, 1024, 4096]
        assert all(0 < f.quality <= 1 and f.seconds > 0 for f in sizes.values())


def test_larger_is_slower_and_larger_blocks_are_better():
    for sizes in TABLE_5.values():
        seconds = [figure.seconds for figure in sizes.values()]
        assert seconds == sorted(seconds)
    for size in (256, 1024, 4096):
        qualities = [TABLE_5[f"batch-optimal-{b}"][size].quality for b in (128, 256, 512, 1024)]
        assert qualities == sorted(qualities)


def test_the_source_is_named_and_what_it_does_not_measure_is_none():
    assert "Wald" in SOURCE
    assert "Table 5" in SOURCE
    assert "not measured here" in CONDITIONS
    assert paper_figure("ortools", 64) is None
    assert paper_figure("greedy", 256) is None
    assert paper_figure("ortools", 256).seconds == 4.26e-3
