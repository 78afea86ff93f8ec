"""Images from folders, zip archives or lists of files, in the ImageFolder layout where there are labels.

An image's name is its path inside the folder or archive; its label is the index of its parent directory among the classes.
What is left out on the way is counted and said; what is no picture, or none that can be read, is named.
"""

from __future__ import annotations

import io
import os
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.progress import progress_bar

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")
# What macOS puts into archives beside the files; they end like pictures and are none.
_HIDDEN = "__MACOSX"
_UTF8_NAME = 0x800  # flag of an entry of a zip archive
# What a member of an archive may unpack to: more is no picture that `MAX_PIXELS` would let pass.
_MAX_BYTES = 2**30
MAX_PIXELS = 100_000_000
BACKGROUND = (255, 255, 255)  # what shows through where a picture is transparent

# Mean and deviation of Tiny-ImageNet's RGB channels on the scale 0..1; every network of this project is fed with them.
CHANNEL_MEAN = (0.480, 0.448, 0.398)
CHANNEL_STD = (0.277, 0.269, 0.282)


@dataclass(frozen=True)
class ImageRef:
    """One image: the container it is in, its name there (which does not depend on the machine), and its label or -1.

    ``member`` is how the container itself calls it, where that is something else: bytes that are no UTF-8, backslashes.
    """

    container: Path
    name: str
    label: int
    member: str = ""


@dataclass
class Tally:
    """What became of the pictures that were read: ``seen`` of each kind, ``sizes`` (width, height), and why some are left out.

    ``fit`` is their way into the frame.
    """

    seen: Counter[str] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    left_out: dict[ImageRef, str] = field(default_factory=dict)
    fit: Fit | None = None

    def words(self, frame: tuple[int, int]) -> str:
        """One line: how many were read, how many had another size or shape than the frame (H, W), what else was done."""
        height, width = frame
        count, other = self.sizes.total(), {size: n for size, n in self.sizes.items() if size != (width, height)}
        parts = [f"{count} pictures read"]
        if other:
            least, most = (f"{w} x {h}" for w, h in (min(other, key=np.prod), max(other, key=np.prod)))
            parts.append(
                f"{sum(other.values())} resized to {width} x {height} (from {least if least == most else f'{least} to {most}'})"
            )
        if shapes := sum(n for (w, h), n in other.items() if w * height != h * width):
            parts.append(f"{shapes} of another shape, so {_way_into(frame, self.fit or Cover(frame))}")
        parts += [f"{n} {kind}" for kind, n in self.seen.items()]
        if self.left_out:
            parts.append(f"{len(self.left_out)} left out that cannot be read")
        return ", ".join(parts)

    def warn(self) -> None:
        """A warning that counts what is left out, and says why the first is."""
        if self.left_out:
            count = self.sizes.total() + len(self.left_out)
            first = next(iter(self.left_out.values()))
            warnings.warn(f"{len(self.left_out)} of {count} pictures are left out; {first}", stacklevel=3)


@dataclass(frozen=True)
class Cover:
    """The usual way into a frame ``size`` (H, W): scaled, and the centre cut out.

    Scaled (``resample``: a name of Pillow's) until it covers the frame, or until the shorter side has ``short`` pixels.
    """

    size: tuple[int, int]
    short: int | None = None
    resample: str = "bicubic"

    def __call__(self, image: Picture) -> NDArray[np.uint8]:
        """Pixels (H, W, 3) of an RGB picture."""
        from PIL import Image

        rows, columns = self.size
        if self.short is None:
            scale = max(columns / image.width, rows / image.height)
            width, height = max(columns, round(image.width * scale)), max(rows, round(image.height * scale))
            left, top = (width - columns) // 2, (height - rows) // 2
        else:  # rounded as torchvision does, which timm uses too
            least = min(image.size)
            width, height = (max(self.short, int(self.short * side / least)) for side in image.size)
            left, top = round((width - columns) / 2), round((height - rows) / 2)
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling[self.resample.upper()])
        if image.size != (columns, rows):
            image = image.crop((left, top, left + columns, top + rows))
        return np.asarray(image, dtype=np.uint8)

    def __str__(self) -> str:
        what = "scaled to cover" if self.short is None else f"shorter side to {self.short} pixels, then"
        return f"{what} {self.size[0]} x {self.size[1]} ({self.resample}), centre cut out"


# Makes the pixels (H, W, 3) that a network is fed with of an RGB picture.
Fit = Callable[["Picture"], NDArray[np.uint8]]


def read_classes(path: Path) -> list[str]:
    """Class directories in the order of the labels: the first column of a tab-separated file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: not a text in UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8"
        ) from None
    names = [line.split("\t")[0].strip() for line in text.splitlines()]
    names = [name for name in names if name]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"{path}: {'a class is listed twice' if names else 'no class in this file'}")
    return names


def find_images(sources: Iterable[str | Path], classes: Path | None = None) -> list[ImageRef]:
    """All images of folders (searched recursively, through links too), zip archives and single files, sorted by name in each.

    ``classes`` is a file of the class directories (see `read_classes`); default: the sorted names of the parent directories of
    all images. A warning counts what is left out of folders and archives: hidden files, other endings, links that lead nowhere
    or back to a folder above.
    """
    found: list[tuple[Path, str, str]] = []
    for source in sources:
        left_out: Counter[str] = Counter()
        found += _images_in(Path(source), left_out)
        if left_out:
            warnings.warn(f"{source}: left out {_listed(left_out)}", stacklevel=2)
    if not found:
        raise ValueError("no image given")
    parents = [PurePosixPath(name).parent.name for _, name, _ in found]
    label = {name: i for i, name in enumerate(read_classes(classes) if classes else sorted({*parents} - {""}))}
    if unknown := sorted({*parents} - {"", *label}):
        raise ValueError(f"directory {unknown[0]!r} is not among the {len(label)} classes given")
    return [
        ImageRef(container, name, label.get(parent, -1), member if member != name else "")
        for (container, name, member), parent in zip(found, parents)
    ]


def require_distinct(images: Sequence[ImageRef]) -> None:
    """ValueError where two pictures have one id (their name), which would be found only when all are through the network."""
    first: dict[str, ImageRef] = {}
    for image in images:
        if (other := first.setdefault(image.name, image)) is not image:
            places = (
                f"in {image.container}"
                if image.container == other.container
                else f"{other.container} and {image.container}"
            )
            raise ValueError(
                f"two pictures have the id {image.name!r} ({places}): name each once; for two folders that have the same names, "
                "give the folder above them"
            )


def _images_in(place: Path, left_out: Counter[str]) -> list[tuple[Path, str, str]]:
    """Container, name, and the container's own name of each image of one source."""
    source = place
    if source.is_dir():
        members = [os.path.relpath(path, source) for path in _files(source, (), left_out)]
        # Bytes of a name that are no UTF-8, or come through another locale, must give one id everywhere.
        named = [(os.fsencode(member).decode("utf-8", "backslashreplace"), member) for member in members]
    elif not source.is_file():
        raise FileNotFoundError(f"{source}: no such folder, zip archive or image")
    elif source.suffix.lower() == ".zip":
        try:
            with zipfile.ZipFile(source) as archive:
                named = [(_entry_name(entry), entry.filename) for entry in archive.infolist()]
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            raise ValueError(f"{source}: not a readable zip archive ({error}); download it again") from None
        files = [pair for pair in named if not pair[0].endswith("/")]
        named = [pair for pair in files if not _is_hidden(pair[0])]
        left_out["hidden"] += len(files) - len(named)
    else:
        source = source.parent
        named = [(os.fsencode(place.name).decode("utf-8", "backslashreplace"), place.name)]
    pictures = sorted((name, member) for name, member in named if name.lower().endswith(_SUFFIXES))
    others = Counter(PurePosixPath(name).suffix.lower() for name, _ in named if not name.lower().endswith(_SUFFIXES))
    for suffix, count in others.items():
        left_out[f"ending in {suffix}" if suffix else "without an ending"] += count
    left_out += Counter()  # drops zeros
    if not pictures:
        there = f"; there are {_listed(left_out)}" if left_out else ""
        raise ValueError(f"{place}: no image in it (known endings: {', '.join(_SUFFIXES)}{there})")
    return [(source, name, member) for name, member in pictures]


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == _HIDDEN for part in PurePosixPath(name).parts)


def _files(folder: Path | str, above: tuple[tuple[int, int], ...], left_out: Counter[str]) -> Iterator[str]:
    """Files below a folder; links are followed, but not to a folder they lie in, where they would never end."""
    status = os.stat(folder)
    above = (*above, (status.st_dev, status.st_ino))
    with os.scandir(folder) as entries:
        for entry in entries:
            if _is_hidden(entry.name):
                left_out["hidden"] += 1
                continue
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except OSError:  # a link to itself
                is_folder = is_file = False
            if is_file:
                yield entry.path
            elif not is_folder:
                left_out["neither file nor folder (links that lead nowhere)"] += 1
            elif (entry.stat().st_dev, entry.stat().st_ino) in above:
                left_out["links back to a folder above"] += 1
            else:
                yield from _files(entry.path, above, left_out)


def _entry_name(entry: zipfile.ZipInfo) -> str:
    """Name of an entry of an archive, as a path with slashes; Windows writes backslashes, old tools UTF-8 without saying so."""
    name = entry.filename
    if not entry.flag_bits & _UTF8_NAME:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def choose_images(images: Sequence[ImageRef], count: int, seed: int = 0) -> list[int]:
    """Indices of ``count`` images, spread over as many classes as there are; sorted, seeded."""
    if not 1 <= count <= len(images):
        raise ValueError(f"asked for {count} images of {len(images)}")
    order = np.random.default_rng(seed).permutation(len(images)).tolist()
    seen: dict[int, int] = {}
    rank = {}
    for i in order:
        rank[i] = seen[images[i].label] = seen.get(images[i].label, -1) + 1
    # First one image of every class, then a second, and so on; the sort is stable, so the seeded order decides ties.
    return sorted(sorted(order, key=rank.__getitem__)[:count])


def decode(data: bytes, size: int | tuple[int, int] | Fit, name: str, tally: Tally | None = None) -> NDArray[np.uint8]:
    """RGB pixels (H, W, 3): the picture upright, transparency over white, then into the frame.

    ``size`` is (H, W) or the side of a square (see `Cover`), or a function that does it; ``name`` is for the message where it is no
    readable image, or one of more than `MAX_PIXELS`. ``tally`` counts what was done.
    """
    from PIL import Image

    tally = tally or Tally()
    fit = size if callable(size) else Cover((size, size) if isinstance(size, int) else size)
    try:
        with warnings.catch_warnings():
            # Pillow warns from a size of its own on, and refuses what is twice as large.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    limit = f"more than the {MAX_PIXELS:,} pixels that are read"
                    raise ValueError(f"{opened.width} x {opened.height} pixels, {limit}: make it smaller")
                image = _as_rgb(opened, tally)
    except MemoryError:
        raise
    except Exception as error:  # decoders meet a damaged file with whatever error they run into
        said = str(error).partition(" <_io.BytesIO")[0]  # where the bytes lay is no reason
        raise ValueError(f"{name}: not a readable image ({said or type(error).__name__})") from None
    tally.sizes[image.size] += 1
    tally.fit = fit
    return fit(image)


def _way_into(frame: tuple[int, int], fit: Fit) -> str:
    """What is done to pictures of another shape: seen on one of double width that gets brighter from left to right."""
    from PIL import Image

    height, width = frame
    row = np.linspace(0, 255, 2 * width).astype(np.uint8)
    made = fit(Image.fromarray(np.tile(row[None, :, None], (height, 1, 3))))
    seen = np.ptp(made[..., 0].astype(int), axis=1)
    if seen.min() < seen.max() / 2:
        return "padded"
    return "stretched" if seen.max() > 192 else "cut"


def _as_rgb(opened: Picture, tally: Tally) -> Picture:
    """The first frame as 8-bit RGB, turned upright."""
    from PIL import Image, ImageOps

    if getattr(opened, "n_frames", 1) > 1:
        tally.seen["with several frames, of which the first is taken"] += 1
    image: Picture = ImageOps.exif_transpose(opened)
    if opened.getexif().get(0x0112, 1) != 1:
        tally.seen["turned upright (EXIF)"] += 1
    if image.mode.startswith("I;16"):
        tally.seen["of 16-bit grey, scaled to 8"] += 1
        image = Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError(f"grey of 32 bits (mode {image.mode}) has no range that is known: save it with 8 or 16 bits")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema()[0] != 255:
            tally.seen["transparent, laid on white"] += 1
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*BACKGROUND, 255)), image)
    return image.convert("RGB")


def load_images(
    images: Sequence[ImageRef],
    size: int | tuple[int, int] | Fit = 64,
    *,
    progress: bool = False,
    tally: Tally | None = None,
) -> NDArray[np.uint8]:
    """Pixels of all images, (N, H, W, 3) uint8, ``size`` as in `decode`; each archive is opened once; ``progress`` shows a bar.

    With a ``tally`` images that cannot be read are left out and stand there with the reason; without one they are a ValueError.
    """
    shape = (size, size) if isinstance(size, int) else size if isinstance(size, tuple) else (0, 0)
    pixels, count = np.empty((0, *shape, 3), dtype=np.uint8), 0
    archives: dict[Path, zipfile.ZipFile] = {}
    with (
        ExitStack() as stack,
        progress_bar(len(images), "reading images", unit="image", quiet=not progress) as bar,
    ):
        for image in images:
            try:
                if image.container.is_dir():
                    data = (image.container / (image.member or image.name)).read_bytes()
                else:
                    if image.container not in archives:
                        archives[image.container] = stack.enter_context(zipfile.ZipFile(image.container))
                    data = _unpacked(archives[image.container], image)
                found = decode(data, size, f"{image.container}: {image.name}", tally)
            except ValueError as error:
                if tally is None:
                    raise
                tally.left_out[image] = str(error)
            else:
                if not count:  # one array for all: a list of them and its copy would need twice the memory
                    pixels = np.empty((len(images), *found.shape), dtype=np.uint8)
                pixels[count], count = found, count + 1
            bar.update()
    return pixels[:count]


def _unpacked(archive: zipfile.ZipFile, image: ImageRef) -> bytes:
    """Bytes of a member; ValueError where it is damaged, locked or far larger than a picture."""
    name = f"{image.container}: {image.name}"
    entry = archive.getinfo(image.member or image.name)
    if entry.file_size > _MAX_BYTES:
        raise ValueError(f"{name}: unpacks to {entry.file_size:,} bytes, more than the {_MAX_BYTES:,} that are read")
    try:
        return archive.read(entry)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, zlib.error) as error:
        raise ValueError(f"{name}: not readable in its archive ({error})") from None
