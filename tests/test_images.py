"""Images of folders, archives and files: which there are, their labels, and how they are decoded."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from semrsm_bench.activations.images import ImageRef, choose_images, decode, find_images, load_images
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
    archive, file = image_zip(tmp_path / "a.zip", per_class=1), tmp_path / "classes.tsv"
    file.write_text("light\tbright\nother\nn02\ndark\tno light\n\n")
    assert [i.label for i in find_images([archive], file)] == [3, 0]
    for text, message in (
        ("light\n", "'dark' is not among the 1 classes"),
        ("n01\tcat\nn01\tdog\n", "a class is listed twice"),
        ("\n", "no class in this file"),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=message):
            find_images([archive], file)


@given(st.integers(1, 6), st.integers(1, 8), st.integers(-1, 50), st.integers(0, 3))
def test_a_choice_of_images_spreads_over_the_classes(classes, each, count, seed):
    refs = [ImageRef(None, f"{c}/{i}", c) for c in range(classes) for i in range(each)]
    if not 1 <= count <= len(refs):
        with pytest.raises(ValueError, match=f"asked for {count} images of {len(refs)}"):
            choose_images(refs, count)
        return
    chosen = choose_images(refs, count, seed)
    assert chosen == sorted(set(chosen)) == choose_images(refs, count, seed)
    assert np.ptp(np.bincount([refs[i].label for i in chosen], minlength=classes)) <= 1
    many = [ImageRef(None, str(i), 0) for i in range(50)]
    assert choose_images(many, 10, seed) != choose_images(many, 10, seed + 1)


def test_single_files_have_no_label_and_files_that_are_no_image_are_left_out(tmp_path):
    for name in ("one.png", "two.PNG"):
        (tmp_path / name).write_bytes(picture(0))
    (tmp_path / "._a.png").write_bytes(b"resource fork")
    (tmp_path / "notes.txt").write_text("no image")
    given = [tmp_path / "two.PNG", tmp_path / "one.png"]
    for sources, names in (([tmp_path], ["one.png", "two.PNG"]), (given, ["two.PNG", "one.png"])):
        assert [(image.name, image.label) for image in find_images(sources)] == [(name, -1) for name in names]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent", None, "no such folder"),
        ("empty", "", "empty: no image in it"),
        ("bad.zip", b"not a zip", "not a readable zip"),
        ("a.txt", b"x", r"a\.txt: no image in it"),
        ("bad.jpg", b"\xff\xd8 truncated", r"bad\.jpg: not a readable image"),
    ],
)
def test_bad_sources_are_named(tmp_path, name, content, words):
    if content == "":
        (tmp_path / name).mkdir()
    elif content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        load_images(find_images([tmp_path / name]))
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
