import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from semrsm_bench.report.labels import Box, place_boxes, space_out

BOUNDS = Box(0, 0, 400, 300)
coordinates = st.tuples(st.floats(10, 390), st.floats(10, 290))


@given(st.lists(coordinates, min_size=1, max_size=12))
@settings(max_examples=50, deadline=None)
def test_labels_do_not_overlap_where_there_is_room(points):
    boxes = place_boxes(points, [(60.0, 9.0)] * len(points), BOUNDS)
    for a, b in itertools.combinations(boxes, 2):
        assert a.overlap(b) == pytest.approx(0, abs=1e-9)


def test_a_lone_label_stands_to_the_right_of_its_point_and_inside_the_bounds():
    (box,) = place_boxes([(100, 100)], [(50, 10)], BOUNDS)
    assert 100 < box.x0 < 110
    assert box.y0 < 100 < box.y1
    (edge,) = place_boxes([(395, 100)], [(50, 10)], BOUNDS)
    assert edge.x1 <= 400


def test_labels_keep_off_points_and_obstacles():
    wall = Box(100, 0, 300, 300)
    (box,) = place_boxes([(95, 150)], [(50, 10)], BOUNDS, [wall])
    assert box.overlap(wall) == 0
    boxes = place_boxes([(100, 100), (130, 100)], [(50, 10)] * 2, BOUNDS)
    assert boxes[0].overlap(Box(126, 96, 134, 104)) == 0


@given(st.lists(st.floats(-2, 12), min_size=1, max_size=6), st.floats(0.1, 1.4))
@settings(max_examples=60, deadline=None)
def test_spread_is_the_nearest_arrangement(values, distance):
    low, high = 0.0, 10.0
    placed = np.array(space_out(values, distance, low, high))
    order = np.argsort(values, kind="stable")
    assert (np.diff(placed[order]) >= distance - 1e-9).all()
    assert placed.min() >= low - 1e-9
    assert placed.max() <= high + 1e-9
    wanted = np.array(values)[order]
    n = len(values)
    gaps = [{"type": "ineq", "fun": lambda z, i=i: z[i + 1] - z[i] - distance} for i in range(n - 1)]
    best = minimize(
        lambda z: ((z - wanted) ** 2).sum(), low + distance * np.arange(n), bounds=[(low, high)] * n, constraints=gaps
    )
    assert ((placed[order] - wanted) ** 2).sum() <= best.fun + 1e-4


def test_spread_without_room_uses_all_there_is():
    assert space_out([5, 1, 3], 10, 0, 10) == [10, 0, 5]
    assert space_out([], 1, 0, 1) == []
