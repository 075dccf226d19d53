"""Sections of a benchmark; if some are measured alone, the others keep their recorded figures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from benchmarks import harness
from benchmarks.harness import Figure, Run

Stage = TypeVar("Stage")


def recorded(name: str) -> dict[str, list[dict[str, object]]]:
    """The figures of the committed result, by section."""
    try:
        document = json.loads((harness.RESULTS / f"{name}.json").read_text())
        return dict(document["details"]["sections"])
    except (OSError, ValueError, KeyError):
        return {}


def measure_sections(run: Run, sections: Mapping[str, Callable[[Stage], None]], stage: Stage) -> None:
    """Run the chosen sections (``--only``, else all); the others keep what was recorded."""
    chosen = run.options.only or list(sections)
    kept = {} if run.quick else recorded(run.name)
    done: dict[str, object] = {}
    for name, section in sections.items():
        first = len(run.figures)
        if name in chosen:
            started = time.perf_counter()
            section(stage)
            run.say(f"section {name}: {time.perf_counter() - started:.0f} s")
            done[name] = [{**one.as_json(), "commit": harness.commit()} for one in run.figures[first:]]
        elif name in kept:
            done[name] = kept[name]
            for row in kept[name]:
                told = {key: value for key, value in row.items() if key not in {"ok", "commit"}}
                run.add(Figure(**told))  # type: ignore[arg-type]  # as as_json wrote it
    run.details["sections"] = done
