"""Checks of arguments, shared by all packages. Every message says what was expected, what was given and how to fix it."""

from __future__ import annotations

import errno
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from functools import cache, wraps
from types import NoneType, SimpleNamespace, UnionType
from typing import TYPE_CHECKING, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def unknown(what: str, value: object, options: Iterable[object], *, owner: str = "", otherwise: str = "") -> ValueError:
    """The error for a `value` that is not among `options`: `raise unknown("device", name, DEVICES)`.

    Args:
        what: the kind of thing, e.g. "activation".
        owner: the class or function that was called, e.g. "Conv2d"; begins the message.
        otherwise: an alternative to the options; ends the message.
    """
    before = f"{owner}: " if owner else ""
    known = list(map(str, options))
    near = f"{meant} Choose" if (meant := did_you_mean(value, known)) else "choose"
    return ValueError(f"{before}unknown {what} {shown(value)}: {near} one of {', '.join(known)}{otherwise}.")


def did_you_mean(value: object, options: Iterable[str], cutoff: float = 0.6) -> str:
    """The question "did you mean adam or adamw?", with up to three options that are spelled like `value`; "" if none is."""
    from difflib import get_close_matches

    near = {option.lower(): option for option in options}
    text = value if isinstance(value, str) else shown(value)
    close = [near[name] for name in get_close_matches(text.lower(), near, n=3, cutoff=cutoff)]
    return f"did you mean {' or '.join(close)}?" if close else ""


def choose(what: str, value: T, options: Iterable[T], *, owner: str = "", otherwise: str = "") -> T:
    """Return `value` if it is one of `options`; otherwise raise the error that `unknown` builds."""
    known = list(options)
    if value not in known:
        raise unknown(what, value, known, owner=owner, otherwise=otherwise)
    return value


def shown(value: object) -> str:
    """A value as a message shows it: of a long text the beginning, of a long whole number how many digits it has."""
    if isinstance(value, int) and abs(value) >= 10**40:  # Python does not print thousands of digits
        return f"a whole number of {int(math.log10(abs(value))) + 1:,} digits"
    text = value if isinstance(value, str) else str(value)
    short = text if len(text) <= 100 else f"{text[:20]}... ({len(text):,} characters)"
    return repr(short) if isinstance(value, str) else short


def number(
    name: str,
    value: object,
    *,
    at_least: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    advice: str = "",
) -> float:
    """`value` as a finite Python float. Raises ValueError out of bounds, TypeError for all else, also bool and str."""
    fix = advice and f": {advice}"
    try:
        if isinstance(value, (str, bytes, bytearray)) or type(value).__name__ == "bool":  # of Python or of NumPy
            raise TypeError
        result = float(value)  # type: ignore[arg-type]
    except OverflowError:  # a whole number or a fraction
        result = math.inf
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}{fix}.") from None
    if not (math.isfinite(result) and result >= at_least and above < result < below):
        bounds = (("at least", at_least), ("above", above), ("below", below))
        wanted = " and ".join(f"{word} {bound:g}" for word, bound in bounds if math.isfinite(bound))
        raise ValueError(f"{name} must be a finite number{wanted and f', {wanted}'}, got {shown(value)}{fix}.")
    return result


def whole_number(name: str, value: object, *, at_least: int, advice: str = "") -> int:
    """`value` as an int of at least `at_least`, with the errors of `number`. A float such as 3.0 is a whole number."""
    fix = advice and f": {advice}"
    if (result := number(name, value, advice=advice)) != int(result) or result < at_least:
        raise ValueError(f"{name} must be a whole number of at least {at_least}, got {shown(value)}{fix}.")
    return int(value)  # type: ignore[call-overload]  # a float has 53 bits


# ---------------------------------------------------------------------------------------------------------------------
# The kind of every argument is declared once, by its annotation.


def checked(function: F) -> F:
    """Decorator for a function or an `__init__`: every argument must be of the kind that its annotation names.

    An annotation names a kind if it is a number, bool, str, path, dict, a class of tinyae, a function, a list, sequence or
    fixed tuple of these, or a union; anything else, such as arrays and `Any`, is left to the function, and so are all
    ranges. Raises TypeError with the argument's name.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:  # the message of the call below names the function
            given = {}
        for name, value in given.items():
            check_kind(name, value, kinds_of(function).get(name, Any))
        return function(*args, **kwargs)

    return cast(F, call)


@cache
def kinds_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function, and of those that it passes settings on to (`tinyae.models.settings.passes_on`)."""
    code: Any = function.__init__ if isinstance(function, type) else function  # type: ignore[misc]
    kinds: dict[str, Any] = {}
    for target in reversed(getattr(code, "__passes_on__", ())):
        kinds |= kinds_of(target)
    bare = inspect.unwrap(code)
    for name, annotation in inspect.get_annotations(bare).items():
        try:
            kinds |= get_type_hints(
                SimpleNamespace(__annotations__={name: annotation}), getattr(bare, "__globals__", {})
            )
        except (NameError, AttributeError, TypeError):  # a name that only a type checker imports
            kinds[name] = Any
    return kinds


def check_kind(name: str, value: T, kind: Any) -> T:
    """`value`, if it is of the kind that an annotation names, see `checked`; raises TypeError with the argument's `name`."""
    if not _fits(value, kind):
        got = shown(value) if isinstance(value, int) else repr(value)
        got = type(value).__name__ if len(got) > 40 or "\n" in got else got
        raise TypeError(f"{name} must be {_in_words(kind)}, got {got}.")
    return value


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind; True for an annotation that names none."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Callable:
        return callable(value)
    if isinstance(origin, type) and issubclass(origin, Iterable) and not hasattr(origin, "dtype"):
        return isinstance(value, Iterable) and not isinstance(value, (str, bytes)) and _holds(value, kind)
    if kind is bool:
        return type(value).__name__ == "bool"  # of Python or of NumPy
    if kind in (int, float):
        known = hasattr(value, "__float__") and not isinstance(value, type)
        return known and type(value).__name__ != "bool" and getattr(value, "ndim", 0) == 0
    ours = getattr(kind, "__module__", "").startswith("tinyae.") and not getattr(kind, "_is_protocol", False)
    known = kind in (str, NoneType) or (ours and isinstance(kind, type))
    return isinstance(value, kind) if known else hasattr(value, "__fspath__") or not _is_path(kind)


def _holds(value: Iterable[Any], kind: Any) -> bool:
    """Whether a value is a dict or not, has as many entries, and entries of the kinds, as an annotation says."""
    parts, entries = get_args(kind), value if isinstance(value, (list, tuple)) else ()  # others might be used up
    if isinstance(value, Mapping) or issubclass(get_origin(kind), Mapping):
        return isinstance(value, Mapping) and issubclass(get_origin(kind), Mapping)
    if not _is_fixed(kind):
        return all(_fits(entry, parts[0]) for entry in entries)
    return isinstance(value, Sized) and len(value) == len(parts) and all(map(_fits, entries, parts))


def _in_words(kind: Any) -> str:
    """An annotation as a message says it: "a whole number or None"."""
    parts = get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(_in_words, parts)))
    if get_origin(kind) is Callable:
        return "a function"
    if get_origin(kind) in (Mapping, dict):
        return "a dict"
    if _is_fixed(kind):
        return f"({', '.join(map(_in_words, parts))})"
    if _is_path(kind):
        return "a path"
    if parts:
        one = _in_words(parts[0])
        return f"a list of {one if one[0] == '(' else one.removeprefix('a ') + 's'}"
    words = {int: "a whole number", float: "a number", bool: "True or False", str: "a string", NoneType: "None"}
    words |= {object: "a value", Any: "a value"}
    return words.get(kind) or f"a {'.'.join(kind.__module__.split('.')[:2])}.{kind.__name__}"


def _is_fixed(kind: Any) -> bool:
    """Whether an annotation is a tuple of so many parts, each of its own kind."""
    return get_origin(kind) is tuple and ... not in get_args(kind)


def _is_path(kind: Any) -> bool:
    return getattr(get_origin(kind) or kind, "__name__", "") in ("Path", "PathLike")


@contextmanager
def reading(path: str | Path, kind: str, fix: str) -> Iterator[None]:
    """Turn whatever reading a file raises into one ValueError or OSError that names it.

    A decoder that is given any bytes at all may raise anything, so every reader of files stands behind this door:
    `with reading(path, "a NumPy file", "save it again"): ...`. An error that names the file already passes unchanged.

    Args:
        kind: what the file should be.
        fix: what the user can do.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (OSError, ValueError)) and str(path) in str(error):
            raise
        if isinstance(error, OSError) and error.errno:
            raise system_error(f"cannot read {path}", error) from error
        reason = ("object at 0x" not in str(error) and str(error).strip().partition("\n")[0]) or type(error).__name__
        if isinstance(error, MemoryError):
            raise ValueError(f"{path} needs more memory than there is ({reason}): {fix}.") from error
        raise ValueError(f"{path} is damaged or not {kind} ({reason}): {fix}.") from error


_FIXES = {
    "ENOSPC EDQUOT EFBIG": "free some space or raise the limit, or choose another folder",
    "EACCES EPERM": "change the permissions, or choose another file or folder",
    "EROFS": "choose another folder",
    "EISDIR": "give the name of a file",
    "EEXIST ENOTDIR": "a part of the path is a file or a broken link, so choose another path",
    "ENAMETOOLONG": "choose a shorter name",
    "ELOOP": "its links lead in a circle, so correct them",
    "EMFILE ENFILE": "close other files, or raise the limit (ulimit -n)",
    "EBUSY ETXTBSY": "close the program that uses it",
    "EIO ESTALE ENODEV ENXIO": "see that the disk or network drive works, or choose another folder",
    "ENOMEM": "close other programs",
}
"""What helps against an error of the system, by its names in `errno`."""


def system_error(what: str, error: OSError) -> OSError:
    """`error` in one sentence with what helps: "cannot write FILE: Is a directory; give the name of a file."."""
    name = errno.errorcode.get(error.errno or 0, "")
    fix = next((fix for names, fix in _FIXES.items() if name in names.split()), "check the path")
    said = type(error)(f"{what}: {error.strerror or error}; {fix}.")
    said.errno = error.errno
    return said
