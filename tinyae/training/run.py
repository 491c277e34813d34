"""A run folder: the files of a training run.

config.json             the configuration: model, data, seed, and the environment in which it is repeatable bit for bit
model.safetensors       the weights after the last complete epoch
metrics.csv             one row per epoch, units in the header
scores.npy              the anomaly scores of the training samples, of which a quantile is the threshold
checkpoint.safetensors  the state from which the run continues: `tinyae train --resume RUN`
*.png, *.gif        pictures: reconstructions, loss curves, first-layer filters, codes, films
"""

from __future__ import annotations

import json
import os
import platform
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt

from tinyae.atomic import write_text
from tinyae.backend import backend_named
from tinyae.data import Dataset
from tinyae.models import Autoencoder, build
from tinyae.models.autoencoder import changes, described, set_again
from tinyae.nn import Module
from tinyae.training.source import SCORES, AppliedRun
from tinyae.training.state import Epoch, History, read_safetensors, write_safetensors

CONFIG, MODEL, METRICS = "config.json", "model.safetensors", "metrics.csv"
CHECKPOINT = "checkpoint.safetensors"


class Run(AppliedRun):
    """A run folder on disk, and the content of its `config.json`; made by `Run.create` or opened by `Run.open`."""

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path = path
        self.config = config

    @classmethod
    def create(cls, path: str | Path | None, config: dict[str, Any], *, force: bool = False) -> Run:
        """Make the folder and write `config.json`.

        Args:
            path: the folder; None picks `runs/MODEL-DATA`, or the first free `runs/MODEL-DATA-2`, `-3`, ...
            config: plain values.
            force: reuse an existing run folder, replacing its files. A folder that is not a run is never changed, and if
                the new `config.json` cannot be written, the old run remains intact.
        """
        if path is None:
            folder = _free_folder(f"{config['model']}-{Path(os.path.abspath(config['data'])).stem}")
        else:
            folder = _claim(Path(path), force)
        run = cls(folder, config)
        run.save_config()
        for old in (
            MODEL,
            METRICS,
            CHECKPOINT,
            SCORES,
            *(p.name for kind in ("*.png", "*.gif") for p in folder.glob(kind)),
        ):
            (folder / old).unlink(missing_ok=True)
        return run

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open an existing run folder. FileNotFoundError if it has no `config.json`, ValueError if that is damaged."""
        folder = Path(path)
        try:
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(
                f"{folder} is not a run folder (it has no {CONFIG}): give the folder that `tinyae train` printed."
            ) from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{folder / CONFIG} is damaged ({error}): train again, or restore it.") from None
        if not isinstance(config, dict) or not {"model", "data"} <= config.keys():
            raise ValueError(
                f"{folder / CONFIG} lacks the entries 'model' and 'data': it was not written by tinyae train."
            )
        return cls(folder, config)

    def save_config(self) -> None:
        """Write `config.json`."""
        write_text(self.path / CONFIG, json.dumps(self.config, indent=2) + "\n")

    def model(self) -> Any:
        """The trained model, in evaluation mode. Errors as for `load`."""
        return load(self.path / MODEL)

    def history(self) -> History:
        """The history in `metrics.csv`."""
        return History.load(self.path / METRICS)

    def record(self, epoch: Epoch) -> None:
        """Callback for `fit`: save weights and history after each epoch, so that a crash loses at most one epoch."""
        self.keep(epoch.model, epoch.history)

    def keep(self, model: Module, history: History) -> None:
        """Save weights and history, replacing those in the folder."""
        save(model, self.path / MODEL)
        history.save(self.path / METRICS)

    def forget(self) -> None:
        """Remove the folder if it holds only the configuration, as after an error before the first epoch."""
        if [file.name for file in self.path.iterdir()] == [CONFIG]:
            (self.path / CONFIG).unlink()
            self.path.rmdir()


def package_version() -> str:
    """The installed version, or "unknown" when run from a source tree that was never installed."""
    try:
        return version("tinyae")
    except PackageNotFoundError:
        return "unknown"


def environment(data: Dataset, device: str) -> dict[str, Any]:
    """What the bits of a run depend on besides its options: the samples, versions, processor and threads.

    Two runs with equal options and environments are equal bit for bit; across environments, sums may be rounded in another
    order.
    """
    from threadpoolctl import threadpool_info

    blas = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    versions = {"python": platform.python_version(), "numpy": np.__version__, "tinyae": package_version()}
    return {
        "data": data.sha256(),
        "versions": versions | {"blas": ", ".join(f"{pool['internal_api']} {pool['version']}" for pool in blas)},
        "processor": ", ".join([platform.machine(), *(str(pool.get("architecture")) for pool in blas)]),
        "device": backend_named(device).describe(),
        "threads": max((pool["num_threads"] for pool in blas), default=1),
    }


def _claim(folder: Path, force: bool) -> Path:
    """Make the folder of a new run, or use an empty one, or with `force` that of an old run."""
    if _made(folder):
        return folder
    if not folder.is_dir():
        raise FileExistsError(f"{folder} exists and is a file: give another --out.")
    if any(folder.iterdir()):
        try:
            Run.open(folder)
        except (FileNotFoundError, ValueError):
            raise FileExistsError(
                f"{folder} exists already and is not a run folder (it has no {CONFIG} of a run), and "
                "--force only replaces runs: give another --out."
            ) from None
        if not force:
            raise FileExistsError(f"{folder} exists already: give another --out, or --force to replace that run.")
    probe = folder / ".writable"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(f"cannot write into the run folder {folder}: {error.strerror}; give another --out.") from error
    return folder


def _free_folder(name: str) -> Path:
    """The first of runs/NAME, runs/NAME-2, ... that does not exist, made at once so that two runs never share a folder."""
    for number in range(1, 10_000):
        folder = Path("runs") / (name if number == 1 else f"{name}-{number}")
        if _made(folder):
            return folder
    raise OSError(f"10,000 runs named {name} exist under runs/: give --out, or remove some.")


def _made(folder: Path) -> bool:
    """Make a folder: True if it is new, False if it existed; raises OSError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=False)
    except FileExistsError:
        return False
    except OSError as error:
        raise OSError(f"cannot make the run folder {folder}: {error.strerror}; give another --out.") from error
    return True


# ---------------------------------------------------------------------------------------------------------------------
# `save` and `load`: a model as one `model.safetensors` file.
#
# The file holds arrays and, in its header, the recipe (a model's name and arguments) to rebuild the model. It contains no
# code, and loading it runs none.

_METADATA_KEY = "tinyae"
M = TypeVar("M", bound=Module)


def save(model: Module, path: str | Path) -> Path:
    """Write a module's parameters and buffers to `path` (atomically).

    A model from `tinyae.models.build` or a builder of the registry, its encoder and its decoder also store their recipe, and
    the settings that were changed since they were built. If something else was changed, such as a part replaced, the file
    holds no recipe, and a UserWarning says so.
    """
    header: dict[str, Any] = {"format": 1, "recipe": model.recipe}
    if model.recipe is not None:
        try:
            built = vars(model).get("_as_built") or described(_built(model.recipe))  # it may have been assigned
            header |= {"changes": found} if (found := changes(described(model), built)) else {}
        except ValueError as difference:
            header["recipe"] = None
            warnings.warn(
                f"{path} holds the weights only, since this {type(model).__name__} is no longer what its builder makes "
                f"({difference}): load them with tinyae.load(path, model=...).",
                stacklevel=2,
            )
    return write_safetensors(path, model.state_dict(), {_METADATA_KEY: json.dumps(header, sort_keys=True)})


def _built(recipe: Any) -> Module:
    whole = build(recipe["model"], recipe["arguments"])
    part = recipe.get("part")
    return getattr(whole, part) if part in ("encoder", "decoder") else whole


@overload
def load(path: str | Path) -> Autoencoder: ...
@overload
def load(path: str | Path, model: M) -> M: ...
def load(path: str | Path, model: Module | None = None) -> Module:
    """Read a model that `save` wrote.

    Args:
        path: the file, or a run folder that holds `model.safetensors`.
        model: load the values into this module (strictly); None builds the model from the recipe in the file: an
            `Autoencoder`, or the encoder or decoder alone if that was saved; in the dtype of the values.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a complete safetensors file, has no recipe and no `model` was given, or does not
            fit the model.
    """
    path = _model_file(Path(path))
    arrays, metadata = _read(path)
    if model is None:
        model = _rebuilt(path, metadata)
        dtypes = {array.dtype for array in arrays.values() if array.dtype.kind == "f"}
        model = model.to(dtype=dtypes.pop()) if len(dtypes) == 1 else model
    model.load_state_dict(arrays)
    model.eval()
    return model


def _rebuilt(path: Path, metadata: dict[str, str]) -> Module:
    """A new model from the recipe in the header."""
    try:
        header = json.loads(metadata.get(_METADATA_KEY, "{}"))
        if header.get("recipe"):
            model = _built(header["recipe"])
            set_again(model, header.get("changes", []))
            return model
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"the recipe in {path} builds no model here ({error}): it was written by another version or by hand; "
            "build the model yourself and pass load(path, model=...)."
        ) from error
    raise ValueError(
        f"{path} holds weights but no recipe to build the model: build it yourself and pass load(path, model=...)."
    )


def load_arrays(path: str | Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a saved model by name, of a file or a run folder. Errors as for `load`."""
    return _read(_model_file(Path(path)))[0]


def _model_file(path: Path) -> Path:
    """The file, or that in a run folder; raises FileNotFoundError if there is none."""
    file = path / MODEL if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"no saved model at {file}: train one with `tinyae train`, or check the path.")
    return file


def _read(path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    from safetensors import SafetensorError

    try:
        return read_safetensors(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is not a complete safetensors file ({error}): it may be truncated; train or copy it again."
        ) from error
