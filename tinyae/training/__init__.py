"""Training: the loop, its history, and the files of a run.

`fit` is the loop, `evaluate` computes metrics, `save` and `load` handle a model file, `Run` a folder with everything. Every
file is first written under a temporary name and then renamed.
"""

from tinyae.training.loop import fit
from tinyae.training.metrics import Metrics, compare_sequences, evaluate, report
from tinyae.training.model_file import save
from tinyae.training.onnx_file import export
from tinyae.training.pictures import draw_run
from tinyae.training.run import Run, load, load_arrays
from tinyae.training.stack import LinearProbe, fit_classifier, fit_stack, fit_stack_classifier, whole_history
from tinyae.training.state import (
    Checkpoint,
    EarlyStopping,
    Epoch,
    History,
    TrainingDiverged,
    TrainingInterrupted,
    TrainingState,
)

__all__ = [
    "Checkpoint",
    "EarlyStopping",
    "Epoch",
    "History",
    "LinearProbe",
    "Metrics",
    "Run",
    "TrainingDiverged",
    "TrainingInterrupted",
    "TrainingState",
    "compare_sequences",
    "draw_run",
    "evaluate",
    "export",
    "fit",
    "fit_classifier",
    "fit_stack",
    "fit_stack_classifier",
    "load",
    "load_arrays",
    "report",
    "save",
    "whole_history",
]
