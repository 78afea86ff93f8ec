import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semrsm_bench.report.labels import overlap, place_boxes

BOUNDS = np.array((0.0, 0.0, 400.0, 300.0))
coordinates = st.tuples(st.floats(10, 390), st.floats(10, 290))


@given(st.lists(coordinates, min_size=1, max_size=12))
@settings(max_examples=50, deadline=None)
def test_labels_do_not_overlap_where_there_is_room(points):
    boxes = place_boxes(points, [(60.0, 9.0)] * len(points), BOUNDS)
    for a, b in itertools.combinations(boxes, 2):
        assert overlap(a, b) == pytest.approx(0, abs=1e-9)


def test_a_lone_label_stands_to_the_right_of_its_point_and_inside_the_bounds():
    ((left, bottom, _, top),) = place_boxes([(100, 100)], [(50, 10)], BOUNDS)
    assert 100 < left < 110
    assert bottom < 100 < top
    ((_, _, right, _),) = place_boxes([(395, 100)], [(50, 10)], BOUNDS)
    assert right <= 400


def test_labels_keep_off_points_and_obstacles():
    wall = np.array((100.0, 0.0, 300.0, 300.0))
    (box,) = place_boxes([(95, 150)], [(50, 10)], BOUNDS, [wall])
    assert overlap(box, wall) == 0
    boxes = place_boxes([(100, 100), (130, 100)], [(50, 10)] * 2, BOUNDS)
    assert overlap(boxes[0], np.array((126.0, 96.0, 134.0, 104.0))) == 0
