"""Command-line options from signatures and docstrings: a setting is declared once, where it is used.

A parameter `code_size: int = 32` whose line in `Args:` is "K, latent dimensions." becomes `--code-size K`, with the help
"latent dimensions (default: 32)": the first sentence of the text, without the letter, which becomes the metavar.
"""

from __future__ import annotations

import argparse
import inspect
import math
import re
import shlex
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NoReturn

from tinyae.checks import did_you_mean, shown

SPELLING = {"warmup": "kl-warmup", "num_layers": "layers", "minutes": "checkpoint-minutes", "kind": "as"}
"""Settings whose option has another name."""

LETTERS = {("tinyae sample", "count"): ("-n",)}
"""Short forms of options, by command and setting."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence without the usage, and which takes no abbreviated options.

    Attributes:
        fill: adds the arguments when the parser is used, so that a command does not wait for those of all others.
    """

    def __init__(self, *, fill: Callable[[Parser], None] = lambda parser: None, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)
        self.color = False  # of Python 3.14: control characters are escaped on their way to a terminal
        self.fill = fill

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2 and one sentence."""
        see = " See" if message.endswith("?") else "; see"
        self.exit(2, f"{self.prog}: error: {message}{see} `{self.prog} --help`.\n")

    def filled(self) -> Parser:
        """This parser, with all its arguments."""
        fill, self.fill = self.fill, lambda parser: None
        fill(self)
        return self

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As in argparse, with the closest choices as a suggestion."""
        known = action.choices
        if known is not None and value not in known and (near := did_you_mean(value, map(str, known))):
            raise argparse.ArgumentError(action, f"invalid choice: {shown(value)}: {near}")
        super()._check_value(action, value)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As in argparse, but an unknown option is an error, with the closest known one as a suggestion."""
        self.filled()
        found, rest = super().parse_known_args(args, namespace)
        own = [action.dest for action in self._actions if action.option_strings]
        found.option_names = [*own, *getattr(found, "option_names", ())]  # of a command, then of the one above
        for name in (word.partition("=")[0] for word in rest if word.startswith("-")):
            known = [option for option in self._option_string_actions if option.startswith("--")]
            begun = [option for option in known if option.startswith(name) and name != "--"]
            near = f"did you mean {' or '.join(begun)}?" if begun else did_you_mean(name, known, 0.75)
            self.error(f"unknown option {name}" + (f": {near}" if near else ""))
        return found, rest


# ---------------------------------------------------------------------------------------------------------------------
# Settings: what a function declares about its parameters.


@dataclass(frozen=True)
class Setting:
    """A setting as declared.

    Attributes:
        name, default: of the parameter; the default is `inspect.Parameter.empty` if it has none.
        hint: its type annotation; `Annotated[str, choices]` if there are choices.
        text: its entry in the `Args:` section.
    """

    name: str
    default: Any
    hint: Any
    text: str


def settings_of(function: Callable[..., Any]) -> dict[str, Setting]:
    """The settings of a function or class by name, including those passed on to other functions, in signature order."""
    (hints, texts), parameters = _declared(function), inspect.signature(function).parameters
    return {name: Setting(name, p.default, hints.get(name, Any), texts.get(name, "")) for name, p in parameters.items()}


_REFERS = re.compile(r"(as (for|in|of)|see) ")
"""The beginning of a text that only refers to another one: "as for `Autoencoder`", "see there"."""


@cache
def _declared(function: Callable[..., Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The types and the texts that the function itself declares, or else those that it passes settings on to."""
    code: Any = function.__init__ if isinstance(function, type) else function  # type: ignore[misc]
    hints: dict[str, Any] = {}
    texts: dict[str, str] = {}
    for target in reversed(getattr(code, "__passes_on__", ())):
        hints, texts = hints | _declared(target)[0], texts | _declared(target)[1]
    own = arguments_section(function.__doc__ or "")
    texts |= {name: text for name, text in own.items() if not _REFERS.match(text)}
    return hints | typing.get_type_hints(code, include_extras=True), texts


def arguments_section(docstring: str) -> dict[str, str]:
    """The entries of the `Args:` section of a docstring by name, each as one line; `a, b: text` describes both."""
    _, _, rest = inspect.cleandoc(docstring).partition("\nArgs:\n")
    section = re.match(r"(?:(?: {4}.*)?(?:\n|$))*", rest)
    texts: dict[str, str] = {}
    for names, text in re.findall(r"^ {4}(\w[\w, ]*): (.*(?:\n {5,}.*)*)", section[0] if section else "", re.MULTILINE):
        texts.update(dict.fromkeys(names.split(", "), " ".join(text.split())))
    return texts


# ---------------------------------------------------------------------------------------------------------------------
# Adding the settings to a parser.


def add_command(
    commands: Any, function: Callable[..., None], groups: Mapping[Callable[..., Any], str], more: Iterable[Setting] = ()
) -> None:
    """Add the sub-command that calls `function`: its parameters are the arguments, its docstring is the help.

    Args:
        commands: the result of `add_subparsers`.
        function: the first line of its docstring is the help in the list of commands, the next paragraph the description.
        groups: as for `add_arguments`.
        more: options that are not for the function.
    """
    head, _, body = inspect.cleandoc(function.__doc__ or "").partition("\n\n")
    about = " ".join(body.partition("Args:\n")[0].split())
    parameters = inspect.signature(function).parameters.values()

    def run(options: argparse.Namespace) -> None:
        several = [value for p in parameters if p.kind is p.VAR_POSITIONAL for value in getattr(options, p.name)]
        function(*several, **{p.name: getattr(options, p.name) for p in parameters if p.kind is not p.VAR_POSITIONAL})

    def fill(parser: Parser) -> None:
        add_arguments(parser, function, groups)
        for setting in more:
            add_option(parser, setting)
        parser.set_defaults(run=run)

    commands.add_parser(function.__name__, help=_plain(head), description=_plain(about or head), fill=fill)


def add_arguments(parser: Parser, function: Callable[..., Any], groups: Mapping[Callable[..., Any], str]) -> None:
    """Add the parameters of a function: keyword-only ones as options, the others as positional arguments.

    Args:
        groups: functions whose settings form a separate group, and the heading of the group, "title: description".
    """
    headings = {name: group for owner, group in groups.items() for name in inspect.signature(owner).parameters}
    sections: dict[str | None, Any] = {None: parser}
    parameters = inspect.signature(function).parameters
    for setting in settings_of(function).values():
        kind, heading = parameters[setting.name].kind, headings.get(setting.name)
        if heading is not None and heading not in sections:
            sections[heading] = headed(parser, heading)
        if kind is inspect.Parameter.KEYWORD_ONLY:
            short = LETTERS.get((parser.prog, setting.name), ())
            add_option(sections[heading], setting, *short)
        else:
            many: dict[str, Any] = {"nargs": "*"} if kind is inspect.Parameter.VAR_POSITIONAL else {}
            many |= {"nargs": "?", "default": None} if setting.default is None else {}
            parser.add_argument(setting.name, help=help_of(setting), **_reader(setting), **many)


def headed(parser: Parser, heading: str) -> Any:
    """A group of options with the heading "title" or "title: description"."""
    title, _, about = heading.partition(": ")
    return parser.add_argument_group(title, about or None)


def add_options(group: Any, settings: Iterable[Setting], shown: Mapping[str, Any] | None = None) -> None:
    """Add options that are None if not given; the help shows the defaults in `shown`, or the declared ones."""
    for setting in settings:
        usual = (shown or {}).get(setting.name, setting.default)
        words, flag = help_of(setting, usual), flag_of(setting.name)
        group.add_argument(flag, dest=setting.name, default=None, help=words, **_reader(setting))


def add_option(group: Any, setting: Setting, *short: str) -> None:
    """Add one option with the default of the setting; it is required if there is none."""
    required = setting.default is inspect.Parameter.empty
    group.add_argument(
        *short, flag_of(setting.name), dest=setting.name, required=required, default=None if required else setting.default,
        help=help_of(setting, setting.default), **_reader(setting),
    )  # fmt: skip


def flag_of(name: str) -> str:
    """The name of a setting on the command line: `--code-size`."""
    return f"--{SPELLING.get(name, name).replace('_', '-')}"


def as_options(message: str, names: Collection[str]) -> str:
    """A message that is written for Python, with the options `names`: `--code-size 16` for code_size=16."""

    def option(found: re.Match[str]) -> str:
        (name, value), (start, end) = found.groups(), found.span()
        subject = message[:start].endswith(("", ": ")[start > 0]) and message.startswith(" must ", end)
        if name not in names or not (value or "_" in name or subject):
            return found[0]
        if not value or value == "True":
            return flag_of(name)
        inner = re.sub(r",?\s", ",", value[1:-1]).rstrip(",") if value[0] in "([" else value.strip("'\"")
        return f"{flag_of(name)} {shlex.quote(inner) if any(map(str.isalnum, inner)) else value}"

    return _GIVEN.sub(option, message)


_GIVEN = re.compile(
    r"""(?<![\w/.'"`-])([a-z][a-z_]*)(?:=('[^']*'|"[^"]*"|\([^()]*\)|\[[^][]*\]|[\w.+-]*\w)|(?![\w=/('"`-]|\.\w))"""
)


def help_of(setting: Setting, default: Any = None) -> str:
    """The first sentence of the text of a setting, without the metavar, and the default."""
    text = _FIRST.split(_LETTER.sub("", setting.text), maxsplit=1)[0]
    if any(default is nothing for nothing in (None, False, inspect.Parameter.empty, argparse.SUPPRESS)):
        return _plain(text)
    value = ",".join(map(str, default)) or "none" if isinstance(default, (list, tuple)) else default
    value = f"{value:g}" if isinstance(value, float) else value
    return f"{_plain(re.sub(r'[,;] by default [^,;.]*', '', text))} (default: {value})".strip()


_FIRST = re.compile(r"(?<!e\.g)(?<! al)\.(?:\s|$)")
_LETTER = re.compile(r"^([A-Z]+(?:[|.,][A-Za-z]+)*), ")


def _plain(text: str) -> str:
    """Text for a terminal: without docstring markup, and with % escaped for argparse."""
    return text.replace("`", "").replace('"', "").replace("%", "%%")


def _reader(setting: Setting) -> dict[str, Any]:
    """The keywords of `add_argument` for a type: converter, choices, metavar."""
    union = typing.get_origin(setting.hint) in (typing.Union, types.UnionType)
    kind = typing.get_args(setting.hint)[0] if union else setting.hint
    letter = _LETTER.match(setting.text)
    metavar = {"metavar": letter[1]} if letter else {}
    if kind is bool:
        return {"action": "store_true" if setting.default is False else argparse.BooleanOptionalAction}
    if typing.get_origin(kind) is Annotated:
        base, extra = typing.get_args(kind)
        known = (
            {"type": extra, "metavar": "N"}
            if callable(extra)
            else {"type": whole_number if base is int else base, "choices": list(extra)}
        )
        return known | metavar
    readers: dict[Any, tuple[Callable[[str], Any], str]] = {
        int: (whole_number if setting.default == 0 or "; 0 for " in setting.text else positive_int, "N"),
        float: (finite_number, "X"),
        str: (str, "NAME"),
        Path: (Path, "FILE"),
        Sequence[int]: (int_list, "N,N,..."),
    }
    read, usual = readers[kind]
    return {"type": read, "metavar": usual} | metavar


# ---------------------------------------------------------------------------------------------------------------------
# Converters for argparse. Ranges are checked where the number is used; here only that sizes and counts are at least 1 (or 0
# if that is the default, or has a meaning of its own that the text gives: "K, latent dimensions; 0 for ...").


def positive_int(text: str) -> int:
    """A whole number of at least 1."""
    return whole_number(text, 1)


def whole_number(text: str, at_least: int = 0) -> int:
    """A whole number of at least 0, or of another bound, that the files of a run have room for."""
    digits = text.isdecimal() and len(text) <= 18
    if not digits or int(text) < at_least:
        fix = "" if digits else ": write 1 to 18 digits"
        raise argparse.ArgumentTypeError(f"must be a whole number of at least {at_least}, got {shown(text)}{fix}")
    return int(text)


def finite_number(text: str) -> float:
    """A finite number."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"must be a finite number, got {shown(text)}")
    return number


def int_list(text: str) -> list[int]:
    """Whole numbers separated by commas, e.g. 1000,500,250,30; none of an empty text."""
    return [positive_int(part.strip()) for part in text.split(",")] if text else []


def height_width(text: str) -> tuple[int, int]:
    """Two whole numbers separated by a comma, or one for both."""
    sizes = int_list(text)
    if len(sizes) not in (1, 2):
        raise argparse.ArgumentTypeError(f"must be H,W, or one number for both, got {shown(text)}")
    return sizes[0], sizes[-1]
