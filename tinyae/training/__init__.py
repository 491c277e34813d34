"""Training: the loop, its history, and what a run leaves on disk.

`fit` is the loop; `evaluate` the numbers; `save` and `load` one file; `Run` a folder with all of it. Everything that
touches the disk is written to a temporary neighbor first and renamed into place.
"""

from tinyae.training.loop import EarlyStopping, Epoch, History, TrainingInterrupted, fit
from tinyae.training.metrics import Metrics, compare_sequences, evaluate
from tinyae.training.pictures import draw_run
from tinyae.training.run import Run, load, save
from tinyae.training.stack import LinearProbe, fit_classifier, fit_stack, fit_stack_classifier, whole_history

__all__ = [
    "EarlyStopping",
    "Epoch",
    "History",
    "LinearProbe",
    "Metrics",
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
    "save",
    "whole_history",
]
