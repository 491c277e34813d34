"""Scripts that complete the words of a `tinyae` command in a shell, made from its parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from tinyae.cli.arguments import Parser
from tinyae.data import names

SHELLS = ("bash", "zsh", "fish")

# Where a word stands is said by "COMMAND@PREVIOUS@CURRENT", e.g. "/train/basic@--optimizer@ad". Without words, files are completed.
_BASH = """\
# Completion of tinyae for bash and zsh: source <(tinyae completion bash)
_tinyae() {
    local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}" here="" found="" word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$here/$word" in
            COMMANDS) here="$here/$word" ;;
        esac
    done
    case "$here@$previous@$current" in
CASES
    esac
    COMPREPLY=($(compgen -W "$found" -- "$current"))
}
complete -o default -F _tinyae tinyae
"""
_FISH = """\
# Completion of tinyae for fish: tinyae completion fish | source
function __tinyae
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l here ""
    set -l found
    for word in $words[2..]
        switch "$here/$word"
            case COMMANDS
                set here "$here/$word"
        end
    end
    switch "$here@$words[-1]@$current"
CASES
    end
    test -n "$found" && printf '%s\\n' $found || __fish_complete_path "$current"
end
complete -c tinyae -f -a '(__tinyae)'
"""


def script(shell: str, root: Parser) -> str:
    """The completion script of a command for a shell."""
    parsers = dict(_parsers("", root))
    values: dict[str, dict[str, list[str]]] = {}  # option -> the words of its value -> the commands
    for place, parser in parsers.items():
        for action in parser._actions:
            if action.option_strings and action.nargs != 0:
                words = " ".join(action.choices or (names() if action.dest == "data" else ()))
                values.setdefault(action.option_strings[-1], {}).setdefault(words, []).append(place)
    cases = [
        ([f"{place}@{flag}@*" for place in (places if len(choices) > 1 else "*")], words)
        for flag, choices in values.items()
        for words, places in choices.items()
    ]
    for place, parser in reversed(parsers.items()):
        flags = [flag for flag in parser._option_string_actions if flag.startswith("--")]
        others = [word for a in parser._actions if not a.option_strings for word in a.choices or ()]
        cases += [([f"{place}@*@-*"], " ".join(flags)), ([f"{place}@*@*"], " ".join(others))]
    commands = [place for place in parsers if place]
    if shell == "fish":
        lines = [f"        case {_quoted(patterns)}\n            set found {words}" for patterns, words in cases]
        return _FISH.replace("COMMANDS", _quoted(commands)).replace("CASES", "\n".join(lines))
    lines = [f'        {"|".join(patterns)}) found="{words}" ;;' for patterns, words in cases]
    text = _BASH.replace("COMMANDS", "|".join(commands)).replace("CASES", "\n".join(lines))
    return text if shell == "bash" else f"autoload -U +X bashcompinit && bashcompinit\n{text}"


def _parsers(place: str, parser: Parser) -> Iterator[tuple[str, Parser]]:
    """A parser and those of its sub-commands, each with its place: /train/basic."""
    yield place, parser.filled()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from _parsers(f"{place}/{name}", inner)


def _quoted(patterns: list[str]) -> str:
    return " ".join(f"'{pattern}'" for pattern in patterns)
