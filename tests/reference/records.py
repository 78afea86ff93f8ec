"""Put on record in values.json what the studies measured and the documentation printed before studies became tasks.

python -m tests.reference.records --studies FOLDER --docs docs/studies

FOLDER holds one folder for every study as ``semrsm-bench study NAME --out FOLDER/NAME`` wrote it (study.json, rows.csv).
"""

from __future__ import annotations

import argparse
import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.reference.reference import VALUES, plain, write_file

Figures = Iterator[tuple[str, Any]]

NUMBER = r"[+−-]?\d[\d,]*\.?\d*"
CELL = re.compile(rf"(?:.*: )?({NUMBER})(?: ?%)?(?: ?±.*?| [\[(].*?[\])])?(?: (ns|µs|ms|s|min))?$")
SECONDS = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, None: 1.0}


def outputs(study: dict[str, Any], rows: list[dict[str, str]]) -> Figures:
    """``outputs/network/layer/kernel/matching/pearson``, and its difference from the spatio-semantic RSM's."""
    for r in rows:
        place = "/".join(("outputs", r["network"], r["layer"], r["kernel"], r["matching"], r["method"]))
        yield place, r["correlation"]
        yield f"{place}/difference from spatio-semantic", r["difference"]


def retrieval(study: dict[str, Any], rows: list[dict[str, str]]) -> Figures:
    """``retrieval/layer/kernel/matching/F1@1``, paired differences, and what every query retrieved."""
    scores, differences = study["tables"][:2]
    for r in scores["rows"]:
        place = "/".join(("retrieval", *(str(r[k]) for k in (0, 2, 3) if r[k] != "–")))
        for column in ("F1@1", "F1 best of 5", "IoU@1", "IoU best of 5"):
            yield f"{place}/{column}", r[scores["columns"].index(column)]
    for layer, kernel, score, what, value, *_ in differences["rows"]:
        yield f"retrieval/{layer}/{kernel}/{what}/{score} difference", value
    found: dict[str, list[int]] = {}
    for r in rows:
        if r["retrieved"]:
            place = "/".join(("retrieval", r["layer"], r["kernel"], r["matching"]))
            found.setdefault(f"{place}/retrieved", []).append(int(float(r["retrieved"])))
    yield from found.items()


def translation(study: dict[str, Any], rows: list[dict[str, str]]) -> Figures:
    """``translation/layer/kernel/matching/AUROC``, medians, partner first, difference from the spatio-semantic RSM's AUROC."""
    kernel = study["options"]["kernels"][0]
    values, differences = study["tables"][:2]
    for layer, _, matching, overlapping, unrelated, auroc, _, _, first in values["rows"]:
        place = f"translation/{layer}/{kernel}/{matching}"
        yield f"{place}/AUROC", auroc
        yield f"{place}/median overlapping", overlapping
        yield f"{place}/median unrelated", unrelated
        yield f"{place}/partner first %", first
    for layer, _, matching, difference, *_ in differences["rows"]:
        yield f"translation/{layer}/{kernel}/{matching}/AUROC difference from spatio-semantic", difference


def cka(study: dict[str, Any], rows: list[dict[str, str]]) -> Figures:
    """``cka/kernel/estimator/network:layer/other network:other layer/kind of RSM``; one side twice: its two RSMs."""
    for r in rows:
        sides = f"{r['network']}:{r['layer']}/{r['other_network']}:{r['other_layer']}"
        yield f"cka/{r['kernel']}/{r['estimator']}/{sides}/{r['what']}", r["cka"]


def barycenter(study: dict[str, Any], rows: list[dict[str, str]]) -> Figures:
    """Mean instance similarities by layer, their Spearman correlation with predictors, and of repeats with each other."""
    scores, predictors, by_layer, shares, repeats = study["tables"][:5]
    for r in scores["rows"]:
        for column, value in zip(scores["columns"][2:], r[2:]):
            yield f"barycenter/{r[0]}/{r[1]}/{column}", value
    for r in predictors["rows"]:
        for column in ("Spearman", "at equal distance", "ridge"):
            yield f"barycenter/predictor/{r[1]}/{column}", r[predictors["columns"].index(column)]
    for r in by_layer["rows"]:
        for layer, value in zip(by_layer["columns"][1:], r[1:]):
            yield f"barycenter/predictor/{r[0]}/{layer}/Spearman", value
    for r in shares["rows"]:
        yield f"barycenter/share of variance/{r[0]}", r[1]
    for between, first, second, value, *_ in repeats["rows"]:
        yield f"barycenter/{between}/{first}/{second}/Spearman", value


def matching_quality(study: dict[str, Any], rows: list[dict[str, str]]) -> Figures:
    """``matching-quality/layer/centring/solver/c``, downstream measures by kernel, unevenness; nothing that was timed."""
    names = {"quality": "k over k_opt", "chance_corrected": "c"}
    for r in rows:
        if "seconds" in r["measure"]:
            continue
        parts = (r["layer"], r["centring"], r["solver"], r["kernel"], names.get(r["measure"], r["measure"]))
        place = "/".join(("matching-quality", *filter(None, parts)))
        yield place, r["value"]
        if not r["measure"].startswith("unevenness"):
            yield f"{place}/worst", r["worst"]


STUDIES: dict[str, Callable[[dict[str, Any], list[dict[str, str]]], Figures]] = {
    "outputs": outputs,
    "retrieval": retrieval,
    "retrieval-quick": retrieval,
    "translation": translation,
    "cka": cka,
    "barycenter": barycenter,
    "matching-quality": matching_quality,
}


def read_studies(folder: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Commands by study, and all figures."""
    commands: dict[str, str] = {}
    figures: dict[str, Any] = {}
    for name, read in STUDIES.items():
        study = json.loads((folder / name / "study.json").read_text())
        with (folder / name / "rows.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        commands[name] = re.sub(r" --(json|quiet|out \S+)", "", study["command"])
        for key, value in read(study, rows):
            if value in ("", None):
                continue
            place = f"{name}/{key.split('/', 1)[1]}"
            number = plain(value if isinstance(value, list) else float(value))
            if figures.setdefault(place, number) != number:
                raise SystemExit(f"{place} is both {figures[place]} and {number}")
    return commands, figures


def read_docs(folder: Path) -> dict[str, float]:
    """Numbers of all tables of the pages: ``page/heading/row/column``; times in seconds, ends of intervals left out."""
    return {key: value for page in sorted(folder.glob("*.md")) for key, value in _tables(page)}


def _tables(page: Path) -> Iterator[tuple[str, float]]:
    heading, lines, counts = "", page.read_text().splitlines(), {}
    for at, line in enumerate(lines):
        if line.startswith("#"):
            heading = line.lstrip("# ")
        if not re.fullmatch(r"\|[ :|-]+\|", line):
            continue
        columns = _cells(lines[at - 1])
        columns = [c if c not in columns[:k] else f"{c} of {columns[k - 1]}" for k, c in enumerate(columns)]
        body = []
        while at + 1 < len(lines) and lines[at + 1].startswith("|"):
            at += 1
            body.append(_cells(lines[at]))
        counts[heading] = counts.get(heading, 0) + 1
        place = f"{page.stem}/{heading}" + (f" ({counts[heading]})" if counts[heading] > 1 else "")
        labels = [k for k in range(len(columns)) if _is_label([row[k] for row in body])]
        for row in body:
            label = ", ".join(row[k] for k in labels)
            for k, column in enumerate(columns):
                found = CELL.fullmatch(row[k])
                if k not in labels and found:
                    number = float(found[1].replace("−", "-").replace(",", ""))
                    yield f"{place}/{label}/{column}", plain(number * SECONDS[found[2]])


def _cells(line: str) -> list[str]:
    return [cell.strip().strip("*`") for cell in line.strip().strip("|").split("|")]


def _is_label(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if cell not in ("", "–")]
    return not any(CELL.fullmatch(cell) for cell in filled) and not any(" / " in cell for cell in filled)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=Path, required=True)
    parser.add_argument("--docs", type=Path, required=True)
    parser.add_argument("--values", type=Path, default=VALUES)
    arguments = parser.parse_args()
    content = json.loads(arguments.values.read_text())
    commands, figures = read_studies(arguments.studies)
    write_file(
        {**content, "commands": commands, "studies": figures, "docs": read_docs(arguments.docs)}, arguments.values
    )


if __name__ == "__main__":
    main()
