import zipfile

import numpy as np
import pytest

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
        (lambda p: (p / "empty").mkdir() or p / "empty", ValueError, "holds no image"),
        (lambda p: (p / "bad.zip").write_bytes(b"not a zip") and p / "bad.zip", ValueError, "not a readable zip"),
        (lambda p: (p / "a.txt").write_text("x") and p / "a.txt", ValueError, "not an image"),
    ],
)
def test_bad_sources_are_named(tmp_path, make, error, words):
    with pytest.raises(error, match=words):
        find_images([make(tmp_path)])


def test_no_source_is_an_error():
    with pytest.raises(ValueError, match="no image given"):
        find_images([])


def test_decode_keeps_pixels_at_the_right_size_and_crops_the_centre_otherwise():
    import io

    from PIL import Image

    exact = picture(3)
    np.testing.assert_array_equal(decode(exact, 64, "x"), np.asarray(Image.open(io.BytesIO(exact))))
    # A picture black at the left and right quarter and white between: the centre crop of a 2:1 picture is all white.
    wide = np.zeros((64, 128, 3), np.uint8)
    wide[:, 32:96] = 255
    buffer = io.BytesIO()
    Image.fromarray(wide).save(buffer, "PNG")
    assert (decode(buffer.getvalue(), 64, "x") == 255).all()


def test_grey_palette_and_alpha_pictures_become_rgb():
    import io

    from PIL import Image

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


def test_rectangles_are_covered_and_cut_from_the_middle():
    import io

    from PIL import Image

    pixels = np.zeros((40, 100, 3), dtype=np.uint8)
    pixels[:, 40:60] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    assert (decode(buffer.getvalue(), (40, 20), "x") == 255).all()
    np.testing.assert_array_equal(decode(buffer.getvalue(), (40, 100), "x"), pixels)
    wide = decode(buffer.getvalue(), (20, 50), "x")
    assert wide.shape == (20, 50, 3)
    assert (wide[:, 23:27] == 255).all()
    assert (wide[:, :15] == 0).all()
