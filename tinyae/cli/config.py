"""What a run folder says of itself: `run.toml`, its settings, which `tinyae train --config run.toml` reads; and its card."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tinyae.checks import choose, reading, shown
from tinyae.cli.arguments import Parser
from tinyae.data import Dataset
from tinyae.models import MODELS, model_entry

_HEAD = """\
# All settings of a run. `tinyae train --config run.toml` trains it again, the same bit for bit on the same machine; options
# given beside it take precedence. A relative path starts at the working directory, as on the command line.
"""
_LARGEST = 2**20


def settings_text(config: Mapping[str, Any], parser: Parser) -> str:
    """The settings in the configuration of a run as TOML, named as the options of its model, with their help as comments."""
    windows = config.get("windows") or {}
    values = {**config, "kind": None, "scale": None, "minutes": None, **config.get("table", {}), **config.get("data_options", {}),
              **windows, "window": windows.get("length"), **config["arguments"]}  # fmt: skip
    lines = [_HEAD, f"model = {toml(config['model'])}  # {MODELS[config['model']].title}"]
    for group in parser._action_groups:
        found = [
            f"{a.option_strings[0][2:]} = {toml(values[a.dest])}  # {(a.help or '').replace('%%', '%')}"
            for a in group._group_actions
            if values.get(a.dest) is not None
        ]
        lines += [f"\n# {group.title}", *found] if found else []
    return "\n".join(lines) + "\n"


def toml(value: Any) -> str:
    """A string, bool, finite number, or list of these as TOML, which is JSON but for one control character."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")


def expanded(words: Sequence[str], parser_of: Callable[[str], Parser]) -> list[str]:
    """The words of a command, with the settings of a `--config FILE` of `train` as options before those that are given.

    parser_of: the parser of a model's options, by its name. Raises ValueError or OSError for a file that cannot be read, does
    not fit the options, or contradicts the words.
    """
    start = next((n for n, word in enumerate(words) if not word.startswith("-")), 0) + 1
    rest = list(words[start:])
    place = next((n for n, word in enumerate(rest) if word.partition("=")[0] == "--config"), None)
    if words[start - 1 : start] != ["train"] or place is None or rest[place:] == ["--config"]:
        return list(words)
    _, equals, path = rest.pop(place).partition("=")
    path = path if equals else rest.pop(place)
    given = [rest.pop(0)] if rest and not rest[0].startswith("-") else []
    settings = _read(path)
    models = {*given, *map(str, [settings.pop("model")] if "model" in settings else [])}
    if len(models) != 1:
        raise ValueError(
            f"{path} and the command line name {' and '.join(sorted(models)) or 'no model'}: name one model."
        )
    model = choose("model", models.pop(), MODELS, owner=path)
    parser = parser_of(model)

    def refuse(message: str) -> NoReturn:
        raise ValueError(f"{path}: {message}{'' if message.endswith('?') else f'; see `tinyae train {model} --help`.'}")

    parser.error = refuse  # type: ignore[method-assign]
    found = [word for name, value in settings.items() for word in _words(f"--{name}", value, parser)]
    parser.parse_args(found)
    if {"--config", "--resume"} & {word.partition("=")[0] for word in [*found, *rest]}:
        raise ValueError(f"{path} says how one new run is trained: leave out --resume and any other --config.")
    return [*words[:start], model, *found, *rest]


def _read(path: str) -> dict[str, Any]:
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}: give a TOML file of settings, such as the run.toml in a run folder.")
    with reading(path, "a TOML file", "compare it with the run.toml in a run folder"):
        with Path(path).open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ValueError("it is larger than a megabyte")
        return tomllib.loads(content.decode("utf-8"))


def _words(flag: str, value: Any, parser: Parser) -> list[str]:
    """A setting as words of the command line; an error of the parser if it is of another type than its option."""
    known, off = parser._option_string_actions, f"--no-{flag[2:]}"
    action, text = known.get(flag), ",".join(map(str, value)) if isinstance(value, list) else str(value)
    if action is not None and isinstance(value, bool) != (action.nargs == 0):
        got = toml(value) if isinstance(value, bool) else shown(value)
        parser.error(f"argument {flag}: must {'' if action.nargs == 0 else 'not '}be true or false, got {got}")
    if isinstance(value, bool):
        return [flag] if value or action is None else [off] if off in known else []
    if isinstance(value, str) and action is not None and action.type not in (None, str):
        parser.error(f"argument {flag}: must not be in quotes, got {value!r}")
    return [f"{flag}={text}"]


# ---------------------------------------------------------------------------------------------------------------------
# `README.md`, the card of a run, for readers of a model hub, a repository, or the folder itself.

UNFINISHED = "There are no results yet. `tinyae train --resume RUN` continues a run that was stopped."
"""Stands for the report until the run has one."""

_CARD = """\
---
library_name: tinyae
tags: [autoencoder, {entry.name}]
---
# {entry.name} on {data.name}

{headline}.

- model: {entry.title}; code size {code_size}
- data: {about}
- trained with {versions}; `tinyae train --config run.toml` trains it again, equal bit for bit on the same machine

```text
{report}
```

{pictures}To use it, with the path of this folder for RUN:

```python
import tinyae as ta
run = ta.training.Run.open("RUN")
codes = run.model().encode(run.model().batch(run.data().{part}))
```
"""


def card(
    config: dict[str, Any], model: Any, data: Dataset, headline: str, report: str, pictures: Sequence[Path]
) -> str:
    """The text of the card; equal runs have equal ones, so it holds no date and no path.

    headline: model and data in a line. report: what `tinyae train` prints at the end, or `UNFINISHED`.
    """
    versions = config["environment"]["versions"]
    about = {"": data.title, "source: ": data.source, "license: ": data.license}
    return _CARD.format(
        entry=model_entry(config["model"]), data=data, headline=headline, report=report,
        code_size=model.encode(model.batch(data.train.rows(slice(0, 1)))).size,
        about="; ".join(f"{what}{text.removesuffix('.')}" for what, text in about.items() if text),
        pictures="".join(f"![{file.stem}]({file.name})\n\n" for file in pictures),
        part="test" if len(data.test) else "train",
        versions=", ".join(f"{library} {versions[library]}" for library in ("tinyae", "numpy", "python")),
    )  # fmt: skip
