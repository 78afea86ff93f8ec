"""The published site: nothing from elsewhere, the size axis first, every solver drawn, every row listed; in a real browser."""

import ast
import itertools
import json
import os
import runpy
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

import semrsm_bench as sb
from benchmarks.common import CENTRINGS, SIZES, SOLVERS
from tests.browser import Server
from tests.gate_repository import CHECKOUT, ThrowAway, git

pytest.importorskip("asv")


offline = runpy.run_path(str(CHECKOUT / "benchmarks" / "site" / "offline.py"))


def asv(folder, *arguments):
    environment = {**os.environ, "HOME": str(folder.parent), "ASV_PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "asv", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def made_up(benchmark, solver, size, centring):
    """A value that no other cell has, so that curves do not hide one another; None where the cell is skipped."""
    if size >= (sb.get_solver(solver).slow_from or size + 1):
        return None
    place = SOLVERS.index(solver) + CENTRINGS.index(centring) / 2
    if benchmark.endswith("track_solve_seconds"):
        return 1e-6 * size * 1.4**place
    return 1.0 - 0.02 * place - 0.02 * SIZES.index(size) / len(SIZES)


def write_results(folder, commit):
    """An asv result of the kind that `asv run` writes, for every benchmark over solver, size and centring."""
    listed = json.loads((folder / ".asv/results/benchmarks.json").read_text())
    results = {}
    for name, entry in listed.items():
        if isinstance(entry, dict):
            cells = list(itertools.product(*entry["params"]))
            over_sizes = entry["param_names"] == ["solver", "size", "centring"]
            values = [made_up(name, *map(ast.literal_eval, cell)) if over_sizes else 1.5 for cell in cells]
            results[name] = [values, entry["params"], entry["version"]]
    machine = next((folder / ".asv/results").glob("*/machine.json")).parent
    content = {
        "commit_hash": commit,
        "env_name": "existing",
        "date": int(git(folder, "show", "-s", "--format=%ct000", commit)),
        "params": json.loads((machine / "machine.json").read_text()) | {"python": "3.11"},
        "python": "3.11",
        "requirements": {},
        "env_vars": {},
        "result_columns": ["result", "params", "version"],
        "results": results,
        "durations": {},
        "version": 2,
    }
    (machine / f"{commit[:8]}-existing.json").write_text(json.dumps(content))
    return results


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site of made-up results, published by asv from a detached clone of a repository with two commits."""
    home = tmp_path_factory.mktemp("site")
    made = ThrowAway(home / "origin")
    made.change("second", edits={"README.md": "more\n"})
    folder = home / "clone"
    git(home, "clone", "--quiet", str(made.folder), str(folder))
    git(folder, "checkout", "--quiet", "--detach", "second")
    asv(folder, "machine", "--yes")
    commit = git(folder, "rev-parse", "HEAD")
    asv(folder, "run", "--bench", "just-discover", "--python=same", "--set-commit-hash", commit)
    for tag in ("base", "second"):
        results = write_results(folder, git(folder, "rev-parse", tag))
    asv(folder, "publish")
    html = folder / ".asv" / "html"
    offline["make_offline"](html)
    return html, results


def test_the_page_loads_nothing_from_elsewhere_and_making_it_offline_again_changes_nothing(site):
    page = (site[0] / "index.html").read_text()
    assert "integrity" not in page
    assert page.index("size_axis.js") < page.index("graphdisplay.js")
    for name in offline["REPLACEMENTS"].values():
        assert f'"vendor/{name}"' in page
        assert (site[0] / "vendor" / name).is_file()
    offline["make_offline"](site[0])
    assert (site[0] / "index.html").read_text() == page


def test_every_vendored_library_has_its_licence():
    stated = (offline["VENDOR"] / "README.md").read_text()
    for name in offline["REPLACEMENTS"].values():
        family = name if name.count(".") < 3 or "orderBars" in name else f".{name.split('.')[2]}"
        assert family in stated, name
    for path in offline["VENDOR"].glob("LICENSE-*.txt"):
        assert path.name in stated
        assert "Permission is hereby granted, free of charge" in path.read_text().replace("\n", " ")


def test_what_is_no_site_of_a_known_asv_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no stand-in"):
        offline["localised"]('<script src="https://example.org/lib/new.js"></script>')
    with pytest.raises(ValueError, match="size axis has no place"):
        offline["localised"]("<html></html>")
    with pytest.raises(FileNotFoundError, match="asv publish"):
        offline["make_offline"](tmp_path)


# The curves of the plot, and for each of their points whether something of the curve's colour is drawn around it.
CURVES = """
(() => {
    const plot = $('#main-graph').data('plot');
    const canvas = $('#main-graph canvas')[0], context = canvas.getContext('2d');
    const scale = canvas.width / parseFloat(canvas.style.width), reach = Math.round(6 * scale);
    const near = (pixels, colour) => {
        for (let i = 0; i < pixels.length; i += 4) {
            const away = [colour.r, colour.g, colour.b].map((v, k) => Math.abs(v - pixels[i + k]));
            if (pixels[i + 3] > 128 && Math.max(...away) < 40) return true;
        }
        return false;
    };
    return plot.getData().filter(s => s.label).map(s => ({
        label: s.label,
        points: s.data.filter(p => p[1] !== null).map(p => {
            const place = plot.pointOffset({x: p[0], y: p[1]});
            const [left, top] = [place.left, place.top].map(v => Math.round(v * scale) - reach);
            const pixels = context.getImageData(left, top, 2 * reach, 2 * reach).data;
            return {x: p[0], y: p[1], drawn: near(pixels, $.color.parse(s.color))};
        }),
    }));
})()
"""


@pytest.mark.parametrize(
    "name", [f"bench_solvers.{n}" for n in ("Runtime.track_solve_seconds", "Quality.track_chance_corrected")]
)
def test_curves_over_size_of_every_solver_are_drawn(site, chromium, name):
    html, results = site
    with Server(html) as server:
        chromium.open(f"{server.address}/index.html#{name}")
        chromium.wait(f"$('#title').text().includes('{name}') && $('#main-graph').data('plot').getData().length > 10")
        curves = chromium.ask(CURVES)
    by_solver = {curve["label"].rpartition("solver-")[2]: curve["points"] for curve in curves}
    expected = dict(zip(itertools.product(SOLVERS, SIZES, CENTRINGS), results[name][0]))
    assert sorted(by_solver) == sorted(SOLVERS)
    for solver, points in by_solver.items():
        values = {size: v for size in SIZES if (v := expected[solver, size, CENTRINGS[0]]) is not None}
        assert {p["x"]: p["y"] for p in points} == pytest.approx(values)
        assert all(p["drawn"] for p in points), solver


def test_the_list_has_every_row(site, chromium):
    html, results = site
    names = {n: e["pretty_name"] for n, e in json.loads((html / "index.json").read_text())["benchmarks"].items()}
    listed = []
    for name, (_, params, _) in results.items():
        cells = [f" ({', '.join(cell)})" for cell in itertools.product(*params)] if params else [""]
        listed += [(names[name] or name) + cell for cell in cells]
    rows = "$('#summarylist-display table tbody tr')"
    with Server(html) as server:
        chromium.open(f"{server.address}/index.html#/summarylist")
        chromium.wait(f"{rows}.length >= {len(listed)}")
        shown = chromium.ask(f"{rows}.toArray().map(r => $(r).find('td').first().text())")
    assert sorted(shown) == sorted(listed)


def test_no_request_left_the_machine_and_none_failed(site, chromium):
    with Server(site[0]) as server:
        for page in ("", "#/summarylist", "#/regressions", "#bench_solvers.Runtime.track_solve_seconds"):
            chromium.open(f"{server.address}/index.html{page}")
            chromium.wait("$.asv.main_json && document.readyState === 'complete'")
    addresses = [url for url in chromium.requests if not url.startswith(("about:", "data:", "blob:"))]
    assert {urlsplit(url).hostname for url in addresses} == {"127.0.0.1"}
    assert (chromium.failures, chromium.errors) == ([], [])
