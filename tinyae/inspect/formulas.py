"""The formula in the docstring of an operation as MathML, which every browser sets without a library.

The docstring stays the one place of a formula: "Hyperbolic tangent.   d/dx tanh(x) = 1 - tanh(x)**2". What is read there is
plain text with the signs of Python: words stay words, `**` and `^` raise, `_` lowers, and d/dx and dL/dW are fractions.
"""

from __future__ import annotations

import inspect
import re
from html import escape

from tinyae.autodiff import Primitive

_PIECES = re.compile(r"\s{3,}|(?<=[\w)|])[.;:](?=\s|$)|\n")
_DERIVATIVE = re.compile(r"\bd[A-Z]?/d(?:\w| log)|J\^T|\bd[a-zW]{1,2}(_\w)? =")
_TOKENS = re.compile(
    r"\s+|(?P<ratio>d[A-Z]?/d(?: log \w|\w+(?:_\w)?))|(?P<number>\d+(?:\.\d+)?(?:e-?\d+)?)"
    r"|(?P<name>[^\W\d_]{2,}(?:_[^\W\d_]{2,})+(?=\()|[^\W\d_]\w*?(?=_)|[^\W\d_][^\W_]*'?)|(?P<raise>\*\*|\^)|(?P<lower>_)|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<sign><=|>=|->|.)"
)
_SIGNS = {"*": "&#xB7;", "-": "&#x2212;", "<=": "&#x2264;", ">=": "&#x2265;", "->": "&#x2192;"}
_WORDS = frozenset(
    re.findall(
        r"\w+",
        "for else if of over sum the and or at in inside outside on border where is are by to from same with samples places "
        "batch chosen largest smallest ties evenly others each one mean variance product along piece computed without a division",
    )
)
_LETTERS = {"pi": "&#x3C0;", "lambda": "&#x3BB;", "sigma": "&#x3C3;"}


def formula(primitive: Primitive) -> str:
    """The derivative of an operation, as its docstring states it, on one or more lines; "" if it states none.

    Of one half of an adjoint pair it follows from the other half.
    """
    text = inspect.cleandoc(primitive.__doc__ or "")
    text = re.sub(r"^(?:    .*|Args:|Returns .*)$", "", text.replace("`", ""), flags=re.M)
    text = re.sub(r"(?<![.,:;])\n(?=\S)", " ", text)  # a line that continues a sentence or a formula is joined to it
    found = []
    for piece in _PIECES.split(text):
        start = _DERIVATIVE.search(piece)
        if start and "=" in piece[start.start() :] and "=" not in piece[: start.start()]:
            found.append(piece[start.start() :].strip().strip(","))
    if not found and primitive.adjoint is not None:
        found = [f"dL/dx = {primitive.adjoint.name}(G)"]
    return "\n".join(found)


def mathml(text: str) -> str:
    """A formula in plain text as a MathML element, each of its lines on a line; any text gives well-formed MathML."""
    rows = [f"<mtr><mtd>{''.join(_row(_tokens(line)))}</mtd></mtr>" for line in text.splitlines()]
    return f'<math display="block"><mtable columnalign="left">{"".join(rows)}</mtable></math>' if rows else ""


def _tokens(line: str) -> list[tuple[str, str]]:
    return [(m.lastgroup, m[0]) for m in _TOKENS.finditer(line) if m.lastgroup]


def _row(tokens: list[tuple[str, str]], closing: bool = False) -> list[str]:
    """The elements of a row; with `closing` up to a closing bracket, which is taken off the tokens."""
    row: list[str] = []
    while tokens:
        kind = tokens[0][0]
        if kind == "close" and closing:
            break
        if kind in ("raise", "lower") and row:
            tokens.pop(0)
            row.append(_element("msup" if kind == "raise" else "msub", row.pop(), _script(tokens)))
        else:
            atom = _atom(tokens)
            if row and not atom.startswith(("<mo>", "<mtext>")) and not row[-1].startswith(("<mo>", "<mtext>")):
                row.append('<mspace width="0.25em"></mspace>')  # a product without a sign
            row.append(atom)
    return row


def _script(tokens: list[tuple[str, str]]) -> str:
    """What is raised or lowered: one atom, a minus sign before it included; braces around it are not shown."""
    if not tokens:
        return "<mrow></mrow>"
    if tokens[0][1] == "{":
        return _group(tokens, shown=False)
    sign = f"<mo>{_SIGNS[tokens.pop(0)[1]]}</mo>" if tokens[0][1] == "-" else ""
    return f"<mrow>{sign}{_atom(tokens) if tokens else ''}</mrow>"


def _atom(tokens: list[tuple[str, str]]) -> str:
    """One element: a number, a name with its arguments, a bracket, a sign."""
    kind, text = tokens.pop(0)
    if kind == "ratio":
        above, _, below = text.partition("/")
        return _element("mfrac", _mi(above), "".join(_row(_tokens(below))))
    if kind == "number":
        return f"<mn>{text}</mn>"
    if kind == "name":
        called = bool(tokens) and tokens[0][1] in "(["
        if text in _WORDS and not (called and tokens[0][1] == "("):
            return f"<mtext>&#xA0;{text}&#xA0;</mtext>"
        if text == "sqrt" and called:
            return f"<msqrt>{_group(tokens, shown=False)}</msqrt>"
        return f"<mrow>{_mi(text)}{_group(tokens)}</mrow>" if called else _mi(text)
    if kind == "open":
        tokens.insert(0, (kind, text))
        return _group(tokens)
    return f"<mo>{_SIGNS.get(text, escape(text))}</mo>"


def _group(tokens: list[tuple[str, str]], shown: bool = True) -> str:
    """A bracket with what is inside; one that is never closed ends with the line."""
    left = tokens.pop(0)[1]
    inside = "".join(_row(tokens, closing=True))
    right = tokens.pop(0)[1] if tokens else ""
    return f"<mrow><mo>{left}</mo>{inside}<mo>{right}</mo></mrow>" if shown else f"<mrow>{inside}</mrow>"


def _mi(name: str) -> str:
    return f"<mi>{_LETTERS.get(name, escape(name))}</mi>"


def _element(tag: str, *parts: str) -> str:
    return f"<{tag}>{''.join(f'<mrow>{part}</mrow>' for part in parts)}</{tag}>"


def rule_source(primitive: Primitive) -> str:
    """The source text of the gradient rules of an operation, each once."""
    if primitive.adjoint is not None:
        return f"adjoint_pair({primitive.name}, {primitive.adjoint.name})   # each is the gradient rule of the other"
    found = []
    for rule in filter(None, (*primitive.vjps.values(), primitive.vjp_each, primitive.vjp_all)):
        try:
            found.append(inspect.cleandoc(inspect.getsource(rule)))
        except (OSError, TypeError):  # typed at a prompt, or written in C
            found.append("# the source of this rule is not in a file")
    return "\n\n".join(dict.fromkeys(found))
