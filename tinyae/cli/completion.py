"""Scripts that complete the words of a `tinyae` command in a shell, made from its parser."""

from __future__ import annotations

import argparse
import shlex

from tinyae.cli.arguments import Parser
from tinyae.data import names

# A case is "COMMAND@PREVIOUS@CURRENT", e.g. /train/basic@--optimizer@ad; where it finds no words, files are completed.
_SCRIPT = """\
_tinyae() {
    local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}" here="" found="" word
    for word in "${COMP_WORDS[@]:1:$((COMP_CWORD-1))}"; do
        case "$here/$word" in PLACES) here="$here/$word" ;; esac
    done
    case "$here@$previous@$current" in
CASES
    esac
    COMPREPLY=($(compgen -W "$found" -- "$current"))
}
complete -o default -F _tinyae tinyae
"""
_FISH = """\
function __tinyae
    set -l words (commandline -opc)
    set -l here ""
    for word in $words
        switch "$here/$word"
            case PLACES
                set here "$here/$word"
        end
    end
    switch "$here@$words[-1]@"(commandline -ct)
CASES
    end
end
complete -c tinyae -n 'count (__tinyae) >/dev/null' -f -a '(__tinyae)'
"""

SHELLS = {"bash": _SCRIPT, "zsh": f"autoload -U +X bashcompinit && bashcompinit\n{_SCRIPT}", "fish": _FISH}
"""The shells, and their scripts."""


def script(shell: str, root: Parser) -> str:
    """The completion script of a command for a shell."""
    parsers, values, others = [("", root)], dict[str, list[str]](), []
    for place, parser in parsers:  # grows by the sub-commands
        flags = [flag for flag in parser.filled()._option_string_actions if flag.startswith("--")]
        others.append((f"{place}@*@-*", " ".join(flags)))
        for action in parser._actions:
            words = " ".join(map(str, action.choices or (names() if action.dest == "data" else ())))
            if isinstance(action, argparse._SubParsersAction):
                parsers += [(f"{place}/{name}", inner) for name, inner in action.choices.items()]
            if not action.option_strings:
                others.append((f"{place}@*@*", words))
            elif action.nargs != 0:
                values.setdefault(words, []).append(f"{place}@{action.option_strings[-1]}@*")
    cases = [*(("|".join(patterns), words) for words, patterns in values.items()), *others]
    places = [place for place, _ in parsers[1:]]
    if shell == "fish":
        lines = [f"case {shlex.join(key.split('|'))}; string split -n ' ' '{words}'" for key, words in cases]
    else:
        lines = [f'{key}) found="{words}" ;;' for key, words in cases]
    text = "\n".join(f"        {line}" for line in lines)
    return SHELLS[shell].replace("PLACES", (" " if shell == "fish" else "|").join(places)).replace("CASES", text)
