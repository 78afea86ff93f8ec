"""Images of folders, archives and files: which there are, their labels, and how they are decoded."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from semrsm_bench.activations.images import decode, find_images, load_images, read_classes
from tests.image_files import image_zip, picture


def test_a_zip_and_the_folder_it_unpacks_to_give_the_same_images(tmp_path):
    archive = image_zip(tmp_path / "a.zip", per_class=3)
    with zipfile.ZipFile(archive) as z:
        z.extractall(tmp_path / "folder")
    from_zip, from_folder = find_images([archive]), find_images([tmp_path / "folder"])
    assert [i.name for i in from_zip] == [i.name for i in from_folder]
    assert [i.label for i in from_zip] == [i.label for i in from_folder] == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(load_images(from_zip), load_images(from_folder))


def test_labels_follow_the_order_of_the_given_classes(tmp_path):
    archive = image_zip(tmp_path / "a.zip", per_class=1)
    assert [i.label for i in find_images([archive], ["light", "other", "dark"])] == [2, 0]


def test_a_directory_that_is_no_class_is_named(tmp_path):
    with pytest.raises(ValueError, match="'dark' is not among the 1 classes"):
        find_images([image_zip(tmp_path / "a.zip")], ["light"])


def test_single_files_have_no_label(tmp_path):
    (tmp_path / "one.png").write_bytes(picture(0))
    (tmp_path / "two.PNG").write_bytes(picture(1))
    images = find_images([tmp_path / "two.PNG", tmp_path / "one.png"])
    assert [i.name for i in images] == ["two.PNG", "one.png"]


def test_hidden_files_and_other_files_are_left_out(tmp_path):
    (tmp_path / "a.png").write_bytes(picture(0))
    (tmp_path / "._a.png").write_bytes(b"resource fork")
    (tmp_path / "notes.txt").write_text("no image")
    assert [i.name for i in find_images([tmp_path])] == ["a.png"]


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda p: p / "absent", FileNotFoundError, "no such folder"),
        (lambda p: (p / "empty").mkdir() or p / "empty", ValueError, "empty: no image in it"),
        (lambda p: (p / "bad.zip").write_bytes(b"not a zip") and p / "bad.zip", ValueError, "not a readable zip"),
        (lambda p: (p / "a.txt").write_text("x") and p / "a.txt", ValueError, "a.txt: no image in it"),
    ],
)
def test_bad_sources_are_named(tmp_path, make, error, words):
    with pytest.raises(error, match=words):
        find_images([make(tmp_path)])


def test_no_source_is_an_error():
    with pytest.raises(ValueError, match="no image given"):
        find_images([])


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize("size", [64, (40, 20), (40, 100), (20, 50)])
def test_a_picture_covers_the_frame_and_is_cut_from_the_middle(size, upright):
    # Black but for a white stripe in the middle: 20 of 100 pixels, lying or upright.
    pixels = np.zeros((40, 100, 3), dtype=np.uint8)
    pixels[:, 40:60] = 255
    frame = (size, size) if isinstance(size, int) else size
    found = decode(png(pixels.swapaxes(0, 1) if upright else pixels), frame[::-1] if upright else size, "x")
    found = found.swapaxes(0, 1) if upright else found
    assert found.shape == (*frame, 3)
    scale = max(frame[0] / 40, frame[1] / 100)
    distance = np.abs(np.arange(frame[1]) + 0.5 - frame[1] / 2) / scale
    assert (found[:, distance < 10 - 2 / scale] == 255).all()
    assert (found[:, distance > 10 + 3 / scale] == 0).all()
    if frame == (40, 100):
        np.testing.assert_array_equal(found, pixels)


def test_grey_palette_and_alpha_pictures_become_rgb():
    for mode in ("L", "P", "RGBA", "1", "CMYK"):
        buffer = io.BytesIO()
        Image.new(mode, (70, 64)).save(buffer, "TIFF")
        assert decode(buffer.getvalue(), 64, mode).shape == (64, 64, 3)


def test_a_broken_picture_is_named(tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8 truncated")
    with pytest.raises(ValueError, match=r"bad\.jpg: not a readable image"):
        load_images(find_images([tmp_path]))


def test_classes_file(tmp_path):
    file = tmp_path / "classes.tsv"
    file.write_text("n01\tcat\nn02\tdog\n\n")
    assert read_classes(file) == ["n01", "n02"]
    file.write_text("n01\tcat\nn01\tdog\n")
    with pytest.raises(ValueError, match="twice"):
        read_classes(file)
    file.write_text("\n")
    with pytest.raises(ValueError, match="no class"):
        read_classes(file)
