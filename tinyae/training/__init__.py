"""Training: the loop, its history, and what a run leaves on disk.

`fit` is the loop; `evaluate` the numbers; `save` and `load` one file; `Run` a folder with all of it. Everything that
touches the disk is written to a temporary neighbour first and renamed into place.
"""

from tinyae.training.checkpoint import load, save
from tinyae.training.classify import fit_classifier
from tinyae.training.comparison import compare_sequences
from tinyae.training.early_stopping import EarlyStopping
from tinyae.training.epochs import TrainingInterrupted
from tinyae.training.history import History
from tinyae.training.loop import Epoch, fit
from tinyae.training.metrics import evaluate, metric_units
from tinyae.training.pictures import draw_run
from tinyae.training.probe import LinearProbe
from tinyae.training.run import Run
from tinyae.training.stack import fit_stack, fit_stack_classifier, whole_history

__all__ = [
    "EarlyStopping",
    "Epoch",
    "History",
    "LinearProbe",
    "Run",
    "TrainingInterrupted",
    "compare_sequences",
    "draw_run",
    "evaluate",
    "fit",
    "fit_classifier",
    "fit_stack",
    "fit_stack_classifier",
    "load",
    "metric_units",
    "save",
    "whole_history",
]
