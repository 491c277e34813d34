"""Streams: whatever becomes of standard output and error, the work is done, and the exit code says the truth.

Each command is a process of its own. Its two streams are a terminal, a pipe, a pipe without a reader, closed, on a full disk,
or ASCII only; the data have a name with an accent and with control characters.
"""

from __future__ import annotations

import io
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinyae as ta
from tinyae import startup
from tinyae.cli.main import COMMANDS, main
from tinyae.streams import Stream, progress_bar
from tinyae.training import Run

STREAMS = ("terminal", "pipe", "unread", "closed", "full", "ascii")
NAME = "caf\u00e9 \x1b[31m\x07.npz"
TRAIN = ("train", "basic", "--data", NAME, "--epochs", "1", "--code-size", "2", "--out", "new")
WORK: dict[str, tuple[tuple[str, ...], str]] = {
    "train": (TRAIN, "new/codes.png"),
    "evaluate": (("evaluate", "run"), ""),
    "encode": (("encode", "run", "--out", "made.npy"), "made.npy"),
    "decode": (("decode", "run", "codes.npy", "--out", "made.csv"), "made.csv"),
    "forecast": (("forecast", "lstm", "--out", "made.csv"), "made.csv"),
    "reconstruct": (("reconstruct", "run", "--out", "made.png"), "made.png"),
    "sample": (("sample", "vae", "--out", "made.png"), "made.png"),
    "features": (("features", "run", "--out", "made.png"), "made.png"),
    "neighbors": (("neighbors", "run", "--out", "made.png"), "made.png"),
    "probe": (("probe", "run", "--out", "made.png"), ""),
    "anomalies": (("anomalies", "run", "--out", "made.png"), "made.png"),
    "diff": (("diff", "run", "vae"), ""),
    "show": (("show", "basic", "--data", NAME), ""),
    "step": (("step", "basic", "--data", NAME, "--out", "made.html"), "made.html"),
    "gradcheck": (("gradcheck", "tanh"), ""),
    "data": (("data", NAME), ""),
    "info": (("info",), ""),
    "completion": (("completion", "bash"), ""),
}
"""Of each command what is run, and the file that it makes."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data of 40 small images, a run of `basic` and one of `vae`."""
    folder = tmp_path_factory.mktemp("streams")
    rng = np.random.default_rng(0)
    with open(folder / NAME, "wb") as file:
        np.savez(file, x=rng.random((40, 6, 6, 1)).astype(np.float32), y=np.arange(40) % 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("tinyae.cli.train.draw_run", lambda *_: [])
        for words in ("train basic --code-size 2 --out run", "train vae --sizes 4 --latent-size 2 --out vae"):
            assert main([*words.split(), "--data", NAME, "--epochs", "1"]) == 0
        assert main(["encode", "run", "--out", "codes.npy"]) == 0
        np.save("recording.npy", rng.random((60, 2)))
        small = "--window 5 --horizon 2 --mode predict --hidden-size 4 --epochs 1"
        assert main(f"train lstm --data recording.npy {small} --out lstm".split()) == 0
    return folder


def piped(kind: str) -> tuple[int, int | None]:
    """The descriptor of a stream for a new process, and the end that is read here, if any."""
    if kind == "terminal":
        reader, writer = os.openpty()
        return writer, reader
    if kind == "full":
        return os.open("/dev/full", os.O_WRONLY), None
    reader, writer = os.pipe()
    if kind == "unread":
        os.close(reader)
        return writer, None
    return writer, reader


def content(reader: int | None) -> str:
    """Everything that was written to a pipe or terminal whose other end is closed by now."""
    parts = []
    while reader is not None:
        try:
            parts.append(os.read(reader, 65536))
        except OSError:  # how a terminal ends
            parts.append(b"")
        if not parts[-1]:
            os.close(reader)
            break
    return b"".join(parts).decode()


def result_of(command: list[str], kinds: tuple[str, str], folder: Path) -> tuple[int, str, str]:
    """Exit code, output and errors of a process with these two streams."""
    ends = [piped(kind) for kind in kinds]
    closes = "".join(f" {number}>&-" for number, kind in enumerate(kinds, 1) if kind == "closed")
    shell = ["/bin/sh", "-c", f'"$@"{closes}', "sh", *command]
    environment = os.environ | {"PYTHONPATH": str(Path(ta.__file__).parents[1]), "PYTHONWARNINGS": "error::UserWarning"}
    environment |= {"PYTHONIOENCODING": "ascii"} if "ascii" in kinds else {}
    process = subprocess.Popen(shell, cwd=folder, stdout=ends[0][0], stderr=ends[1][0], env=environment)
    for writer, _ in ends:
        os.close(writer)
    out, errors = (content(reader) for _, reader in ends)  # each is less than a pipe holds
    return process.wait(timeout=120), out, errors


CASES = list(itertools.product(STREAMS, STREAMS, WORK))
SAMPLE = {("unread", "closed", "train"), ("full", "terminal", "train"), ("ascii", "full", "encode"),
          ("terminal", "unread", "data"), ("closed", "pipe", "evaluate"), ("pipe", "ascii", "diff")}  # fmt: skip


def test_every_command_is_asked():
    optional = {"export"}
    assert set(WORK) == {"train", *(command.__name__ for command in COMMANDS)} - optional


@pytest.mark.parametrize(("out", "errors", "command"), [
    pytest.param(*case, marks=[] if case in SAMPLE else [pytest.mark.thorough, pytest.mark.matrix]) for case in CASES
])  # fmt: skip
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_stream_stops_no_work(out, errors, command, place, tmp_path):
    for name in (NAME, "run", "vae", "lstm", "codes.npy", "recording.npy"):
        os.symlink(place / name, tmp_path / name)
    words, file = WORK[command]
    code, told, errors_told = result_of([sys.executable, "-m", "tinyae", *words], (out, errors), tmp_path)
    expected = 2 if out in ("closed", "full") else 1 if command == "diff" else 0
    assert code == expected, (told, errors_told)
    for text in (told, errors_told):
        assert "Traceback" not in text
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", text)
    if expected == 2 and errors in ("terminal", "pipe", "ascii"):
        reason = "it is closed" if out == "closed" else "No space left on device"
        assert f"tinyae: error: output was lost ({reason}); all else is done." in errors_told
    elif errors in ("terminal", "pipe", "ascii"):
        assert "error" not in errors_told
    if told and command in ("train", "data", "evaluate"):
        assert ("caf\\xe9 \\x1b[31m\\x07.npz" if "ascii" in (out, errors) else "caf\u00e9 \\x1b[31m\\x07.npz") in told
    if file:
        assert (tmp_path / file).stat().st_size > 0
    if command == "train":
        assert len(Run.open(tmp_path / "new").history()) == 1


# ---------------------------------------------------------------------------------------------------------------------
# In Python: a broken standard error does not stop `fit`, and what is not shown is not needed.


class Broken(io.StringIO):
    """A stream whose every write fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


X = np.random.default_rng(0).random((20, 6)).astype(np.float32)


def trained(**options: Any) -> ta.History:
    model = ta.models.basic_autoencoder(6, 2, generator=np.random.default_rng(0))
    return ta.fit(model, X, epochs=2, batch_size=5, **options)


@pytest.mark.parametrize("stream", [
    None, closed(), Broken(BrokenPipeError(32, "Broken pipe")), Broken(OSError(28, "No space left on device")), Broken(OSError(5, "EIO")),
])  # fmt: skip
def test_a_broken_standard_error_does_not_stop_fit(stream, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream)
    assert trained()["epoch"] == [1, 2]
    with progress_bar([1, 2], unit=" steps") as bar:
        assert list(bar) == [1, 2]
    assert sys.stderr is stream


def test_without_a_bar_nothing_is_loaded_for_it_and_no_thread_started(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert len(trained(progress=False)) == 2
    with pytest.raises(ImportError):
        trained()


def test_a_bar_starts_no_thread(monkeypatch, capsys):
    monkeypatch.setattr("threading.Thread.start", lambda *_: pytest.fail("a thread was started"))
    trained()
    assert "epoch 2/2" in capsys.readouterr().err


def test_a_terminal_without_a_width_gets_a_bar_of_80(monkeypatch):
    writer, reader = piped("terminal")
    assert os.get_terminal_size(writer).columns == 0
    with os.fdopen(writer, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        trained()
        monkeypatch.undo()
    last = content(reader).strip().rpartition("\r")[2]
    assert len(last) == 80, last
    assert "|###" in last.replace("█", "#")


def test_a_stream_escapes_what_a_terminal_would_obey_and_what_it_cannot_encode():
    shown = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", newline="")
    stream = Stream(shown)
    print("\u00e9 \u6587 \x1b[2J\x9b1m\r\x7f \u202e \udce9\ttab", file=stream, flush=True)
    assert shown.buffer.getvalue() == b"\xe9 \\u6587 \\x1b[2J\\x9b1m\\r\\x7f \\u202e \\udce9\ttab\n"
    assert (stream.lost, Stream(None).isatty(), Stream(closed()).isatty()) == ("", False, False)


@pytest.mark.parametrize(("error", "lost"), [
    (BrokenPipeError(32, "Broken pipe"), ""), (OSError(22, "Invalid argument"), ""),
    (OSError(28, "No space left on device"), "No space left on device"), (ValueError("I/O operation on closed file."), "it is closed"),
])  # fmt: skip
def test_a_stream_is_lost_unless_nobody_reads_it(error, lost):
    stream = Stream(Broken(error))
    assert (stream.write("some text"), stream.lost) == (9, lost)
    stream.write("more")
    stream.flush()
    assert stream.lost == lost


# ---------------------------------------------------------------------------------------------------------------------
# What a command needs at its end is settled at its beginning.


@pytest.mark.parametrize("library", [
    "matplotlib", "tqdm", *[pytest.param(name, marks=pytest.mark.thorough) for name in ("PIL", "safetensors")],
])  # fmt: skip
def test_a_missing_library_is_found_before_training(library, place, tmp_path):
    (tmp_path / NAME).symlink_to(place / NAME)
    code = f"import sys; sys.modules[{library!r}] = None; from tinyae.cli.main import main; sys.exit(main())"
    status, out, errors = result_of([sys.executable, "-c", code, *TRAIN], ("pipe", "pipe"), tmp_path)
    assert (status, out) == (2, "")
    assert re.fullmatch(rf"tinyae: error: .*{library}.*: install tinyae again, with its dependencies\.\n", errors)
    assert not (tmp_path / "new").exists()


def test_the_environments_backend_has_no_effect(place, tmp_path, monkeypatch):
    (tmp_path / NAME).symlink_to(place / NAME)
    monkeypatch.setenv("MPLBACKEND", "nonsense")
    assert result_of([sys.executable, "-m", "tinyae", *TRAIN], ("pipe", "pipe"), tmp_path)[0] == 0
    code = "import os; from tinyae.plots.style import load_matplotlib; load_matplotlib(); import matplotlib; "
    code += "print(matplotlib.get_backend(), os.environ['MPLBACKEND'])"
    monkeypatch.setenv("MPLBACKEND", "svg")
    assert result_of([sys.executable, "-c", code], ("pipe", "pipe"), tmp_path)[1] == "svg svg\n"


def test_names_that_no_font_can_draw_are_drawn_without_a_word(tmp_path):
    names = ["caf\udce9", "\u6587\u5b57", "a\x1bb"]
    figure = ta.plots.code_scatter(X[:, :2], np.arange(20) % 3, names, title=f"{names}: codes {''.join(names)}")
    path = ta.plots.save_figure(figure, tmp_path / "codes.png")  # a warning would be an error
    assert path.stat().st_size > 0
    assert "caf\ufffd" in [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


@pytest.mark.parametrize(
    "after", [0.2, *(pytest.param(n / 20, marks=(pytest.mark.thorough, pytest.mark.matrix)) for n in range(5, 25))]
)
def test_ctrl_c_while_the_command_loads_is_one_line(after):
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); sys.argv[0] = 'tinyae'; print(flush=True); "
    code += "from tinyae.cli.main import main; sys.exit(main(['gradcheck', 'all']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1].replace("\r", "").endswith("\ntinyae: interrupted.\n")
    assert process.returncode == 130


def test_ctrl_c_while_a_compiled_module_loads_is_ctrl_c(monkeypatch, capsys):
    def loading() -> None:
        raise ImportError("initialization failed") from KeyboardInterrupt()

    monkeypatch.setattr("tinyae.cli.main.load_matplotlib", loading)
    assert main(["train", "basic"]) == 130
    assert capsys.readouterr().err == "\ntinyae: interrupted.\n"


def test_ctrl_c_is_left_alone_in_a_program_that_imports_tinyae():
    assert signal.getsignal(signal.SIGINT) is not startup._leave
    startup.begun()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_step_that_is_too_large_says_how_much_it_needs(monkeypatch):
    model = ta.models.basic_autoencoder(6, 2, generator=np.random.default_rng(0))
    before = model.state_dict()

    def step(self: Any) -> None:
        raise MemoryError("Unable to allocate 3 GiB")

    monkeypatch.setattr(ta.optim.Adam, "step", step)
    told = r"this step of 5 samples needs about [\d.e-]+ GB, for results and gradients \(Unable to allocate 3 GiB\): choose a "
    with pytest.raises(MemoryError, match=told + "smaller batch_size"):
        ta.fit(model, X, batch_size=5, progress=False)
    np.testing.assert_equal(model.state_dict(), before)
