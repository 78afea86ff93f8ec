"""Folders of studies as `semrsm-bench study` writes them, with contents that are known beforehand."""

import base64
import json

# One red pixel.
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC")


def study(**changes):
    """What a ``study.json`` holds."""
    return {
        "schema": 1,
        "name": "example",
        "title": "Does an example show anything?",
        "sentence": "It does: 0.9 against 0.5.",
        "command": "semrsm-bench study example --count 12",
        "date": "2026-01-02T03:04:05.000+00:00",
        "seconds": 41.5,
        "quick": False,
        "options": {"count": 12},
        "inputs": {"network": {"name": "resnet-x", "sha256": "cd" * 32}},
        "environment": {"cpu": {"model": "Example CPU"}, "commit": "fedcba98", "dirty": False},
        "tables": [
            {"title": "Ours", "columns": ["solver", "rho"], "rows": [["slow", 0.9], ["fast", None]], "note": "A note."}
        ],
        "paper": [{"title": "Their Table 9", "columns": ["solver", "rho"], "rows": [["slow", 0.77]], "note": ""}],
        "figures": [{"file": "plot.png", "caption": "What it looks like", "alt": "A red square"}],
        "notes": ["Small numbers."],
    } | changes


def write_study(folder, **changes):
    """Write a study's folder; its path."""
    content = study(**changes)
    place = folder / content["name"]
    place.mkdir(parents=True)
    (place / "study.json").write_text(json.dumps(content))
    (place / "plot.png").write_bytes(PIXEL)
    return place
