"""Everything that can be wrong with a request: exit code 2, one sentence on standard error, and nothing lost."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyae import atomic, data, load
from tinyae.backend import devices
from tinyae.cli.arguments import as_options
from tinyae.cli.main import main
from tinyae.models import build
from tinyae.training import Checkpoint, History, Run, TrainingInterrupted, TrainingState, evaluate, save
from tinyae.training import run as run_module

DIGITS = "train basic --data optdigits --epochs 3"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def small_run(tmp_path_factory) -> Path:
    """A run folder with a model and a config, made without training; only read."""
    arguments = {"input_shape": [8, 8, 1], "code_size": 4, "sample": "image"}
    config = {"model": "basic", "data": "optdigits", "arguments": arguments}
    run = Run.create(tmp_path_factory.mktemp("errors") / "run", config)
    save(build("basic", arguments, np.random.default_rng(0)), run.path / "model.safetensors")
    return run.path


@pytest.mark.parametrize(("command", "words"), [
    ("", "the following arguments are required: COMMAND"),
    ("trian basic", r"invalid choice: 'trian': did you mean train\? See `tinyae --help`"),
    ("train", "give a MODEL to train, or --resume RUN to continue a run"),
    ("train --resume none", "none is not a run folder"),
    ("train --resume run basic", "continues a run with its own model: leave basic out"),
    ("train basic --checkpoint-minutes 0", "checkpoint-minutes must be a finite number, above 0, got 0"),
    (f"evaluate {'x' * 300}", "cannot use x+/config.json: File name too long; choose a shorter name"),
    (f"train basic --data {'x' * 300}.npy", "cannot use x+.npy: File name too long; choose a shorter name"),
    (f"train basic --data optdigits --code-size {10**17}", "array is too big.*: choose smaller sizes"),
    (f"train basic --data optdigits --code-size {10**16}", "choose smaller sizes"),
    ("diff none run", "none is not a run folder"),
    ("train lstmm", r"invalid choice: 'lstmm': did you mean lstm\? See `tinyae train --help`"),
    ("train zzz", r"invalid choice: 'zzz' \(choose from .*basic.*deep"),
    ("show bsaic", r"invalid choice: 'bsaic': did you mean basic\?"),
    ("train basic --epochs 0", "--epochs: must be a whole number of at least 1, got '0'"),
    (f"train basic --epochs {'9' * 5000}", r"--epochs: must be .* at least 1, got '9{20}... \(5,000 characters\)': write 1 to 18 digits"),
    ("train basic --epochs 1e3", "--epochs: must be a whole number of at least 1, got '1e3': write 1 to 18 digits"),
    ("train basic --seed 9223372036854775808", "--seed: must be a whole number of at least 0, got '9.*': write 1 to 18 digits"),
    (f"train basic --seeds {10**17}", "--seeds trains several runs, got 1.*: give 2 to 10,000"),
    ("train basic --validation 2", "--validation must be a finite number, above 0 and below 1, got 2"),
    ("train basic --lr -3", "error: --lr must be a finite number, above 0, got -3"),
    ("train basic --lr inf", "--lr: must be a finite number, got 'inf'"),
    ("train basic --=3", "unknown option --; see"),
    ("train basic --data optdigits --gray", "--image-size, --gray and --skip-broken are for a folder"),
    ("train stacked --schedule cosine --epochs 40 --warmup-steps 30", "--warmup-steps is at most 20, as --classifier-epochs, before"),
    ("features run --out x.txt", "--out must end in .png, .svg, .pdf, got x.txt: e.g. --out x.png"),
    ("probe run --out x.csv", "--out must end in .png, .svg, .pdf, got x.csv: e.g. --out x.png"),
    ("neighbors run --out x.csv", "--out must end in .png, .svg, .pdf, got x.csv"),
    ("evaluate run --first 5", "--first has no effect without --importance-samples: add"),
    ("sample run --out x.txt", "--out must end in .csv, .npy, .parquet, .png"),
    ("train basic --epochs many", "--epochs: must be a whole number of at least 1, got 'many'"),
    ("train basic --batch-size -3", "--batch-size: must be a whole number of at least 1, got '-3'"),
    ("train basic --lr 0", "lr must be a finite number, above 0, got 0"),
    ("train basic --lr nan", "--lr: must be a finite number, got 'nan'"),
    ("train basic --clip-norm 0", "--clip-norm must be a finite number, above 0, got 0"),
    ("train basic --lr 1e-3 --momentum 0.9", "--momentum has no effect with --optimizer adam: leave it out, or use --optimizer sgd"),
    ("train basic --optimizer lbfgs --nesterov", "--nesterov has no effect with lbfgs, which uses all samples at once"),
    ("train basic --optimizer sgd --nesterov", "--nesterov needs momentum above 0: pass e.g. --momentum 0.9"),
    ("train basic --optimizer sgd --momentum 1", "momentum must be a finite number, at least 0 and below 1, got 1"),
    ("train basic --gamma 0.5", "--gamma has no effect with --schedule constant: leave it out, or use --schedule step"),
    ("train basic --schedule step --final-lr 0", "--final-lr has no effect with --schedule step: .*--schedule cosine"),
    ("train basic --warmup-steps 3", "--warmup-steps has no effect with --schedule constant: .*--schedule warmup"),
    ("train basic --schedule step", "--schedule step needs --step-size, a number of epochs"),
    ("train basic --schedule warmup", "--schedule warmup needs --warmup-steps, a number of epochs"),
    ("train basic --schedule cosine --warmup-steps 60", "--warmup-steps is at most 50, as --epochs, before a cosine schedule, got 60"),
    ("train basic --normalization batch", "unknown option --normalization; see"),
    ("train deep --sizes 8 --normalization batch", "normalization 'batch' acts on hidden layers, got a network without"),
    ("train conv --form strided --pooling average", "form 'strided' has strides instead of pooling"),
    ("train lstm --dropo 0.5", r"unknown option --dropo: did you mean --dropout\? See `tinyae train lstm --help`"),
    ("train deep --code-activ tanh", r"unknown option --code-activ: did you mean --code-activation\?"),
    ("train deep --lerning-rate 1", "unknown option --lerning-rate; see `tinyae train deep --help`"),
    ("evaluate nowhere --frist=3", r"unknown option --frist: did you mean --first\?"),
    ("--trace data", r"tinyae: error: unknown option --trace: did you mean --traceback\?"),
    ("train basic --seed -1", "--seed: must be a whole number of at least 0, got '-1'"),
    ("train basic --seed 1.5", "--seed: must be a whole number of at least 0, got '1.5'"),
    ("train basic --loss mse", "--loss: invalid choice: 'mse'"),
    ("train basic --optimizer lion", "--optimizer: invalid choice: 'lion'"),
    ("train basic --device tpu", "--device: invalid choice: 'tpu'"),
    ("train basic --code-size 0", "--code-size: must be a whole number of at least 1"),
    ("train deep --sizes 20,,5", "--sizes: must be a whole number of at least 1, got ''"),
    ("train deep --sizes", "--sizes: expected one argument"),
    ("train deep --data optdigits --sizes 10000000000000", "Unable to allocate"),
    ("train basic --data fashion-min", "unknown data set 'fashion-min': did you mean fashion-mini or fashion-mnist"),
    ("train basic --data optdigit", "did you mean optdigits"),
    ("train basic --data qwxz", "unknown data set 'qwxz': choose one of fashion-mini, optdigits"),
    ("train basic --data missing.npy", "there is no file missing.npy"),
    ("data optdigit", "did you mean optdigits"),
    ("show basic --data optdigit", "did you mean optdigits"),
    ("evaluate", "the following arguments are required: RUN"),
    ("evaluate nowhere", r"nowhere is not a run folder \(it has no config.json\): give the folder that"),
    ("encode nowhere", "the following arguments are required: --out"),
    ("encode nowhere --out codes.npy", "nowhere is not a run folder"),
    ("reconstruct nowhere", "nowhere is not a run folder"),
    ("train basic --data optdigits --unknown", "unknown option --unknown; see"),
    ("train contractive --data optdigits --contraction -1", "contraction must be at least 0"),
    ("train sparse --batch-size 32", "--batch-size has no effect with lbfgs"),
    ("train sparse --lr 0.1", "--lr has no effect"),
    ("train sparse --data optdigits --rho 1.5", "rho must lie between 0 and 1"),
    ("train denoising --data optdigits --level 1", "rate must be a finite number, at least 0 and below 1, got 1.0"),
    ("train denoising --data optdigits --corruption rain", "invalid choice: 'rain'"),
    ("train denoising --data optdigits --alpha 0 --beta 0", "not both 0"),
    ("train denoising --data optdigits --hidden-sizes 3,x", "must be a whole number"),
    ("train stacked --data optdigits --layer denoising --optimizer lbfgs --out no", "draws noise, so train it with Adam"),
    ("train memory --data optdigits --codes ones --count 2", "use --count 1, or --codes one-hot"),
    ("train memory --data optdigits --codes one-hot --count 5 --code-size 3", "give 5"),
    ("train memory --data optdigits --count 99999", "has 3823 training samples, too few for a memory of 99999"),
    ("train memory --data optdigits --count 0", "must be a whole number of at least 1"),
    ("train memory --data optdigits --decoder conv --hidden-sizes 9", "a convolutional decoder has channels"),
    ("train conv --data pendigits", "a convolutional autoencoder takes images"),
    ("train conv --channels 3,x", "must be a whole number"),
    ("train conv --upsampling cubic", "invalid choice: 'cubic'"),
    ("train conv-vae --scale 2", "likelihood 'gray-bce' has no scale"),
    ("train conv-denoising --level -1", "std must be a finite number, at least 0"),
    ("train cvae --data nyc-taxi", "a conditional model needs a class for each sample, and nyc-taxi has no labels"),
])  # fmt: skip
def test_a_request_that_makes_no_sense(command, words, refused, tmp_path):
    assert re.search(words, refused(command))
    assert list(tmp_path.iterdir()) == []


def test_the_gpu_without_cupy(refused, tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "_gpu", None)
    monkeypatch.setitem(sys.modules, "cupy", None)
    expected = "tinyae: error: device 'gpu' needs CuPy, which is not installed: pip install 'cupy-cuda13x[ctk]', "
    assert refused(DIGITS, "--device gpu") == expected + "or use device 'cpu'."
    assert not (tmp_path / "runs").exists()


def with_value(value: float) -> np.ndarray:
    x = np.random.default_rng(0).uniform(size=(40, 6))
    x[2, 3] = value
    return x


@pytest.mark.parametrize(("name", "arrays", "words"), [
    ("x.npy", with_value(np.nan), r"holds 1 values that are NaN or infinite, the first at \[2, 3\]"),
    ("x.npy", with_value(1.5), r"loss 'bce' needs targets in \[0, 1\], got values from .* to 1.5: scale the data"),
    ("x.npy", np.zeros(9), "give one row for each example"),
    ("x.npz", {"train_x": with_value(0.5), "test_x": with_value(2.0)}, r"needs targets in \[0, 1\], .* to 2:"),
    ("x.npz", {"train_x": np.zeros((9, 4)), "test_x": np.zeros((9, 5))}, "the same shape of example"),
])  # fmt: skip
def test_data_that_cannot_be_trained_on(name, arrays, words, refused, tmp_path):
    if isinstance(arrays, dict):
        np.savez(tmp_path / name, **arrays)
    else:
        np.save(tmp_path / name, arrays)
    before = files(tmp_path)
    assert re.search(words, refused("train basic --loss bce --epochs 1 --data", name))
    assert files(tmp_path) == before
    assert not (tmp_path / "runs").exists()


def test_the_taxi_is_too_busy_for_the_cross_entropy(refused):
    assert "use --loss squared_error." in refused("train basic --data nyc-taxi --loss bce")


@pytest.mark.parametrize(("message", "shown"), [
    ("write sizes=(200, 50).", "write --sizes 200,50."),
    ("write sizes=(200,), or sizes=[3].", "write --sizes 200, or --sizes 3."),
    ("if it is the time, time='my year'", "if it is the time, --time 'my year'"),
    ("say decimal=',' or a format", "say --decimal ',' or a format"),
    ("leave it out with drop_last=True, or choose another batch_size.", "leave it out with --drop-last, or choose another --batch-size."),
    ("write warmup=10, kind='sequences'", "write --kl-warmup 10, --as sequences"),
    ("/data/batch_size/time=3.npy: 'batch_size' of load(path, model=...)",) * 2,
])  # fmt: skip
def test_a_message_names_options_as_they_are_typed(message, shown):
    names = ("sizes", "time", "decimal", "drop_last", "batch_size", "warmup", "kind")
    assert as_options(message, names) == shown


def test_remarks_on_a_table_name_options(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("year,a\n" + "".join(f"{1900 + 2 * n},{n % 3}\n" for n in range(30)))
    for command in ("data a.csv", "train basic --epochs 1 --data a.csv"):
        assert main(command.split()) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "column 'year' only increases: if it is the time, --time year" in shown


@pytest.mark.parametrize("command", ["evaluate", "encode", "reconstruct"])
def test_data_of_another_shape_do_not_fit_a_trained_model(command, refused, small_run, tmp_path):
    out = {"evaluate": "", "encode": "--out a.npy", "reconstruct": "--out a.png"}[command]
    told = refused(command, small_run, "--data pendigits", out)
    assert "pendigits has samples of shape (8, 2), but this model was trained on (8, 8, 1)" in told
    assert files(tmp_path) == {}


def test_data_that_have_other_columns_do_not_continue_a_run(refused, undrawn, tmp_path):
    table = tmp_path / "a.csv"
    table.write_text("a,b\n1,2\n3,4\n5,7\n")
    assert main(f"train basic --epochs 1 --code-size 1 --data {table} --out run".split()) == 0
    table.write_text("a\n1\n2\n4\n")
    before = files(tmp_path)
    told = refused("train --resume run --epochs 2 --allow-changes")
    assert "a.csv has samples of shape (1,), but this model was trained on (2,): choose data of that shape" in told
    assert files(tmp_path) == before


def test_an_existing_run_is_refused_and_untouched(refused, small_run):
    before = files(small_run)
    assert "exists already: give another --out, or --force" in refused(DIGITS, "--out", small_run)
    assert files(small_run) == before


def test_force_replaces_nothing_but_runs(refused, tmp_path):
    for name, text in (("config.json", '{"editor": "dark"}'), ("holiday.png", "mine")):
        (tmp_path / name).write_text(text)
    before = files(tmp_path)
    assert "is not a run folder" in refused(DIGITS, "--force --out", tmp_path)
    assert files(tmp_path) == before


@pytest.mark.parametrize(("code", "fix"), [
    (errno.EISDIR, "give the name of a file"), (errno.ENOTDIR, "a part of the path is a file or a broken link"),
    (errno.EACCES, "change the permissions, or"), (errno.EPERM, "change the permissions, or"), (errno.EROFS, "choose another folder"),
    (errno.ENAMETOOLONG, "choose a shorter name"), (errno.ENOSPC, "free some space"),
    (errno.EMFILE, r"close other files, or raise the limit \(ulimit -n\)"),
    (errno.ELOOP, "its links lead in a circle"), (errno.ENOENT, "check the path"), (errno.EIO, "see that the disk"),
])  # fmt: skip
def test_an_error_of_the_system_names_a_fix_that_fits(code, fix, small_run, refused, monkeypatch, tmp_path):
    fault = OSError(code, os.strerror(code), "inner")

    def fails(*_: object, **__: object) -> None:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fails)
        with pytest.raises(type(fault), match=f"cannot write .*x: .*; {fix}"):
            atomic.write_text(tmp_path / "x", "")
    if code not in (errno.ENOENT, errno.ENOTDIR):  # then there is no run
        monkeypatch.setattr(Path, "read_text", fails)
        said = refused("evaluate", small_run)
        assert re.search(fix, said)
        assert "[Errno" not in said


def test_a_folder_or_a_link_in_place_of_a_file(refused, small_run, tmp_path):
    (tmp_path / "d.csv").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "d.csv is a folder: give the name of a file" in refused("encode", small_run, "--out d.csv")
    assert "File exists; a part of the path is a file or a broken link" in refused(
        "encode", small_run, "--out loop/x.csv"
    )


def test_folders_that_cannot_be_made(refused, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "file exists and is a file" in refused(DIGITS, "--out file --force")
    assert "cannot make the run folder file/sub: Not a directory" in refused(DIGITS, "--out file/sub")
    assert files(tmp_path) == {"file": b"mine"}


@pytest.mark.parametrize("words", [
    "basic --out a/b/c --drop-last --batch-size 9999",
    pytest.param("basic --drop-last --batch-size 9999", marks=pytest.mark.thorough),
    pytest.param("basic --seeds 2 --drop-last --batch-size 9999", marks=pytest.mark.thorough),
    "basic --seeds 2 --lr -1 --out a/b",
])  # fmt: skip
def test_a_refused_run_leaves_nothing_on_disk(words, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(f"train {words} --data optdigits --epochs 1")
    assert list(tmp_path.iterdir()) == []


def test_an_error_or_ctrl_c_while_a_run_is_described_leaves_nothing_and_what_was_there_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()

    def stopped(*_: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("tinyae.cli.train.settings_text", stopped)
    assert main([*DIGITS.split(), "--out", "mine/a/b"]) == 130
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


@pytest.mark.parametrize(("name", "content", "words"), [
    ("config.json", b"{", "config.json is damaged"),
    ("config.json", b"{}", "lacks the entries 'model' and 'data'"),
    ("config.json", b'{"model": "basic", "data": "optdigitz"}', "did you mean optdigits"),
    ("model.safetensors", None, "no saved model at .*model.safetensors"),
    ("model.safetensors", b"", "is not a complete safetensors file"),
    ("model.safetensors", b"half", "is not a complete safetensors file"),
])  # fmt: skip
@pytest.mark.parametrize("command", ["evaluate", "reconstruct"])
def test_damaged_runs(command, name, content, words, refused, small_run, tmp_path):
    shutil.copytree(small_run, tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    if content is not None:
        (tmp_path / "run" / name).write_bytes(content)
    before = files(tmp_path)
    assert re.search(words, refused(command, "run"))
    assert files(tmp_path) == before


def test_a_config_that_lost_its_arguments_is_enough(small_run, tmp_path, tinyae):
    shutil.copytree(small_run, tmp_path / "run")
    (tmp_path / "run" / "config.json").write_text(json.dumps({"model": "basic", "data": "optdigits"}))
    assert "squared error per image" in tinyae("evaluate run")


@pytest.mark.parametrize(("command", "out", "words"), [
    ("encode", "codes.txt", "--out must end in .csv, .npy, .parquet, got codes.txt"),
    ("encode", "file/codes.npy", "cannot write file/codes.npy"),
    ("reconstruct", "a.bmp", "--out must end in .csv, .npy, .parquet, .png, .svg, .pdf, got a.bmp"),
    ("reconstruct", "file/a.png", "cannot write file/a.png"),
])  # fmt: skip
def test_results_that_cannot_be_written(command, out, words, refused, small_run, tmp_path, pictured):
    (tmp_path / "file").write_text("mine")
    assert words in refused(command, small_run, "--out", out)
    assert files(tmp_path) == {"file": b"mine"}


def test_a_loss_that_becomes_nan(refused, tmp_path):
    told = refused(DIGITS, "--lr 1e30 --out run")
    assert re.search(r"in epoch 1: try a smaller learning rate \(now 1e\+30\)", told)
    assert not (tmp_path / "run").exists(), "a run without one good epoch leaves nothing behind"


@pytest.fixture
def disk_fills_up(monkeypatch) -> Iterator[Callable[[int], None]]:
    """After so many commits of the run the disk is full."""
    stage = run_module.stage

    def after(count: int) -> None:
        commits: list[Any] = []

        def limited(target: Path, *arguments: Any) -> Path:
            if len(commits) >= count:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            commits.extend([target] if target.name == "config.json" else [])
            return stage(target, *arguments)

        monkeypatch.setattr(run_module, "stage", limited)
        monkeypatch.setattr(atomic, "stage", limited)

    yield after
    monkeypatch.undo()


COMMITTED = ["README.md", "checkpoint.safetensors", "config.json", "metrics.csv", "model.safetensors", "run.toml"]


@pytest.mark.parametrize(("count", "kept", "failed"), [
    (0, None, "config.json"),
    (1, None, "model.safetensors"),  # nothing was complete, so nothing is left
    (2, COMMITTED, "model.safetensors"),
    (4, COMMITTED, "scores.npy"),
    (5, [*COMMITTED, "scores.npy"], "README.md"),  # the card, committed before the pictures
    (6, [*COMMITTED, "scores.npy"], "reconstructions.png"),
])  # fmt: skip
def test_a_full_disk(count, kept, failed, refused, disk_fills_up, tmp_path, monkeypatch, pictured):
    after_epoch = Checkpoint.after_epoch

    def always(checkpoint: Checkpoint, state: Any) -> None:
        checkpoint.cost = 0.0
        after_epoch(checkpoint, state)

    monkeypatch.setattr(Checkpoint, "after_epoch", always)  # not only when an epoch takes long enough
    disk_fills_up(count)
    told = refused(DIGITS, "--out run")
    assert f"cannot write run/{failed}: No space left on device; free some space" in told
    folder = tmp_path / "run"
    assert (sorted(path.name for path in folder.iterdir()) if folder.exists() else None) == kept
    if count >= 2:
        epochs = len(Run.open("run").history())
        assert epochs == min(count - 1, 3)
        measured = evaluate(load("run"), data.load("optdigits").test.x)["loss"]
        assert measured == pytest.approx(Run.open("run").history().last["test_loss"], rel=1e-5)


@pytest.mark.parametrize("epoch", [0, 2])
def test_ctrl_c_keeps_the_last_complete_epoch(epoch, tmp_path, undrawn, unpainted, monkeypatch, capsys):
    def interrupted(checkpoint: Checkpoint, state: TrainingState) -> None:
        if state.epoch == epoch + 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "after_epoch", interrupted)
    assert main([*DIGITS.split(), "--out", "run"]) == 130
    told = capsys.readouterr().err
    kept = "the first epoch is kept" if epoch == 0 else f"{epoch + 1} complete epochs are kept"
    assert told.endswith(f"\ntinyae: training was interrupted; {kept}. Continue with `tinyae train --resume run`.\n")
    assert "Traceback" not in told
    history = Run.open("run").history()
    assert history["epoch"] == list(range(1, epoch + 2))
    measured = evaluate(load("run"), data.load("optdigits").test.x)["loss"]
    assert measured == pytest.approx(history.last["test_loss"], rel=1e-5)
    assert (tmp_path / "run" / "loss.png").exists()


@pytest.mark.parametrize("name", ["SIGINT", pytest.param("SIGTERM", marks=pytest.mark.thorough)])
def test_a_real_signal(name, tmp_path):
    if name == "SIGTERM" and os.name == "nt":
        pytest.skip("a signal of POSIX")
    # A process that is started in the background ignores Ctrl-C, and so do its children, unless they are told otherwise.
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from tinyae.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *DIGITS.split()[:-1], "100000", "--out", "run"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    metrics = tmp_path / "run" / "metrics.csv"
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        if metrics.exists() and len(metrics.read_text().splitlines()) > 2:
            break
        time.sleep(0.02)
    process.send_signal(getattr(signal, name))
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    history = Run.open(tmp_path / "run").history()
    kept = re.search(r"\ntinyae: training was interrupted; (\d+) complete epochs are kept\. Continue with .*\n$", told)
    assert kept is not None, told
    assert len(history) == int(kept[1]) > 0
    assert "Traceback" not in told
    measured = evaluate(load(tmp_path / "run"), data.load("optdigits").test.x)["loss"]
    assert measured == pytest.approx(history.last["test_loss"], rel=1e-5)
    names = files(tmp_path)
    assert "run/loss.png" in names
    assert not [name for name in names if name.startswith("run/.")]


def test_ctrl_c_outside_of_training(monkeypatch, capsys):
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tinyae.cli.info.backend_named", interrupted)
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "\ntinyae: interrupted.\n"


def test_a_traceback_can_be_asked_for(tmp_path):
    with pytest.raises(FileNotFoundError):
        main(["--traceback", "evaluate", str(tmp_path)])


def test_ctrl_c_before_the_first_epoch_leaves_no_folder_in_the_way(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def interrupted(*_: Any, **__: Any) -> None:
        raise TrainingInterrupted(History())

    monkeypatch.setattr("tinyae.cli.train.fit", interrupted)
    assert main([*DIGITS.split(), "--out", "run"]) == 130
    assert "no epoch was complete" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_images_of_two_channels_are_trained_on_and_leave_the_curves(tmp_path, tinyae, unpainted):
    np.save("two.npy", np.random.default_rng(0).random((40, 4, 4, 2)).astype("float32"))
    tinyae("train basic --data two.npy --epochs 1 --code-size 2 --out run")
    assert [path.name for path in (tmp_path / "run").glob("*.png")] == ["loss.png"]
