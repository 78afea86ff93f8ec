"""`semrsm-bench data fetch`, from folders and from a server of this process, whole and damaged."""

import contextlib
import functools
import http.server
import json
import shutil
import threading

import pytest

from semrsm_bench.activations.fetch import fetch_data
from semrsm_bench.activations.folders import CacheError, fetched_folder, find_data, shipped_data, shipped_folder
from semrsm_bench.activations.store import verify_folder
from tests.bench_data import small_cache
from tests.command_line import call


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; of a file whose name has "cut" in it, half, and then the connection ends."""

    asked: list

    def log_message(self, *_):
        pass

    def copyfile(self, source, outputfile):
        self.asked.append(self.path)
        content = source.read()
        outputfile.write(content[: len(content) // 2] if "cut" in self.path else content)


@contextlib.contextmanager
def served(folder):
    handler = type("Handler", (Quiet,), {"asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler.asked
        server.shutdown()
        thread.join()


@pytest.fixture
def source(tmp_path):
    """Data as they ship: a cache, a folder with a cache of a task, manifests."""
    folder = tmp_path / "a source"
    for place, name in ((folder, "one"), (folder, "two"), (folder / "outputs", "three")):
        place.mkdir(exist_ok=True)
        small_cache(place, name=name)
    change(folder, lambda content: content.update(folders=["outputs"]))
    return folder


@pytest.fixture(autouse=True)
def alone(user_cache, tmp_path, monkeypatch):
    """A package without a checkout."""
    monkeypatch.setattr("semrsm_bench.activations.folders.__file__", str(tmp_path / "site" / "p" / "a" / "folders.py"))
    monkeypatch.delenv("SEMRSM_BENCH_DATA", raising=False)


def change(folder, edit):
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("by", ["folder", "file", "http"])
def test_data_come_whole_are_found_and_are_not_copied_again(source, by):
    with served(source.parent) as (address, asked):
        named = {"folder": str(source), "file": source.as_uri(), "http": f"{address}/a source/"}[by]
        assert fetch_data(named, quiet=True) == (fetched_folder(), 3, 3)
        assert shipped_data() == find_data() == fetched_folder()
        assert shipped_folder("outputs") == fetched_folder() / "outputs"
        assert not any(problem for _, problem in verify_folder())
        asked.clear()
        path = fetched_folder() / "two.safetensors"
        path.write_bytes(b"x" * path.stat().st_size)
        out, _ = call("data", "fetch", named)
        assert out.strip() == f"{fetched_folder()}: 3 files, 1 of them copied now"
        assert path.read_bytes() == (source / path.name).read_bytes()
        assert sum("safetensors" in one for one in asked) == (by == "http")


def test_what_breaks_off_is_resumed_and_not_used_before(source):
    for name in ("two.safetensors", "manifest.json"):
        text = (source / name).read_bytes()
        (source / name.replace("two", "cut")).write_bytes(text.replace(b"two.s", b"cut.s") if "json" in name else text)
    with served(source) as (address, asked):
        with pytest.raises(CacheError, match=r"cut\.safetensors came only in part: .* run the same command again"):
            fetch_data(address, quiet=True)
        assert shipped_data() is None
        asked.clear()
        (source / "two.safetensors").rename(source / "cut.safetensors")
        asked.clear()
        shutil.copy(source / "cut.safetensors", fetched_folder() / "cut.safetensors")
        assert fetch_data(address, quiet=True)[1:] == (3, 0)
    assert shipped_data() == fetched_folder()
    assert not list(fetched_folder().rglob("*.partial"))


DAMAGE = {
    "damaged: sha256 .* in its manifest": lambda folder: flip(folder / "two.safetensors"),
    "came only in part: .* bytes of": lambda folder: (folder / "two.safetensors").write_bytes(b"short"),
    "is too long": lambda folder: (folder / "two.safetensors").open("ab").write(b"more"),
    "two.safetensors cannot be read: (HTTP 404|No such file)": lambda folder: (folder / "two.safetensors").unlink(),
    "manifest.json cannot be read: .*; name the folder data/": lambda folder: (folder / "manifest.json").unlink(),
    "outputs/manifest.json cannot be read": lambda folder: (folder / "outputs" / "manifest.json").unlink(),
    "manifest.json is damaged": lambda folder: (folder / "manifest.json").write_text('{"files": 1}'),
    "'../two', which is no plain name": lambda folder: change(folder, lambda c: c["files"].update({"../two": {}})),
    "'..', which is no plain name": lambda folder: change(folder, lambda c: c.update(folders=[".."])),
}


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("by", ["folder", "http"])
@pytest.mark.parametrize("words", DAMAGE)
def test_what_is_damaged_is_refused_by_name(source, words, by):
    DAMAGE[words](source)
    with served(source) as (address, _), pytest.raises(CacheError, match=words):
        fetch_data(str(source) if by == "folder" else address, quiet=True)
    assert shipped_data() is None
    assert not list(fetched_folder().rglob("two*"))


def test_addresses_that_nobody_answers(source):
    with served(source) as (address, _):
        pass
    with pytest.raises(CacheError, match=r"manifest\.json cannot be read: .*(refused|reset)"):
        fetch_data(address, quiet=True)
    with pytest.raises(CacheError, match="an address begins with http://, https://, file://; or name a folder"):
        fetch_data("s3://bucket/data", quiet=True)
