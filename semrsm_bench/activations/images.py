"""Images from folders, zip archives or lists of files, in the ImageFolder layout where there are labels.

An image's id is its path inside the folder or archive; its label is the index of its parent directory among the classes.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.progress import progress_bar

SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")

# Mean and deviation of Tiny-ImageNet's RGB channels on the scale 0..1; every network of this project is fed with them.
CHANNEL_MEAN = (0.480, 0.448, 0.398)
CHANNEL_STD = (0.277, 0.269, 0.282)


@dataclass(frozen=True)
class ImageRef:
    """One image: the container it lies in, its name there, and its label (-1 where it has none)."""

    container: Path
    name: str
    label: int

    @property
    def id(self) -> str:
        """Name that does not depend on where the container lies."""
        return self.name


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not PurePosixPath(name).name.startswith(".")


def read_classes(path: Path) -> list[str]:
    """Class directories in the order of the labels: the first column of a tab-separated file."""
    names = [line.split("\t")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    names = [name for name in names if name]
    if len(set(names)) != len(names):
        raise ValueError(f"{path}: a class is listed twice")
    if not names:
        raise ValueError(f"{path}: no class in this file")
    return names


def find_images(sources: Iterable[str | Path], classes: Sequence[str] | Path | None = None) -> list[ImageRef]:
    """All images of folders, zip archives and single files, sorted by name inside each source.

    Parameters
    ----------
    sources : iterable of paths
        Folders (searched recursively), ``.zip`` archives, or image files.
    classes : sequence of str or Path, optional
        Names of the class directories in the order of their labels, or a file of them (see `read_classes`). Without it, the
        sorted names of the parent directories of all images are the classes.

    Raises
    ------
    FileNotFoundError
        A source does not exist.
    ValueError
        A source holds no image, is not a readable archive, or an image's directory is not among ``classes``.
    """
    found: list[tuple[Path, str]] = []
    for source in map(Path, sources):
        if source.is_dir():
            names = sorted(
                p.relative_to(source).as_posix() for p in source.rglob("*") if p.is_file() and _is_image(p.name)
            )
        elif source.suffix.lower() == ".zip" and source.is_file():
            try:
                with zipfile.ZipFile(source) as archive:
                    names = sorted(n for n in archive.namelist() if _is_image(n))
            except zipfile.BadZipFile as error:
                raise ValueError(f"{source}: not a readable zip archive ({error}); download it again") from None
        elif source.is_file():
            if not _is_image(source.name):
                raise ValueError(f"{source}: not an image (known endings: {', '.join(SUFFIXES)})")
            found.append((source.parent, source.name))
            continue
        else:
            raise FileNotFoundError(f"{source}: no such folder, zip archive or image")
        if not names:
            raise ValueError(f"{source}: holds no image (looked for {', '.join(SUFFIXES)})")
        found.extend((source, name) for name in names)
    if not found:
        raise ValueError("no image given")
    return _labelled(found, read_classes(classes) if isinstance(classes, Path) else classes)


def _labelled(found: list[tuple[Path, str]], classes: Sequence[str] | None) -> list[ImageRef]:
    parents = [PurePosixPath(name).parent.name for _, name in found]
    if classes is None:
        index = {name: i for i, name in enumerate(sorted({p for p in parents if p}))}
    else:
        index = {name: i for i, name in enumerate(classes)}
        strangers = sorted({p for p in parents if p and p not in index})
        if strangers:
            raise ValueError(f"directory {strangers[0]!r} is not among the {len(index)} classes given")
    return [ImageRef(container, name, index.get(parent, -1)) for (container, name), parent in zip(found, parents)]


def decode(data: bytes, size: int | tuple[int, int], name: str) -> NDArray[np.uint8]:
    """RGB pixels (H, W, 3): scaled (bicubic) until the picture covers the frame, then the centre cut out.

    ``size`` is (H, W) or the side of a square; ``name`` is for the message of the ValueError where it is no readable image.
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
    images: Sequence[ImageRef], size: int | tuple[int, int] = 64, *, quiet: bool = False
) -> NDArray[np.uint8]:
    """Pixels of all images, (N, H, W, 3) uint8; each archive is opened once."""
    shape = (size, size) if isinstance(size, int) else size
    pixels = np.empty((len(images), *shape, 3), dtype=np.uint8)
    archives: dict[Path, zipfile.ZipFile] = {}
    try:
        with progress_bar(len(images), "reading images", unit="image", quiet=quiet or len(images) < 500) as bar:
            for i, image in enumerate(images):
                if image.container.is_dir():
                    data = (image.container / image.name).read_bytes()
                else:
                    if image.container not in archives:
                        archives[image.container] = zipfile.ZipFile(image.container)
                    data = archives[image.container].read(image.name)
                pixels[i] = decode(data, size, f"{image.container}: {image.name}")
                bar.update()
    finally:
        for archive in archives.values():
            archive.close()
    return pixels
