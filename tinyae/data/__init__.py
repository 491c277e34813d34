"""Data: published data sets by name, and the user's own files.

`load("fashion-mini")` and the other embedded sets work offline; `load("mnist")` and the other full sets are found on disk or
downloaded, and verified; `load("numbers.npy")` and `load("photos")`, a folder of pictures, read the user's own files.
Each is a `Dataset`: float32 arrays with a training and a test split, and their unit, license and origin. `windows` (or, for a
file, `load_series`) cuts a long series, `pad` joins sequences of unequal length, `moving_digits` generates films.
"""

from tinyae.data.arrays import Lengths, Scaler, check_lengths, divide, pad, padding
from tinyae.data.catalog import describe, names
from tinyae.data.dataset import Dataset, Incident, Split, Timeline
from tinyae.data.formats import read_idx
from tinyae.data.lookup import load
from tinyae.data.moving import moving_digits
from tinyae.data.pictures import load_folder
from tinyae.data.schema import Columns, Rows, Schema
from tinyae.data.series import Series, cut_windows, load_series, read_series, rewindow, table, windows
from tinyae.data.tables import Table, read_table

__all__ = [
    "Columns",
    "Dataset",
    "Incident",
    "Lengths",
    "Rows",
    "Scaler",
    "Schema",
    "Series",
    "Split",
    "Table",
    "Timeline",
    "check_lengths",
    "cut_windows",
    "describe",
    "divide",
    "load",
    "load_folder",
    "load_series",
    "moving_digits",
    "names",
    "pad",
    "padding",
    "read_idx",
    "read_series",
    "read_table",
    "rewindow",
    "table",
    "windows",
]
