"""`run.toml`: all settings of a run as a file. Every run folder has one, and `tinyae train --config run.toml` reads it."""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tinyae.checks import did_you_mean, reading, unknown
from tinyae.cli.arguments import Parser
from tinyae.models import MODELS

_HEAD = """\
# All settings of a run. `tinyae train --config run.toml` trains it again, the same bit for bit on the same machine; options
# given after it take precedence. A relative path starts at the working directory, as on the command line.
"""
_PLACE = ("help", "config", "seeds", "out", "force")
"""Options that are not settings of a run, but say where and how often."""

_LARGEST = 2**20


def settings_text(config: Mapping[str, Any], parser: Parser) -> str:
    """The settings in the configuration of a run as TOML, named as the options of its model, with their help as comments."""
    windows = config.get("windows") or {}
    values = {
        **config, "kind": None, **config.get("table", {}), **config.get("data_options", {}), **windows,
        "window": windows.get("length"), **config["arguments"],
    }  # fmt: skip
    lines = [_HEAD, f"model = {toml(config['model'])}  # {MODELS[config['model']].title}"]
    for group in parser._action_groups:
        found = [
            f"{_key(action)} = {toml(values[action.dest])}  # {(action.help or '').replace('%%', '%')}"
            for action in group._group_actions
            if values.get(action.dest) is not None
        ]
        lines += [f"\n# {group.title}", *found] if found else []
    return "\n".join(lines) + "\n"


def toml(value: Any) -> str:
    """A string, bool, finite number, or list of these as TOML, which is JSON but for one control character."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")


def _key(action: argparse.Action) -> str:
    return action.option_strings[0].removeprefix("--")


def expanded(words: Sequence[str], parser_of: Callable[[str], Parser]) -> list[str]:
    """The words of a command line, with the settings of a `--config FILE` of `train` as options before those that are given.

    Args:
        words: of the command line.
        parser_of: the parser of a model's options, by its name.

    Raises ValueError or OSError for a file that cannot be read, does not fit the options, or contradicts the words.
    """
    words = list(words)
    start = next((n for n, word in enumerate(words) if not word.startswith("-")), 0) + 1
    rest = words[start:]
    names = [word.partition("=")[0] for word in rest]
    if words[start - 1 : start] != ["train"] or "--config" not in names or rest[-1] == "--config":
        return words
    if names.count("--config") > 1 or "--resume" in names:
        other = "--resume, which continues a run with its own" if "--resume" in names else "another --config"
        raise ValueError(f"--config gives the settings of one new run, got also {other}: leave one of them out.")
    _, equals, path = rest.pop(place := names.index("--config")).partition("=")
    path = path if equals else rest.pop(place)
    given = rest.pop(0) if rest and not rest[0].startswith("-") else None
    settings = _read(path)
    model = settings.pop("model", given)
    if model is None:
        raise ValueError(f'{path} names no model: add, e.g., model = "basic", or give it on the command line.')
    if not isinstance(model, str) or model not in MODELS:
        raise unknown("model", model, MODELS, owner=path)
    if given not in (None, model):
        raise ValueError(
            f"{path} is for the model {model}, and the command line asks for {given}: leave one of them out."
        )
    options = {_key(action): action for action in parser_of(model)._actions}
    found = []
    for name, value in settings.items():
        if name not in options or options[name].dest in _PLACE:
            near = did_you_mean(name, options) or f"leave it out; `tinyae train {model} --help` lists them."
            near = "give it on the command line." if name in options else near
            raise ValueError(f"{path}: {name} is not a setting of {model}: {near}")
        found += _words(f"{path}: {name}", options[name], value)
    return [*words[:start], model, *found, *rest]


def _read(path: str) -> dict[str, Any]:
    if not Path(path).exists():
        raise FileNotFoundError(f"no file {path}: give a TOML file of settings, such as the run.toml in a run folder.")
    with reading(path, "a TOML file", "compare it with the run.toml in a run folder"):
        with Path(path).open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ValueError("it is larger than a megabyte")
        return tomllib.loads(content.decode("utf-8"))


def _words(where: str, action: argparse.Action, value: Any) -> list[str]:
    """The words that give an option a value from a file; ValueError, beginning with `where`, if it is of another kind."""
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ValueError(f"{where} must be true or false, without quotes, got {value!r}: write one of them.")
        return [flag for flag in action.option_strings if flag.startswith("--no-") != value]
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    try:
        read: Any = action.type(text) if callable(action.type) else text
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"{where} {error}: correct it, or leave it out for the default.") from None
    if action.choices is not None and read not in action.choices:
        raise unknown("choice", value, action.choices, owner=where)
    if (list(read) if isinstance(read, tuple) else read) != value:
        raise ValueError(f"{where} is of another kind than needed, got {value!r}: write {toml(read)}.")
    return [f"{action.option_strings[0]}={text}"]
