"""What a file or a folder is, by its content: in messages, and for those that read it."""

from __future__ import annotations

import zipfile
from itertools import islice
from pathlib import Path

NPY, NPZ, TORCH = "an array (.npy)", "an archive of arrays (.npz)", "a file of torch (.pt)"
SAFETENSORS, HDF5, ZARR = "a safetensors file", "an HDF5 file", "a Zarr store"

SUFFIXES = (".npy", ".npz", ".pt", ".pth", ".safetensors", ".h5", ".hdf5", ".zarr")
"""Names of files that may hold activations."""

READABLE = ".npy, .npz, .pt (a tensor, or a dict of tensors), .safetensors, .h5 or .zarr"

_PICTURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
_PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm"}
_MOST_FILES = 2000
_EXTRACT = "activations of pictures are made with `semrsm-bench data extract`"


def what_is(path: Path) -> str:
    """What a file or folder is, in words that follow "is"; those that `read_arrays` reads are keys of its readers."""
    if path.is_dir():
        return _what_folder(path)
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        return "empty (0 bytes)"
    if head.startswith(b"\x93NUMPY"):
        return NPY
    if head.startswith(b"\x89HDF\r\n"):
        return HDF5
    if head.startswith(b"PK"):
        return _what_zip(path)
    if picture := next((name for magic, name in _PICTURES.items() if head.startswith(magic)), None):
        return f"a picture ({picture}): {_EXTRACT}"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 10**8:
        return SAFETENSORS
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return (
            TORCH
            if path.suffix in (".pt", ".pth", ".bin", ".ckpt")
            else ("a pickle, which may run code and is not opened: save arrays with numpy.savez")
        )
    return f"no file of arrays (it begins with {head[:8]!r})"


def _what_folder(path: Path) -> str:
    if any((path / name).exists() for name in (".zgroup", ".zarray", "zarr.json")):
        return ZARR
    # A data set may have millions of files.
    suffixes = [file.suffix.lower() for file in islice(path.rglob("*"), _MOST_FILES) if file.is_file()]
    if any(suffix in _PICTURE_SUFFIXES for suffix in suffixes):
        return f"a folder of pictures: {_EXTRACT}"
    return "a folder" if suffixes else "an empty folder"


def _what_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return f"a zip archive (as .npz and .pt are) that is cut off or damaged, of {path.stat().st_size:,} bytes"
    if any(name.endswith("data.pkl") for name in names):
        return TORCH
    if names and all(name.endswith(".npy") for name in names):
        return NPZ
    if any(Path(name).suffix.lower() in _PICTURE_SUFFIXES for name in names):
        return f"a zip archive of pictures: {_EXTRACT}"
    shown = ", ".join(names[:3]) or "nothing"
    return f"a zip archive, but no .npz: it holds {shown}"
