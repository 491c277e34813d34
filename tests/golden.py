"""What a change of structure must leave as it was: record one checkout, compare another, on one machine.

    python -m tests.golden record before.json --checkout ../before
    python -m tests.golden compare before.json

Recorded are a hash of the weights of every model after two epochs (seed 0, its default data), a hash of every picture that
those runs draw, the text of every `--help`, and every public name with its signature. Hashes hold for one machine with
one set of versions, so no record is ever committed.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from safetensors.numpy import load_file

SECTIONS = ("weights", "pictures", "help", "names")

_NAMES = """
import importlib, inspect, json, pkgutil, re, tinyae
rooms = ["tinyae", *("tinyae." + m.name for m in pkgutil.iter_modules(tinyae.__path__) if m.ispkg and m.name != "cli")]
found = {}
def text(value):
    try:
        return re.sub(" at 0x[0-9a-f]+", "", str(inspect.signature(value)))
    except (TypeError, ValueError):
        return type(value).__name__
for room in map(importlib.import_module, rooms):
    for name in getattr(room, "__all__", ()):
        value = getattr(room, name)
        found[f"{room.__name__}.{name}"] = text(getattr(value, "forward", value))
        if inspect.isclass(value):
            for key, part in inspect.getmembers(value):
                if not key.startswith("_") and (callable(part) or isinstance(part, property)):
                    found[f"{room.__name__}.{name}.{key}"] = text(part)
print(json.dumps(found))
"""


def run(checkout: Path, *arguments: str, folder: str | None = None) -> str:
    """Standard output of this Python with the package of `checkout`, on one BLAS thread."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "COLUMNS": "100", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-P", *arguments]  # -P: not what stands in the current folder
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments[:5])} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def weights_hash(path: Path) -> str:
    """Of the arrays in a model file by name; its header is not looked at."""
    digest = hashlib.sha256()
    for name, array in sorted(load_file(path).items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def trained(checkout: Path, model: str) -> tuple[str, dict[str, str]]:
    """The hash of a model's weights after two epochs, and those of the pictures of the run by file name."""
    with tempfile.TemporaryDirectory() as folder:
        run(checkout, "-m", "tinyae", "train", model, "--epochs", "2", "--seed", "0", "--out", "run", folder=folder)
        files = sorted(p for p in (Path(folder) / "run").iterdir() if p.suffix in (".png", ".gif"))
        pictures = {f"{model}/{p.name}": hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
        return weights_hash(Path(folder) / "run" / "model.safetensors"), pictures


def recorded(checkout: Path) -> dict[str, dict[str, str]]:
    """Everything about one checkout, by section and name."""
    models = json.loads(run(checkout, "-c", "import json, tinyae; print(json.dumps(list(tinyae.models.MODELS)))"))
    commands = json.loads(run(checkout, "-c", _COMMANDS))
    calls = [(), *((c,) for c in commands), *(("train", m) for m in models)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = list(pool.map(lambda model: trained(checkout, model), models))
        texts = list(pool.map(lambda call: run(checkout, "-m", "tinyae", *call, "--help"), calls))
    return {
        "weights": {model: weights for model, (weights, _) in zip(models, runs, strict=True)},
        "pictures": {name: digest for _, pictures in runs for name, digest in pictures.items()},
        "help": {" ".join(("tinyae", *call)): text for call, text in zip(calls, texts, strict=True)},
        "names": json.loads(run(checkout, "-c", _NAMES)),
    }


_COMMANDS = """
import argparse, json
from tinyae.cli.main import parser
(commands,) = [a for a in parser()._actions if isinstance(a, argparse._SubParsersAction)]
print(json.dumps(list(commands.choices)))
"""


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """One line for each name that is new, gone or changed; of texts the lines that changed."""
    lines = [f"gone: {name}  {_short(before[name])}" for name in before if name not in after]
    lines += [f"new: {name}  {_short(after[name])}" for name in after if name not in before]
    for name in before:
        if name in after and before[name] != after[name]:
            lines.append(f"changed: {name}")
            old, new = before[name].splitlines(), after[name].splitlines()
            lines += [
                f"    {line}" for line in difflib.unified_diff(old, new, n=0, lineterm="") if line[:2] not in _HEADS
            ]
    return lines


_HEADS = ("--", "++", "@@")


def _short(value: str) -> str:
    return value if len(value) <= 100 and "\n" not in value else ""


def main() -> None:
    """Record or compare; exit code 1 if anything differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("action", choices=("record", "compare"))
    parser.add_argument("file", type=Path, help="the record, JSON")
    parser.add_argument("--checkout", type=Path, default=Path(__file__).parents[1], help="default: this one")
    options = parser.parse_args()
    found = recorded(options.checkout.resolve())
    if options.action == "record":
        options.file.write_text(json.dumps(found, indent=1))
        return
    before = json.loads(options.file.read_text())
    different = False
    for section in SECTIONS:
        lines = differences(before[section], found[section])
        different |= bool(lines)
        print(f"{section}: {'equal' if not lines else ''} ({len(found[section])} entries)", *lines, sep="\n  ")
    raise SystemExit(int(different))


if __name__ == "__main__":
    main()
