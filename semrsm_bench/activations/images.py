"""Images from folders, zip archives or lists of files, in the ImageFolder layout where there are labels.

An image's name is its path inside the folder or archive; its label is the index of its parent directory among the classes.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.progress import progress_bar

_SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")

# Mean and deviation of Tiny-ImageNet's RGB channels on the scale 0..1; every network of this project is fed with them.
CHANNEL_MEAN = (0.480, 0.448, 0.398)
CHANNEL_STD = (0.277, 0.269, 0.282)


@dataclass(frozen=True)
class ImageRef:
    """One image: the container it is in, its name there (which does not depend on the machine), and its label or -1."""

    container: Path
    name: str
    label: int


def read_classes(path: Path) -> list[str]:
    """Class directories in the order of the labels: the first column of a tab-separated file."""
    names = [line.split("\t")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    names = [name for name in names if name]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"{path}: {'a class is listed twice' if names else 'no class in this file'}")
    return names


def find_images(sources: Iterable[str | Path], classes: Path | None = None) -> list[ImageRef]:
    """All images of folders (searched recursively), zip archives and single files, sorted by name inside each source.

    ``classes`` is a file of the class directories (see `read_classes`); default: the sorted names of the parent directories of
    all images.
    """
    found = [place for source in sources for place in _images_in(Path(source))]
    if not found:
        raise ValueError("no image given")
    parents = [PurePosixPath(name).parent.name for _, name in found]
    label = {name: i for i, name in enumerate(read_classes(classes) if classes else sorted({*parents} - {""}))}
    if unknown := sorted({*parents} - {"", *label}):
        raise ValueError(f"directory {unknown[0]!r} is not among the {len(label)} classes given")
    return [ImageRef(container, name, label.get(parent, -1)) for (container, name), parent in zip(found, parents)]


def _images_in(place: Path) -> list[tuple[Path, str]]:
    """Container and name of each image of one source."""
    source = place
    if source.is_dir():
        names = [p.relative_to(source).as_posix() for p in source.rglob("*") if p.is_file()]
    elif not source.is_file():
        raise FileNotFoundError(f"{source}: no such folder, zip archive or image")
    elif source.suffix.lower() == ".zip":
        try:
            with zipfile.ZipFile(source) as archive:
                names = archive.namelist()
        except zipfile.BadZipFile as error:
            raise ValueError(f"{source}: not a readable zip archive ({error}); download it again") from None
    else:
        source, names = source.parent, [source.name]
    names = sorted(n for n in names if n.lower().endswith(_SUFFIXES) and not PurePosixPath(n).name.startswith("."))
    if not names:
        raise ValueError(f"{place}: no image in it (known endings: {', '.join(_SUFFIXES)})")
    return [(source, name) for name in names]


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


def decode(data: bytes, size: int | tuple[int, int], name: str) -> NDArray[np.uint8]:
    """RGB pixels (H, W, 3): scaled (bicubic) until the picture covers the frame, then the centre cut out.

    ``size`` is (H, W) or the side of a square; ``name`` is for the message where it is no readable image.
    """
    from PIL import Image, UnidentifiedImageError

    rows, columns = (size, size) if isinstance(size, int) else size
    try:
        with Image.open(io.BytesIO(data)) as opened:
            image = opened.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{name}: not a readable image ({error})") from None
    if image.size != (columns, rows):
        scale = max(columns / image.width, rows / image.height)
        width, height = max(columns, round(image.width * scale)), max(rows, round(image.height * scale))
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        left, top = (width - columns) // 2, (height - rows) // 2
        image = image.crop((left, top, left + columns, top + rows))
    return np.asarray(image, dtype=np.uint8)


def load_images(
    images: Sequence[ImageRef], size: int | tuple[int, int] = 64, *, progress: bool = False
) -> NDArray[np.uint8]:
    """Pixels of all images, (N, H, W, 3) uint8, ``size`` as in `decode`; each archive is opened once; ``progress`` shows a bar."""
    shape = (size, size) if isinstance(size, int) else size
    pixels = np.empty((len(images), *shape, 3), dtype=np.uint8)
    archives: dict[Path, zipfile.ZipFile] = {}
    with (
        ExitStack() as stack,
        progress_bar(len(images), "reading images", unit="image", quiet=not progress) as bar,
    ):
        for i, image in enumerate(images):
            if image.container.is_dir():
                data = (image.container / image.name).read_bytes()
            else:
                if image.container not in archives:
                    archives[image.container] = stack.enter_context(zipfile.ZipFile(image.container))
                data = archives[image.container].read(image.name)
            pixels[i] = decode(data, size, f"{image.container}: {image.name}")
            bar.update()
    return pixels
