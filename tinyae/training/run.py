"""A run folder: the files of a training run.

config.json             the configuration: model, data, seed, and the environment in which it is repeatable bit for bit;
                        its entry "run" is the manifest: which files belong to the run
model.safetensors       the weights after the last complete epoch that was committed
metrics.csv             one row per epoch, units in the header
scores.npy              the anomaly scores of the training samples, of which a quantile is the threshold
checkpoint.safetensors  the state from which the run continues: `tinyae train --resume RUN`
run.toml                all settings, for `tinyae train --config`
README.md               what was trained on which data, with which results
*.png, *.gif        pictures: reconstructions, loss curves, first-layer filters, codes, films

Several files change together, and a process may be killed at any moment. So there is one commit: the new content of each file
is written next to it, under the name `.NAME.GENERATION`, and synced; then `config.json` is replaced by one that names this
generation. That renaming is the commit. Before it, a reader finds the old files; after it, the new ones, first under their
staged names and then, when they have been renamed too, under their own. The next process that opens the folder for writing
finishes the renaming or removes staged files without a commit.
"""

from __future__ import annotations

import glob
import hashlib
import io
import json
import os
import platform
import re
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt

from tinyae.atomic import LOCK, cannot_write, lock_folder, stage, staged, sync_folder
from tinyae.backend import backend_named
from tinyae.checks import checked, reading, system_error
from tinyae.data import Dataset
from tinyae.data.formats import read_npy
from tinyae.models import Autoencoder
from tinyae.nn import Module
from tinyae.training.applied import AppliedRun
from tinyae.training.model_file import arrays_of, load_file, model_bytes
from tinyae.training.state import Checkpoint, Epoch, History, TrainingState, check_types, run_of

CONFIG, MODEL, METRICS = "config.json", "model.safetensors", "metrics.csv"
CHECKPOINT, SCORES = "checkpoint.safetensors", "scores.npy"
TEXTS = SETTINGS, CARD = "run.toml", "README.md"
_FILES = (CONFIG, MODEL, METRICS, CHECKPOINT, SCORES, *TEXTS)

PICTURE = (
    r"(aggregate_posterior|between|codebook|codes|confusion|denoising|film|filters\d*|gradients|interpolation|kl|loss|manifold|"
    r"predictions|recalled|reconstructions|restyled|samples|strokes|tangents)\.png|film\.gif"
)
"""The names of all pictures that `draw_run` makes. Nothing else but the files above is ever deleted."""

_WRITTEN = "|".join([*map(re.escape, _FILES), PICTURE])
_STAGED = rf"\.({_WRITTEN})\.[a-z0-9_]{{8}}"
T = TypeVar("T")


class Run(AppliedRun):
    """A run folder on disk, and the content of its `config.json`; made by `Run.create` or opened by `Run.open`.

    Attributes:
        path: the folder.
        config: plain values; written with the next commit.
        manifest: the entry "run" of `config.json`: the `id` of the run, which its files carry too; the `generation`, a
            number that every commit raises; `files`, the generation of each; `pictures`, or, while they are drawn and for a run
            of an earlier version, None and those of `others`; and, until they are deleted, the files of the run that it
            `replaces`.
    """

    def __init__(self, path: Path, config: dict[str, Any], manifest: dict[str, Any]) -> None:
        self.path = path
        self.config = config
        self.manifest = manifest
        self._place: tuple[int, int] | None = None  # the folder's device and inode, while this run is at work in it
        self._unlock: Callable[[], object] = lambda: None
        self._new: list[Path] = []  # folders that `create` made, the inner ones first
        self._texts: dict[str, bytes] = {}

    @classmethod
    @checked
    def create(cls, path: str | Path | None, config: dict[str, Any], *, force: bool = False) -> Run:
        """Make the folder and write `config.json`, or, with an old run in it, get ready to replace that.

        Args:
            path: the folder; None picks `runs/MODEL-DATA`, or the first free `runs/MODEL-DATA-2`, `-3`, ...
            config: plain values.
            force: reuse an existing run folder. The old run stays unchanged until the first `keep` of the new one, which
                replaces its files and deletes those that only the old run wrote; everything else stays. A folder that is not
                a run is never changed.

        The folder is locked until `close`, or until this object or its process ends: a second run in it is refused with
        BlockingIOError. In the same process it takes over, and the first one can write no more. An error leaves no new folder.
        """
        if path is None:
            folder, new = _free_folder(f"{config['model']}-{Path(os.path.abspath(config['data'])).stem}")
        else:
            folder = Path(path)
            if not (new := _made(folder)) and not folder.is_dir():
                raise FileExistsError(f"{folder} exists and is a file: give another --out.")
        run = cls(folder, config, _NOTHING | {"id": identity(config), "pictures": []})
        run._lock()
        run._new = new
        try:
            old = _replaced(folder, force)
            (run if old is None else old)._tidy()
            if old is None:
                run._commit({})
            else:
                run.manifest |= {"generation": old.manifest["generation"], "replaces": old.written()}
        except BaseException:
            run.forget()
            raise
        return run

    @classmethod
    @checked
    def open(cls, path: str | Path, *, write: bool = False) -> Run:
        """Open an existing run folder.

        Args:
            path: the folder.
            write: lock it, as `create` does, to continue the run; and finish or remove what an interrupted process left.

        Raises:
            FileNotFoundError: it has no `config.json`.
            ValueError: that is damaged, or files of two runs are mixed.
            BlockingIOError: to be opened for writing, while a run is at work in it.
        """
        folder = Path(path)
        while True:
            run = cls(folder, *_read_config(folder))
            try:
                for name in (MODEL, METRICS, CHECKPOINT):
                    with suppress(FileNotFoundError):
                        run._read(name, Path.stat)
                break
            except ValueError:
                if _read_config(folder)[1] == run.manifest:  # else it was replaced just now
                    raise
        if write:
            run._begin()
        return run

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}: {self.config.get('model')} on {self.config.get('data')})"

    def model(self) -> Any:
        """The trained model, in evaluation mode. Errors as for `load`."""
        model = self._read(MODEL, load_file)
        if not isinstance(model, Autoencoder):
            raise ValueError(f"{self.path / MODEL} holds a part of a model only: save the whole model there.")
        if model.recipe is not None and model.recipe["model"] != self.config["model"]:
            raise ValueError(
                f"{self.path / MODEL} holds the model {model.recipe['model']!r}, and {CONFIG} beside it is of {self.config['model']!r}: "
                "files of two runs are mixed, so restore the right one, or train again."
            )
        return model

    def history(self) -> History:
        """The history in `metrics.csv`."""
        return self._read(METRICS, History.load)

    def state(self) -> tuple[TrainingState | None, dict[str, Any]]:
        """The state in the checkpoint and what was saved with it; None without a checkpoint."""
        try:
            return self._read(CHECKPOINT, TrainingState.load_with_extra)
        except FileNotFoundError:
            return None, {}

    def record(self, epoch: Epoch) -> None:
        """Callback for `fit`: save weights and history after each epoch, so that a crash loses at most one epoch."""
        self.keep(epoch.model, epoch.history)

    def keep(
        self, model: Module, history: History, state: TrainingState | None = None, extra: dict[str, Any] | None = None
    ) -> None:
        """Commit weights and history, and the state if given, in place of those in the folder."""
        files: dict[str, Callable[[], bytes]] = {
            MODEL: lambda: model_bytes(model, self.path / MODEL, self.manifest["id"]),
            METRICS: lambda: history.to_csv(self.manifest["id"]).encode(),
        }
        if state is not None:
            files[CHECKPOINT] = lambda: state.to_bytes(extra or {}, self.manifest["id"])
        self._commit(files)

    def keep_state(self, state: TrainingState, extra: dict[str, Any]) -> None:
        """Commit a state in the middle of an epoch; not of a run whose first complete epoch will replace another run."""
        if "replaces" not in self.manifest:
            self._commit({CHECKPOINT: lambda: state.to_bytes(extra, self.manifest["id"])})

    def keep_scores(self, scores: npt.NDArray[np.float64]) -> None:
        """Commit the anomaly scores of the training samples."""
        np.save(content := io.BytesIO(), scores, allow_pickle=False)
        self._commit({SCORES: content.getvalue})

    def training_scores(self) -> npt.NDArray[np.float64]:
        """The anomaly scores of the training samples; FileNotFoundError if they were not kept."""
        return self._read(SCORES, read_npy)

    def describe(self, texts: Mapping[str, str]) -> None:
        """Write texts, by their names in `TEXTS`, with the next commit; one of that name that no run wrote is left unchanged.

        What UTF-8 does not have, such as half a character in the name of a file, is written as an escape.
        """
        for name, text in texts.items():
            if name in self.written() or not self._target(name).exists():
                self._texts[name] = text.encode("utf-8", "backslashreplace")

    def draw(self, draw: Callable[[], list[Path]]) -> list[Path]:
        """Call `draw()`, which writes pictures into the folder, and record them as the run's own; returns the files."""
        own = self.written()
        others = [
            file.name for file in self.path.iterdir() if re.fullmatch(PICTURE, file.name) and file.name not in own
        ]
        self._commit({}, pictures=None, others=others)
        files = draw()
        # Texts about the pictures; the last commit has no files, so a run that ends well has no renaming left.
        self._commit({})
        drawn = {*(name for name in own if re.fullmatch(PICTURE, name)), *(file.name for file in files)}
        self._commit({}, pictures=sorted(drawn), others=[])
        return files

    def close(self) -> None:
        """Unlock the folder, after a look for what an interrupted commit left in it."""
        if self._place is not None:
            with suppress(OSError, ValueError):
                Run(self.path, *_read_config(self.path))._tidy()
        self._unlock()
        self._place = None

    def forget(self) -> None:
        """Unlock the folder; if it is new and has no epoch, remove it, and the folders that were made for it and are empty."""
        self.close()
        with suppress(OSError):
            if self._new and {file.name for file in self.path.iterdir()} <= {CONFIG}:
                (self.path / CONFIG).unlink(missing_ok=True)
                for folder in self._new:
                    folder.rmdir()

    def written(self) -> list[str]:
        """The names of the files that the run wrote: those on its list, or, of an earlier version, those with usual names."""
        pictures = self.manifest["pictures"]
        if pictures is None:
            found = {file.name for file in self.path.iterdir()} - {*self.manifest["others"]}
            pictures = [name for name in found if re.fullmatch(PICTURE, name)]
        files = [name for name in _FILES[1:] if name not in TEXTS or name in self.manifest["files"]]
        return [*files, *pictures, *self.manifest.get("replaces", ())]

    # The commit.

    def _commit(self, files: Mapping[str, Callable[[], bytes]], **entries: Any) -> None:
        """Write these files and `config.json`, all of them or none; `entries` are changes of the manifest."""
        self._begin()
        number = self.manifest["generation"] + 1
        files = {**files, **{name: partial(bytes, text) for name, text in self._texts.items()}}
        manifest = self.manifest | {"files": self.manifest["files"] | dict.fromkeys(files, number)} | entries
        try:
            for name, content in files.items():
                self._stage(name, content, number)
            self._write_config(manifest | {"generation": number})
        except BaseException:
            with suppress(OSError, ValueError):
                found = Run(self.path, *_read_config(self.path)) if (self.path / CONFIG).exists() else self
                if found.manifest["generation"] == number:  # the error came after the commit
                    self.manifest = found.manifest
                found._tidy()
            raise
        self._texts = {}
        self._finish()

    def _stage(self, name: str, content: Callable[[], bytes], number: int) -> Path:
        """Write the next content of a file next to it, or, if it is a link, next to its target."""
        with cannot_write(self.path / name):
            return stage(self._target(name), lambda file: file.write_bytes(content()), f"{number:08}")

    def _write_config(self, manifest: dict[str, Any]) -> None:
        """Replace `config.json`: the commit."""
        text = json.dumps(self.config | {"run": manifest}, indent=2) + "\n"
        temporary = self._stage(CONFIG, text.encode, manifest["generation"])
        for folder in {self._target(name).parent for name in (CONFIG, *manifest["files"])}:
            sync_folder(folder)
        with cannot_write(self.path / CONFIG):
            os.replace(temporary, self._target(CONFIG))
        self.manifest = manifest
        sync_folder(self._target(CONFIG).parent)

    def _finish(self) -> None:
        """Give the files of the last commit their own names, and delete those of the run that it replaced."""
        with suppress(OSError):  # readers find them all the same, and the next one to write tries again
            for name in self.manifest["files"]:
                if self._staged(name).exists():
                    os.replace(self._staged(name), self._target(name))
            if "replaces" in self.manifest:
                for name in self.manifest["replaces"]:
                    file = self.path / name
                    if name not in self.manifest["files"] and re.fullmatch(_WRITTEN, name) and not file.is_dir():
                        file.unlink(missing_ok=True)
                self._write_config({key: value for key, value in self.manifest.items() if key != "replaces"})

    def _tidy(self) -> None:
        """Finish the last commit, and remove temporary files of any other."""
        self._finish()
        left = [file for file in self.path.iterdir() if re.fullmatch(_STAGED, file.name)]
        for target in map(self._target, _FILES):  # of a link, beside what it leads to
            left += target.parent.glob(f".{glob.escape(target.name)}.????????")
        committed = {self._staged(name).name for name in self.manifest["files"]}  # if they could not be renamed
        for file in left:
            if file.name not in committed:
                file.unlink(missing_ok=True)

    def _target(self, name: str) -> Path:
        return Path(os.path.realpath(self.path / name))

    def _staged(self, name: str) -> Path:
        return staged(self._target(name), f"{self.manifest['files'][name]:08}")

    def _read(self, name: str, read: Callable[[Path], T]) -> T:
        """What `read` makes of a file of the run, under the name at which it was staged or, if that is gone, under its own.

        Raises ValueError if the file carries the identity of another run.
        """
        if name in self.manifest["files"]:
            with suppress(FileNotFoundError):
                return read(self._staged(name))
        elif name in self.manifest.get("replaces", ()):
            raise FileNotFoundError(f"{self.path} has no {name} yet: continue the run with --resume.")
        file = self.path / name
        found, owner = read(file), run_of(file)
        if None not in (owner, self.manifest["id"]) and owner != self.manifest["id"]:
            raise ValueError(
                f"{file} belongs to the run {owner!r}, and {CONFIG} beside it to {self.manifest['id']!r}: files of two runs are "
                "mixed, or one was replaced just now, so open it again, restore the right file, or train again."
            )
        return found

    # The lock.

    def _begin(self) -> None:
        """Lock the folder for writing, unless this run has done so; raise if it is not what it was."""
        if self._place is not None:
            with suppress(OSError):
                if _place(self.path) == self._place:
                    return
            raise FileNotFoundError(
                f"the run folder {self.path} was moved or removed while its run was at work: put it back, and go on with "
                f"`tinyae train --resume {self.path}`."
            )
        self._lock()
        try:
            now = Run(self.path, *_read_config(self.path))
            if now.manifest["generation"] != self.manifest["generation"]:
                raise ValueError(f"{self.path} was continued or replaced since this run opened it: open it again.")
            now._tidy()
            if "replaces" not in self.manifest:
                self.manifest = now.manifest
        except BaseException:
            self.close()
            raise

    def _lock(self) -> None:
        """Lock the folder, taking it over from another run of this process; raise if nothing can be written into it."""
        place = _place(self.path)
        if (earlier := _AT_WORK.get(place)) is not None:
            earlier.close()
        try:
            handle = lock_folder(self.path)
            if handle is not None:
                self._unlock = weakref.finalize(self, os.close, handle)
            probe = self.path / f".{CONFIG}.writable"
            probe.touch()
            probe.unlink()
        except BlockingIOError:
            raise BlockingIOError(
                f"a run is at work in {self.path}: wait until it ends, or give another --out."
            ) from None
        except OSError as error:
            self.close()
            raise system_error(f"cannot write into the run folder {self.path}", error) from error
        self._place = place
        _AT_WORK[place] = self


_AT_WORK: weakref.WeakValueDictionary[tuple[int, int], Run] = weakref.WeakValueDictionary()
"""The runs of this process, by the folders that they have locked."""


class RunCheckpoint(Checkpoint):
    """A `Checkpoint` of a run: after a complete epoch it commits weights, history and state together.

    Args:
        run: the run folder.
        model: the whole model, as it is saved.
        minutes: as for `Checkpoint`. While the run is to replace another (`force`), nothing is written before its first
            complete epoch, so that the other stays whole.
        extra: plain values to be saved with the state.

    Attributes:
        history: makes the history to be saved from a state; set by a run with several stages.
    """

    def __init__(self, run: Run, model: Module, minutes: float | None = None, **extra: Any) -> None:
        super().__init__(run.path / CHECKPOINT, minutes, **extra)
        self.run, self.model = run, model
        self.history: Callable[[TrainingState], History] = lambda state: History(state.units, state.rows)

    def _put(self, state: TrainingState) -> None:
        if state.position is None:
            self.run.keep(self.model, self.history(state), state, self.extra)
        else:
            self.run.keep_state(state, self.extra)


# ---------------------------------------------------------------------------------------------------------------------
# What `config.json` says.

_NOTHING: dict[str, Any] = {"id": None, "generation": 0, "files": {}, "pictures": None, "others": []}
"""The manifest of a run of an earlier version, which wrote none."""

_OPTIONS: dict[str, dict[str, Any]] = {
    "data_options": {"image_size": [int, int], "gray": bool, "skip_broken": bool},
    "windows": {"length": int, "stride": int, "horizon": int, "time": (str, int), "scaling": str},
    "table": {
        **dict.fromkeys(("label", "id", "group"), (str, int)),
        **dict.fromkeys(("time", "drop", "use"), (str, int, [(str, int)])),
        **dict.fromkeys(("missing", "time_format", "decimal", "kind", "scaling"), str),
        "header": bool,
        "test_share": float,
    },
}
_CONFIG: dict[str, Any] = {name: (None, kinds) for name, kinds in _OPTIONS.items()} | {
    "model": str, "data": str, "arguments": dict, "device": str, "seed": int, "epochs": int, "classifier_epochs": int,
    "tuning_epochs": int, "batch_size": (None, int), "drop_last": (None, bool), "clip_norm": (None, float), "optimizer": str,
    "lr": float, "momentum": float, "nesterov": bool, "schedule": str, "final_lr": float, "step_size": int, "gamma": float,
    "warmup_steps": int, "minutes": (None, float), "threads": (None, int),
    "scaler": (None, [[float], [float], str]), "schema": (None, dict), "kind": str,
    "class_names": [str],
    "unit": str, "scale": float, "validation": float, "patience": int,
    "environment": {"data": str, "versions": dict, "processor": str, "device": str},
    "run": {
        "id": (None, str), "generation": int, "files": dict.fromkeys(_FILES[1:], int),
        "pictures": (None, [str]), "others": [str], "replaces": [str],
    },
}  # fmt: skip
"""The kinds of the entries that are read, see `check_types`."""

_DEEPEST = 20


def _read_config(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration and the manifest in `config.json`. Errors as for `Run.open`."""
    file = folder / CONFIG
    try:
        with reading(file, "the configuration of a run", "train again, or restore it"):
            config = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(config, dict) or not {"model", "data"} <= config.keys():
                raise NotARun(f"{file} lacks the entries 'model' and 'data': it was not written by tinyae train.")
            if _deeper(config, _DEEPEST):
                raise ValueError(f"its entries are nested more than {_DEEPEST} deep")
            check_types(config, _CONFIG, "")
            for name, known in _OPTIONS.items():
                if config.get(name) and (unknown := config[name].keys() - known.keys()):
                    raise ValueError(f"{name} has an entry {min(unknown)!r}")
            if config.get("windows") is not None and "length" not in config["windows"]:
                raise ValueError("windows has no length")
            return config, _NOTHING | config.pop("run", {})
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f"{folder} is not a run folder (it has no {CONFIG}): give the folder that `tinyae train` printed."
        ) from None


class NotARun(ValueError):
    """A `config.json` of another program."""


def _deeper(value: Any, levels: int) -> bool:
    """Whether lists and dicts are nested more than `levels` deep."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_deeper(part, levels - 1) for part in inside)


def identity(config: dict[str, Any]) -> str:
    """The name of a run: equal for two runs that compute the same from the same data, whose files are equal in every bit."""
    said = {key: value for key, value in config.items() if key not in ("minutes", "threads", "environment")}
    said["samples"] = config.get("environment", {}).get("data")
    return f"{config['model']}-{hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]}"


def package_version() -> str:
    """The installed version, or "unknown" when run from a source tree that was never installed."""
    try:
        return version("tinyae")
    except PackageNotFoundError:
        return "unknown"


def environment(data: Dataset, device: str) -> dict[str, Any]:
    """What the bits of a run depend on besides its options: the samples, versions and processor.

    Two runs with equal options and environments are equal bit for bit; across environments, sums may be rounded in another
    order. The number of threads does not matter inside `tinyae.backend.threads`.
    """
    from threadpoolctl import threadpool_info

    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    # SciPy has a BLAS of its own, which models do not use, and which is loaded or not
    blas = [pool for pool in pools if "scipy" not in str(Path(pool["filepath"]).parts[-3:-1])] or pools
    versions = {"python": platform.python_version(), "numpy": np.__version__, "tinyae": package_version()}
    return {
        "data": data.sha256(),
        "versions": versions | {"blas": ", ".join(f"{pool['internal_api']} {pool['version']}" for pool in blas)},
        "processor": ", ".join([platform.machine(), *(str(pool.get("architecture")) for pool in blas)]),
        "device": backend_named(device).describe(),
    }


def _replaced(folder: Path, force: bool) -> Run | None:
    """The run in a folder that another is to replace; None if the folder is empty."""
    if all(file.name == LOCK or re.fullmatch(_STAGED, file.name) for file in folder.iterdir()):
        return None
    try:
        old = Run(folder, *_read_config(folder))
    except (FileNotFoundError, ValueError):
        raise FileExistsError(
            f"{folder} exists already and is not a run folder (it has no {CONFIG} of a run), and "
            "--force only replaces runs: give another --out."
        ) from None
    if not force:
        raise FileExistsError(f"{folder} exists already: give another --out, or --force to replace that run.")
    return old


def _place(folder: Path) -> tuple[int, int]:
    found = os.stat(folder)
    return found.st_dev, found.st_ino


def _free_folder(name: str) -> tuple[Path, list[Path]]:
    """The first of runs/NAME, runs/NAME-2, ... that does not exist, made at once so that two runs never share it; what was made."""
    for number in range(1, 10_000):
        folder = Path("runs") / (name if number == 1 else f"{name}-{number}")
        if new := _made(folder):
            return folder, new
    raise OSError(f"10,000 runs named {name} exist under runs/: give --out, or remove some.")


def _made(folder: Path) -> list[Path]:
    """Make a folder: the folders that are new, it and maybe some around it, none if it existed; raises OSError if that fails."""
    try:
        new = [place for place in (folder, *folder.parents) if not place.exists()]
        folder.mkdir(parents=True, exist_ok=False)
    except FileExistsError:
        return []
    except OSError as error:
        raise system_error(f"cannot make the run folder {folder}", error) from error
    return new


# ---------------------------------------------------------------------------------------------------------------------
# A model from its file, or from the run folder that it is in.

M = TypeVar("M", bound=Module)


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
        ValueError: the file is not a complete safetensors file, is of another format, holds values that are not finite, has
            no recipe and no `model` was given, or does not fit the model.
    """
    if isinstance(path, Module) or not isinstance(model, Module | None):
        raise TypeError("load takes a path, and a model to load into: write load(path) or load(path, model=model).")
    return _in_folder(Path(path), lambda file: load_file(file, model))


def load_arrays(path: str | Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a saved model by name, of a file or a run folder. Errors as for `load`."""
    return _in_folder(Path(path), lambda file: arrays_of(file)[0])


def _in_folder(path: Path, read: Callable[[Path], T]) -> T:
    """What `read` makes of the file, or of that in a folder."""
    if not path.is_dir():
        return read(path)
    try:
        run = Run.open(path)
    except (FileNotFoundError, NotARun):
        return read(path / MODEL)
    return run._read(MODEL, read)
