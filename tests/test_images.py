"""Images of folders, archives and files: which there are, their labels, and how they are decoded."""

import io
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from semrsm_bench.activations.images import (
    MAX_PIXELS,
    Cover,
    ImageRef,
    Tally,
    choose_images,
    decode,
    find_images,
    load_images,
    require_distinct,
)
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
    assert [(image.name, image.label) for image in find_images(given)] == [("two.PNG", -1), ("one.png", -1)]
    with pytest.warns(UserWarning, match=r"left out 1 ending in \.txt, 1 hidden$"):
        found = find_images([tmp_path])
    assert [(image.name, image.label) for image in found] == [("one.png", -1), ("two.PNG", -1)]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent", None, "no such folder"),
        ("empty", "", "empty: no image in it"),
        ("bad.zip", b"not a zip", "not a readable zip"),
        ("a.txt", b"x", r"a\.txt: no image in it .*there are 1 ending in \.txt"),
        ("bad.jpg", b"\xff\xd8 truncated", r"bad\.jpg: not a readable image \(cannot identify image file\)$"),
        ("cut.png", picture(0)[:-500], r"cut\.png: not a readable image \(.*truncated"),
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


def encoded(image, kind="PNG", **how):
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def arrow(upright=True):
    """A white corner at the upper left of a wide picture, or the same turned a quarter to the left."""
    pixels = np.zeros((20, 40, 3), dtype=np.uint8)
    pixels[:10, :10] = 255
    return Image.fromarray(pixels if upright else np.ascontiguousarray(np.rot90(pixels)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_that_a_camera_held_askew_is_turned_upright(kind):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera's: turn by a quarter to the right to see it
    tally = Tally()
    found = decode(encoded(arrow(upright=False), kind, exif=exif), (20, 40), "x", tally)
    np.testing.assert_allclose(found.astype(int), np.asarray(arrow()), atol=40)
    assert (tally.seen, tally.sizes) == ({"turned upright (EXIF)": 1}, {(40, 20): 1})


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_of_16_bits_keeps_its_range(kind):
    grey = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    found = decode(encoded(Image.fromarray(grey), kind), 64, "x", tally := Tally())
    np.testing.assert_allclose(found, np.repeat(grey[..., None] / 257, 3, axis=2), atol=0.5)
    assert tally.seen == {"of 16-bit grey, scaled to 8": 1}
    for numbers in (grey.astype(np.float32), grey.astype(np.int32)):
        with pytest.raises(ValueError, match=r"x: not a readable image .*32 bits .* save it with 8 or 16 bits"):
            decode(encoded(Image.fromarray(numbers), "TIFF"), 64, "x")


def test_what_is_transparent_shows_white():
    pixels = np.zeros((64, 64, 4), dtype=np.uint8)
    pixels[:, :, 0] = 200
    pixels[:32, :, 3] = 255
    pixels[32:48, :, 3] = 51
    image = Image.fromarray(pixels)
    found = decode(encoded(image), 64, "x", tally := Tally())
    for rows, share in ((slice(0, 32), 1.0), (slice(32, 48), 0.2), (slice(48, 64), 0.0)):
        expected = share * np.array([200, 0, 0]) + (1 - share) * 255
        np.testing.assert_allclose(found[rows], np.broadcast_to(expected, found[rows].shape), atol=1)
    assert tally.seen == {"transparent, laid on white": 1}
    palette = Image.fromarray(np.repeat([[0], [1]], 32, axis=0).repeat(64, axis=1).astype(np.uint8), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    found = decode(encoded(palette, transparency=0), 64, "x", tally)
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[-1, 0].tolist() == [40, 50, 60]
    opaque = Tally()
    assert decode(encoded(palette), 64, "x", opaque)[0, 0].tolist() == [10, 20, 30]
    decode(encoded(Image.new("RGBA", (64, 64), (1, 2, 3, 255))), 64, "x", opaque)
    assert not opaque.seen


def test_the_first_of_several_frames_is_taken_and_said():
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    found = decode(encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]), 64, "x", tally := Tally())
    assert found[0, 0].tolist() == [255, 0, 0]
    assert tally.seen == {"with several frames, of which the first is taken": 1}


@pytest.mark.parametrize("side", [10_001, 20_000])
@pytest.mark.filterwarnings("error")
def test_a_picture_that_would_fill_the_memory_is_refused_before_it_is_unpacked(side):
    bomb = encoded(Image.new("1", (side, side)))
    assert side**2 > MAX_PIXELS > 100 * len(bomb)
    with pytest.raises(ValueError, match=r"a\.zip: bomb\.png: not a readable image \(.*(more than|exceeds).*pixels"):
        decode(bomb, 64, "a.zip: bomb.png")


def test_one_that_cannot_be_read_is_named_or_left_out_and_counted(tmp_path):
    for name, content in (("a", picture(0)), ("b", picture(1)[:-300]), ("c", picture(2, (32, 64))), ("d", b"")):
        (tmp_path / f"{name}.png").write_bytes(content)
    images = find_images([tmp_path])
    with pytest.raises(ValueError, match=r"b\.png: not a readable"):
        load_images(images)
    pixels = load_images(images, tally=(tally := Tally()))
    np.testing.assert_array_equal(pixels, load_images([images[0], images[2]]))
    assert [image.name for image in tally.left_out] == ["b.png", "d.png"]
    said = "2 pictures read, 1 resized to 64 x 64 (from 32 x 64), 1 of another shape, so cut"
    said += ", 2 left out that cannot be read"
    assert tally.words((64, 64)) == said
    assert load_images([images[1]], (8, 4), tally=tally).shape == (0, 8, 4, 3)


@pytest.mark.parametrize(
    ("fit", "said"),
    [
        (Cover((24, 64)), "cut"),
        (Cover((24, 24), short=32), "cut"),
        (lambda image: np.asarray(image.resize((64, 24))), "stretched"),
        (lambda image: np.asarray(ImageOps.pad(image, (64, 24))), "padded"),
        (lambda image: np.asarray(ImageOps.pad(image, (64, 24), color="white", centering=(0, 0))), "padded"),
    ],
)
def test_what_is_done_to_pictures_of_another_shape_is_said(tmp_path, fit, said):
    for name, size in (("a", (64, 24)), ("b", (50, 24)), ("c", (32, 32))):
        (tmp_path / f"{name}.png").write_bytes(picture(0, size))
    load_images(find_images([tmp_path]), fit, tally=(tally := Tally()))
    assert f"2 of another shape, so {said}" in tally.words(fit.size if isinstance(fit, Cover) else (24, 64))


def test_links_to_folders_are_followed_and_those_that_lead_back_are_not(tmp_path):
    place, elsewhere = tmp_path / "set", tmp_path / "elsewhere"
    for folder in (place / "cat", elsewhere):
        folder.mkdir(parents=True)
        (folder / "1.png").write_bytes(picture(0))
    (place / "dog").symlink_to(elsewhere)
    (place / "wolf").symlink_to(elsewhere)  # the same once more, under another name: no loop
    (place / "cat" / "up").symlink_to(place)
    (elsewhere / "self").symlink_to(elsewhere)
    (place / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (place / "round.png").symlink_to(place / "round.png")
    with pytest.warns(UserWarning, match="left out 3 links back to a folder above, 2 neither file nor folder"):
        found = find_images([place])
    assert [(image.name, image.label) for image in found] == [("cat/1.png", 0), ("dog/1.png", 1), ("wolf/1.png", 2)]
    assert len(load_images(found)) == 3


def test_hidden_folders_are_left_out_and_counted(tmp_path):
    names = ["cat/1.png", "cat/.ipynb_checkpoints/1-checkpoint.png", "__MACOSX/cat/._1.png", ".git/x.png"]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in names:
            archive.writestr(name, picture(0))
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(tmp_path / "folder")
    for source in ("a.zip", "folder"):
        with pytest.warns(UserWarning, match=f"{source}: left out 3 hidden"):
            assert [image.name for image in find_images([tmp_path / source])] == ["cat/1.png"]


def test_an_archive_of_windows_has_folders_too(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo("pictures\\"), b"")
        for name in ("dog", "cat"):
            archive.writestr(zipfile.ZipInfo(f"pictures\\{name}\\1.png"), picture(len(name)))
    found = find_images([tmp_path / "a.zip"])
    assert [(image.name, image.label) for image in found] == [("pictures/cat/1.png", 0), ("pictures/dog/1.png", 1)]
    assert load_images(found).shape == (2, 64, 64, 3)


def test_names_in_archives_are_those_of_folders_whoever_packed_them(tmp_path):
    # Tools that write UTF-8 without its flag; without it and no UTF-8 a name is taken as DOS wrote it.
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("été/1.png", "ete/2.png"):
            archive.writestr(zipfile.ZipInfo(name), picture(0))
    raw = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(raw.replace(b"\x00\x08", b"\x00\x00"))
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert "été/1.png" not in archive.namelist()
    found = find_images([tmp_path / "a.zip"])
    assert [image.name for image in found] == ["ete/2.png", "été/1.png"]
    assert len(load_images(found)) == 2


@pytest.mark.parametrize("locale", ["C", "C.UTF-8", "POSIX"])
def test_names_that_are_no_utf8_give_ids_that_can_be_written_in_every_locale(tmp_path, locale):
    folder = os.fsencode(tmp_path / "folder")
    os.makedirs(os.path.join(folder, b"caf\xe9"))
    os.makedirs(os.path.join(folder, "é".encode()))
    for name in (b"caf\xe9/\xff.png", "é/1.png".encode()):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(picture(0))
    code = """
import sys
from semrsm_bench.activations.images import find_images, load_images
found = find_images([sys.argv[1]])
print(ascii([image.name for image in found]), len(load_images(found)))
"""
    environment = {**os.environ, "LC_ALL": locale, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    words = [sys.executable, "-c", code, str(tmp_path / "folder")]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    names = ["caf\\xe9/\\xff.png", "é/1.png"]
    assert done.stdout.strip() == f"{names!a} 2"
    for name in names:
        name.encode()


def test_classes_in_another_encoding_are_refused_with_the_place(tmp_path):
    image_zip(tmp_path / "a.zip", per_class=1)
    (tmp_path / "classes.txt").write_bytes(b"dark\nlight\ncaf\xe9\n")
    with pytest.raises(ValueError, match=r"classes\.txt: not a text in UTF-8 .*byte 14\): save it as UTF-8"):
        find_images([tmp_path / "a.zip"], tmp_path / "classes.txt")
    (tmp_path / "classes.txt").write_bytes("\ufefflight\ndark\n".encode())
    assert [image.label for image in find_images([tmp_path / "a.zip"], tmp_path / "classes.txt")] == [1, 0]


def test_members_that_are_damaged_or_locked_are_named(tmp_path):
    archive = image_zip(tmp_path / "a.zip", classes=("dark",), per_class=3)
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as z:
        entries = z.infolist()
    content[entries[0].header_offset + 200] ^= 255  # its checksum fails
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag of encryption, at both places
        start = content.find(mark, entries[1].header_offset)
        for _ in range(1 if mark.endswith(b"\x04") else 2):
            at, start = start, content.find(mark, start + 4)
        content[at + offset] |= 1
    archive.write_bytes(content)
    images = find_images([archive])
    load_images(images, tally=(tally := Tally()))
    reasons = [f"{image.name}: {reason}" for image, reason in tally.left_out.items()]
    assert len(reasons) == 2
    assert "dark_0.png: not readable in its archive (Bad CRC" in reasons[0]
    assert "dark_1.png: not readable in its archive (" in reasons[1]
    assert "encrypted" in reasons[1]


def test_a_member_that_unpacks_to_more_than_a_picture_is_not_unpacked(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(100_001))
    monkeypatch.setattr("semrsm_bench.activations.images._MAX_BYTES", 100_000)
    monkeypatch.setattr(zipfile.ZipFile, "read", None)  # would be called
    with pytest.raises(ValueError, match=r"bomb\.png: unpacks to 100,001 bytes, more than the 100,000 that are read"):
        load_images(find_images([tmp_path / "a.zip"]))


def test_two_pictures_with_one_id_are_named(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder / "cat").mkdir(parents=True)
        (tmp_path / folder / "cat" / "1.png").write_bytes(picture(0))
    both = [tmp_path / "one", tmp_path / "two"]
    with pytest.raises(ValueError, match=r"the id 'cat/1\.png' \(.*one and .*two\): .* give the folder above them"):
        require_distinct(find_images(both))
    with pytest.raises(ValueError, match=r"'cat/1\.png' \(in .*one\): name each once"):
        require_distinct(find_images([both[0], both[0]]))
    require_distinct(find_images([tmp_path]))


def test_a_shorter_side_and_a_centre_as_libraries_of_networks_do():
    # Shorter side to 32 of 100 x 40: 80 x 32; the centre of 24 x 16 begins at (32 - 24) / 2 and (80 - 16) / 2.
    pixels = np.random.default_rng(0).integers(0, 256, (40, 100, 3)).astype(np.uint8)
    whole = np.asarray(Image.fromarray(pixels).resize((80, 32), Image.Resampling.BILINEAR))
    fit = Cover((24, 16), 32, "bilinear")
    np.testing.assert_array_equal(decode(png(pixels), fit, "x"), whole[4:28, 32:48])
    assert str(fit) == "shorter side to 32 pixels, then 24 x 16 (bilinear), centre cut out"
