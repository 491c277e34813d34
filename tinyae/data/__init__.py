"""Data: published data sets by name, and the user's own files.

`load("fashion-mini")` and the other embedded sets work offline; `load("mnist")` and the other full sets are found on disk or
downloaded, and verified; `load("numbers.npy")` and `load("photos")`, a folder of pictures, read the user's own files.
Each is a `Dataset`: float32 arrays with a training and a test split, and their unit, license and origin. `windows` (or, for a
file, `load_series`) cuts a long series, `pad` joins sequences of unequal length, `moving_digits` generates films.
"""

from tinyae.data.catalog import describe, names
from tinyae.data.dataset import (
    Dataset,
    Incident,
    Lengths,
    Scaler,
    Split,
    Timeline,
    check_lengths,
    pad,
    padding,
)
from tinyae.data.formats import read_idx
from tinyae.data.lookup import load
from tinyae.data.moving import moving_digits
from tinyae.data.pictures import load_folder
from tinyae.data.series import Series, cut_windows, load_series, read_series, rewindow, windows
from tinyae.data.source import Source

__all__ = [
    "Dataset",
    "Incident",
    "Lengths",
    "Scaler",
    "Series",
    "Source",
    "Split",
    "Timeline",
    "check_lengths",
    "cut_windows",
    "describe",
    "load",
    "load_folder",
    "load_series",
    "moving_digits",
    "names",
    "pad",
    "padding",
    "read_idx",
    "read_series",
    "rewindow",
    "windows",
]
