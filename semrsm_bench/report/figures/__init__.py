"""The figures of a run: time-score front, time over S, scores, profiles, and what a task draws itself; each as PNG, SVG and PDF.

A task with pictures of its own has a module here of its name with ``draw(results)``, which yields `Drawing`s.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from semrsm_bench.core.files import writing
from semrsm_bench.report.layout import Layout
from semrsm_bench.report.places import axes
from semrsm_bench.report.provenance import figure_caption
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.statistics import has_statistics
from semrsm_bench.report.style import RC, Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What would make two files of the same figure differ.
_UNDATED = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


def draw_all(
    results: Sequence[TaskResults],
    out_dir: Path,
    *,
    formats: Sequence[str] = tuple(_UNDATED),
    private: bool = False,
    each: bool = True,
    jobs: int = 1,
) -> list[Path]:
    """Draw every figure that the results allow, and return the files; none where no row is ok.

    Files are ``front-none.png`` and so on: what the cells of a figure share is in the name where it varies, and the task where
    there are several; of several tasks also ``fronts.png``, ``ranks-KIND.png`` and ``orders-KIND.png``. ``private`` adds those
    that show a user's own pictures, whose licence may forbid to pass them on; not ``each`` leaves those of single tasks out. They
    are written by so many processes.
    """
    import matplotlib
    from joblib import Parallel, delayed

    # Processes that joblib keeps may be in another folder.
    folder = out_dir.absolute()
    with matplotlib.rc_context(dict(RC)):
        named = _named(results, private, each)
        files = Parallel(n_jobs=jobs)(delayed(_save)(figure, name, folder, formats) for name, figure in named)
    return [out_dir / name for names in files for name in names]


def _named(results: Sequence[TaskResults], private: bool, each: bool) -> Iterator[tuple[str, Figure]]:
    """Every figure and the name of its files, no two alike."""
    from semrsm_bench.report.figures.overview import overview

    several = len(results) > 1
    drawings = ((one.task.name if several else "", drawing) for one in results if each for drawing in drawings_of(one))
    written: set[str] = set()
    for task, drawing in itertools.chain(drawings, (("", drawing) for drawing in overview(results))):
        if not (drawing.shareable or private):
            continue
        name = drawing.name if drawing.name.startswith(task) else f"{task}-{drawing.name}"
        # Two names can become one where letters differ that no file takes.
        names = itertools.chain([name], (f"{name}-{i}" for i in itertools.count(2)))
        name = next(n for n in names if n not in written)
        written.add(name)
        yield name, drawing.figure


def _save(figure: Figure, name: str, folder: Path, formats: Sequence[str]) -> list[str]:
    """Write the files of a figure, in whichever process; their names."""
    import matplotlib

    files = [f"{name}.{fmt}" for fmt in formats]
    with matplotlib.rc_context(dict(RC)):
        if len(formats) > 1:
            # Placed once for all formats: that takes longer than drawing.
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
        for file, fmt in zip(files, formats):
            with writing(folder / file) as partial:
                figure.savefig(partial, format=fmt, dpi=200, metadata=_UNDATED[fmt])
    return files


def drawings_of(results: TaskResults, *, fronts: bool = True) -> Iterator[Drawing]:
    """Figures of one task, one at a time: those that all tasks have, with or without the time-score front, then its own."""
    yield from _run_drawings(results, fronts)
    module = f"{__name__}.{results.task.name.replace('-', '_')}"
    # They show fixed scores, so not where the user has chosen some.
    chosen = results.task.scores != type(results.task).scores
    if not chosen and results.folder is not None and importlib.util.find_spec(module) is not None:
        yield from importlib.import_module(module).draw(results)


def _run_drawings(results: TaskResults, fronts: bool) -> Iterator[Drawing]:
    from semrsm_bench.report.figures.profiles import PROFILE_NOTE, draw_profiles
    from semrsm_bench.report.figures.run import FRONT_NOTE, draw_cases, draw_front, draw_runtime

    layout, task, score = Layout(results), results.task, results.task.scores[0].title
    sheets = layout.sheets(wide=True)
    firsts = [results.places[sheet.cells[0]] for sheet in sheets]
    for sheet, place in zip(sheets, firsts):
        title = layout.title(sheet)
        foot = figure_caption(results, ": ".join(filter(None, (title, layout.cases(sheet)))))
        # What tells a figure from the others of its kind; where a task has a key `beside`, that key at least.
        varying = {axis[0] for axis in axes(firsts, sheet.keys)} | {task.beside}
        suffix = "-".join(str(place.get(key, "")) for key in sheet.keys if key in varying)
        # Time over S says something where S varies; a task of solvers always shows all three, so that runs look alike.
        over_s = task.kind == "solver" or len({results.places[cell].get("size") for cell in sheet.cells}) > 1
        boxes = task.kind == "solver" or (over_s and max(results.most_cases[cell] for cell in sheet.cells) > 1)
        for name, wanted, draw, note, alt in (
            ("front", fronts, draw_front, FRONT_NOTE, f"{score} against time"),
            ("runtime", over_s, draw_runtime, "Median time over S.", "time over S"),
            ("quality", boxes, draw_cases, "Scores of single cases.", f"{score} of all cases"),
            (
                "profile",
                has_statistics(results),
                draw_profiles,
                PROFILE_NOTE,
                "performance profile: share of cases by time over the fastest",
            ),
        ):
            if wanted and (figure := draw(layout, sheet, foot)) is not None:
                yield Drawing(f"{name}-{suffix}", figure, note, f"{alt}, {title}")
    for sheet in layout.together() if has_statistics(results) else ():
        title, suffix = layout.title(sheet), "-".join(str(results.places[sheet.cells[0]][key]) for key in sheet.keys)
        if (
            figure := draw_profiles(layout, sheet, figure_caption(results, f"{title}: {layout.cases(sheet)}"))
        ) is not None:
            yield Drawing(f"profile-together-{suffix}", figure, PROFILE_NOTE, f"performance profile, {title}")
