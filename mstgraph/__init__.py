"""mstgraph: cross-modal knowledge distillation, declared as a graph.

import mstgraph
experiment = mstgraph.load("gin/mfeat_zer.gin", "DKD.k = 2")
print(experiment)                    # what a graph implies: teachers, δ, schedule
print(experiment.advise())           # will distillation help: members alone, then measured
run = experiment.run()               # train it; again: continues or reuses
run.summary["students"]["zer"]       # metrics on the test split
run.history()                        # a row per stage and epoch
student = run.student("zer")         # raw values in, logits out
run.export("onnx", int8=True)        # the same as a file for devices, measured
list(run.predict(["values.csv"]))    # what it says of raw files, rows, lines

Names are imported when they are first used: importing mstgraph imports neither torch nor gin.
What they are stands in ``__init__.pyi``, for editors and type checkers.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

__all__ = [
    "Advice",
    "Experiment",
    "Interrupted",
    "Reporter",
    "Run",
    "RunError",
    "Silent",
    "Student",
    "UserError",
    "__version__",
    "bench",
    "draw",
    "load",
    "load_student",
    "new",
    "open_run",
    "prepare",
    "tune",
    "write_page",
]

_HOMES = {
    "Advice": "mstgraph.api.advice",
    "Experiment": "mstgraph.api.experiment",
    "Interrupted": "mstgraph.support.interrupt",
    "Reporter": "mstgraph.run.reporter",
    "Run": "mstgraph.api.run",
    "RunError": "mstgraph.support.errors",
    "Silent": "mstgraph.run.reporter",
    "Student": "mstgraph.run.artefacts.student",
    "UserError": "mstgraph.support.errors",
    "bench": "mstgraph.benchmark.call",
    "draw": "mstgraph.api.draw",
    "load": "mstgraph.api.experiment",
    "load_student": "mstgraph.run.artefacts.student",
    "new": "mstgraph.api.own_data",
    "open_run": "mstgraph.api.run",
    "prepare": "mstgraph.report.preparation",
    "tune": "mstgraph.tuning.call",
    "write_page": "mstgraph.page.page",
}


def __getattr__(name: str) -> Any:
    """Import a public name; what it registers in gin stays out of the state of whoever asks."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mstgraph' has no attribute '{name}'")
    from mstgraph.declare.gin_state import registering

    with registering():
        value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
