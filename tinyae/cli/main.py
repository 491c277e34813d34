"""`tinyae`: the parser, and the exit codes."""

from __future__ import annotations

import argparse
import inspect
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

from tinyae import startup
from tinyae.backend import DeviceError, threads, tune_allocator
from tinyae.checks import system_error
from tinyae.cli import completion as completions
from tinyae.cli import train
from tinyae.cli.arguments import Parser, add_command, as_options
from tinyae.cli.config import expanded
from tinyae.cli.data import data
from tinyae.cli.diff import diff
from tinyae.cli.evaluation import anomalies, evaluate, neighbors, probe
from tinyae.cli.gradcheck import gradcheck
from tinyae.cli.info import info
from tinyae.cli.options import GROUPS, THREADS
from tinyae.cli.outputs import decode, encode, export, features, forecast, reconstruct, sample
from tinyae.cli.tapes import show, step
from tinyae.plots.style import load_matplotlib
from tinyae.streams import Stream
from tinyae.training.run import package_version


def completion(shell: Annotated[str, completions.SHELLS]) -> None:
    """print a script that completes the words of a command

    Print a script for a shell: source <(tinyae completion bash), likewise in zsh after compinit; in fish
    source (tinyae completion fish | psub).

    Args:
        shell: the shell.
    """
    print(completions.script(shell, parser()), end="")


COMMANDS = (
    evaluate, encode, decode, reconstruct, export,
    forecast, sample, features, neighbors, probe, anomalies, diff, show, step, gradcheck, data, info, completion,
)  # fmt: skip
"""The commands except `train`: functions whose parameters and docstrings become arguments and help."""

_DRAWING = ("train", "reconstruct", "sample", "features", "neighbors", "probe", "anomalies")
"""The commands that end with pictures."""

_EPILOG = """\
start here:
  tinyae train basic                      a 784-32-784 autoencoder on embedded images, under a minute on a CPU
  tinyae train deep --epochs 20           784-1000-500-250-30 and back
  tinyae evaluate runs/basic-fashion-mini the metrics again, on any data of the same shape
  tinyae data                             the available data sets
  tinyae show basic                       the tape of one training step, node by node
  tinyae step basic --open                the same in a browser: where each number of a gradient comes from

exit codes: 0 success, 1 a gradient check failed or two runs differ, 2 an error in the options or the data or lost output, 130 interrupted,
also by SIGTERM (the last complete epoch is kept)."""


def parser() -> Parser:
    """The whole command line."""
    root = Parser(
        prog="tinyae",
        description="Autoencoders from first principles, on NumPy (CPU) or CuPy (NVIDIA GPU).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"tinyae {package_version()}")
    root.add_argument("--traceback", action="store_true", help="show the full Python traceback of an error")
    commands = root.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    train.register(commands)
    for command in COMMANDS:
        computes = "device" in inspect.signature(command).parameters
        add_command(commands, command, GROUPS, [THREADS] if computes else [])
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code, 2 if its output could not be written."""
    startup.begun()
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass  # no file may get the number of a closed standard stream, to which a library may write
    os.close(descriptor)
    streams, end = (sys.stdout, sys.stderr), None
    sys.stdout, sys.stderr = output, errors = Stream(sys.stdout), Stream(sys.stderr)
    try:
        try:
            code = _run(arguments)
        except SystemExit as stop:  # of the parser, or of a check that failed
            code, end = stop.code if isinstance(stop.code, int) else 0, stop
        output.flush()
        if output.lost:
            print(f"tinyae: error: output was lost ({output.lost}); all else is done.", file=errors)
            return max(code, 2)
        errors.flush()
    finally:
        sys.stdout, sys.stderr = streams
    if end is not None:
        raise end
    return code


def _run(arguments: Sequence[str] | None) -> int:
    words, names = sys.argv[1:] if arguments is None else list(arguments), []
    if arguments is None:  # the process is ours
        tune_allocator()
    try:
        if threading.current_thread() is threading.main_thread():
            # As Ctrl-C: a job that is stopped keeps its epochs.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        words = expanded(words, train.model_parser)
        options = parser().parse_args(words)
        options.arguments, names = words, options.option_names
        if options.command in _DRAWING:  # a missing library is found before the work
            for library in ("safetensors.numpy", "tqdm"):
                import_module(library)
            load_matplotlib()
        with warnings.catch_warnings():
            warnings.filterwarnings("always", category=UserWarning, module=r"tinyae\.(cli|training)")
            warnings.showwarning = lambda message, *_: print(as_options(f"remark: {message}", names))
            with threads(getattr(options, "threads", None)):
                options.run(options)
    except KeyboardInterrupt as stop:
        print(f"\ntinyae: {str(stop) or 'interrupted.'}", file=sys.stderr)
        return 130
    except (ValueError, TypeError, OSError, DeviceError, ArithmeticError, MemoryError, ImportError) as error:
        if isinstance(error.__cause__, KeyboardInterrupt):  # a compiled module was being loaded
            print("\ntinyae: interrupted.", file=sys.stderr)
            return 130
        if "--traceback" in words:
            raise
        said, fix = as_options(str(error), names) or type(error).__name__, ""
        if isinstance(error, OSError) and error.strerror and said.startswith("[Errno"):
            said = str(system_error(f"cannot use {error.filename or 'a file'}", error))
        elif said.startswith(("Unable to allocate", "Maximum allowed dimension", "array is too big")):
            fix = ": choose smaller sizes."
        elif isinstance(error, ModuleNotFoundError):
            fix = ": install tinyae again, with its dependencies."
        print(f"tinyae: error: {said}{fix}", file=sys.stderr)
        return 2
    return 0
