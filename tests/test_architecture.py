"""The house rules, enforced: one-way imports, no circles, budgets, the tour, documented primitives, a light import.

The numbers stand in `house.toml`, where a commit may change them and says why.
"""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import tomllib
import typing
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

import tinyae
from tests.tour import STARTS, tour_of, toured
from tinyae import ops
from tinyae.autodiff import Primitive, Tensor
from tinyae.backend import Backend
from tinyae.models import MODELS, Autoencoder
from tinyae.nn import Module
from tinyae.ops import OPERATORS

PACKAGE = Path(tinyae.__file__).parent
ROOT = Path(__file__).parents[1]
HOUSE = tomllib.loads((Path(__file__).parent / "house.toml").read_text(encoding="utf-8"))

# Which rooms each room may import, beside `checks` and `notebook`, which all share. What stands here is the whole
# street; there is no other way through the house.
GROUND = {"backend", "autodiff", "ops", "losses", "nn"}
STREET: dict[str, set[str]] = {
    "atomic": set(),
    "checks": set(),
    "notebook": set(),
    "startup": set(),
    "streams": set(),
    "backend": set(),
    "autodiff": {"backend"},
    "ops": {"backend", "autodiff"},
    "losses": {"backend", "autodiff", "ops"},
    "nn": {"backend", "autodiff", "ops"},
    "optim": {"backend", "autodiff"},
    "models": GROUND | {"optim", "data"},
    "data": {"backend", "atomic", "streams"},
    "plots": {"backend", "atomic"},
    "inspect": GROUND | {"testing", "atomic"},
    "testing": GROUND | {"optim", "models", "data", "training", "atomic"},
    "training": GROUND | {"optim", "models", "data", "plots", "atomic", "streams"},
    "sklearn": GROUND | {"optim", "models", "data", "training"},
    "cli": GROUND
    | {"optim", "models", "data", "plots", "training", "inspect", "testing", "atomic", "startup", "streams"},
    "__main__": {"cli"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def imported(file: Path, also_for_types: bool = False) -> frozenset[str]:
    """Every tinyae module that a file imports anywhere in it, in a function too; those for annotations only if asked."""
    tree = parsed(file)
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not also_for_types
        for inner in ast.walk(node)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    known = {module_name(f) for f in FILES}
    found = set()
    for name in names:
        while name and name not in known:
            name = name.rpartition(".")[0]
        if name.startswith("tinyae"):
            found.add(name)
    return frozenset(found - {module_name(file)})


def test_imports_go_one_way() -> None:
    for file in FILES:
        room = module_name(file).split(".")[1] if file.parent != PACKAGE or file.stem != "__init__" else None
        if room is None:
            continue
        for name in imported(file):
            target = name.split(".")[1] if "." in name else "tinyae"
            shared = {room, "checks", "notebook"}
            assert target in shared | STREET[room], f"{file} ({room}) imports {name}: not on its street"


def import_graph() -> dict[str, frozenset[str]]:
    """Who imports whom, among all files: packages too, and imports in functions and for annotations.

    `tinyae` itself names its rooms for editors, and loads most of them when they are first used.
    """
    return {module_name(file): imported(file, also_for_types=module_name(file) != "tinyae") for file in FILES}


def test_no_import_circles() -> None:
    """Between no files of any level: nobody imports the package he is in, which gathers him, nor one who imports him."""
    tuple(TopologicalSorter(import_graph()).static_order())  # raises CycleError with the circle


@pytest.mark.parametrize(("file", "other"), [
    ("tinyae.nn.module", "tinyae.nn"),
    ("tinyae.nn.module", "tinyae.nn.layers"),
    ("tinyae.ops.linear", "tinyae.ops.convolution"),
    ("tinyae.testing.laws", "tinyae.testing"),
    ("tinyae.autodiff.tape", "tinyae.autodiff.reverse"),
])  # fmt: skip
def test_a_circle_would_be_noticed(file: str, other: str) -> None:
    graph = import_graph()
    graph[file] |= {other}
    with pytest.raises(CycleError):
        tuple(TopologicalSorter(graph).static_order())


def lines_of(file: Path) -> int:
    return file.read_text(encoding="utf-8").count("\n")


def test_a_chapter_is_read_in_one_sitting_and_says_what_it_is_for() -> None:
    for file in FILES:
        most = HOUSE["chapters"].get(file.relative_to(PACKAGE).as_posix(), HOUSE["chapters"]["usual"])
        assert lines_of(file) <= most, (
            f"{file} has {lines_of(file)} lines, at most {most}: divide it, or raise tests/house.toml"
        )
        assert ast.get_docstring(parsed(file)), f"{file} has no module docstring"


def lines_by_room() -> dict[str, int]:
    rooms: dict[str, int] = {}
    for file in FILES:
        room = file.relative_to(PACKAGE).parts[0] if file.parent != PACKAGE else "root"
        rooms[room] = rooms.get(room, 0) + lines_of(file)
    return rooms


@pytest.mark.parametrize("room", lines_by_room())
def test_a_room_keeps_to_its_budget(room: str) -> None:
    assert room in HOUSE["rooms"], f"the room {room} has no budget: add it to tests/house.toml"
    lines, budget = lines_by_room()[room], HOUSE["rooms"][room]
    assert lines <= budget, (
        f"{room} has {lines} lines, its budget is {budget}: make it smaller, or raise tests/house.toml"
    )


LOWER = ("backend", "autodiff", "ops", "losses", "nn", "optim")
ADVICE = {"tinyae.data.pad"}  # what an error of a lower room tells the user to type


def test_no_lower_room_names_an_upper_one() -> None:
    """Not in a string or comment either: who reads the engine need not know who stands on it."""
    upper = "|".join(sorted(STREET.keys() - {*LOWER, "checks", "notebook", "__main__"}))
    for file in FILES:
        if file.parent.name in LOWER:
            named = set(re.findall(rf"\btinyae[./](?:{upper})\b[\w.]*", file.read_text(encoding="utf-8")))
            assert named <= ADVICE, f"{file} names {sorted(named - ADVICE)}"


@cache
def modules() -> dict[str, ModuleType]:
    """The modules of the package by name, but the one that runs, and one for a library that is not here."""
    names = [
        module_name(file)
        for file in FILES
        if file.stem != "__main__" and (file.stem != "sklearn" or find_spec("sklearn"))
    ]
    return {name: import_module(name) for name in names}


def test_no_module_hides_behind_a_name() -> None:
    """`import tinyae.ops.linear as m` gives the module: no package exports a function under the name of its file."""
    for name, module in modules().items():
        package, _, leaf = name.rpartition(".")
        found = getattr(modules()[package], leaf, module) if package else module
        assert found is module, f"{name} is hidden by {found!r}"


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("model", HOUSE["tour"])
def test_the_tour_of_a_training_step_is_short(model: str, start: str) -> None:
    tour, agreed = tour_of(model, start), HOUSE["tour"][model][start]
    assert len(tour.files) <= agreed["files"], f"{model} from {start}: {tour}"
    assert tour.lines() <= agreed["lines"], f"{model} from {start}: {tour}"


def test_the_tour_sees_what_is_entered() -> None:
    x, results = Tensor([1.0], requires_grad=True), []
    tour = toured(("forward", lambda: results.append(ops.tanh(x))), ("backward", lambda: results[0].backward()))
    files = tour.files
    assert list(files) == ["autodiff/tape.py", "ops/elementwise.py", "backend/devices.py", "autodiff/reverse.py"]
    assert [(entry.step, entry.name) for entry in files["ops/elementwise.py"]] == [
        ("forward", "tanh"),
        ("backward", "tanh.vjp(0)"),
    ]
    assert tour.lines("ops/elementwise.py") == 4 + 3
    assert all(f"tinyae/{file}:" in tour.calls() for file in files)


def test_public_definitions_are_documented() -> None:
    for file in FILES:
        for node in parsed(file).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                if isinstance(node, ast.FunctionDef) and any("overload" in ast.unparse(d) for d in node.decorator_list):
                    continue
                assert ast.get_docstring(node), f"{file}:{node.lineno} {node.name} has no docstring"


# Hooks and knobs. What breaks these rules today is named in `house.toml`, and leaves the list when it leaves the house.


@cache
def classes() -> list[type]:
    """Every class that the package defines at the top of a file."""
    found = [(module, value) for module in modules().values() for value in vars(module).values()]
    return [value for module, value in found if isinstance(value, type) and value.__module__ == module.__name__]


def members(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith(("__", "_abc_"))}


def test_a_base_class_does_not_know_its_only_child() -> None:
    """A hook enters a base class with its second overrider: no member of a class that has three kinds, or more, is
    overridden by one of them alone. A `Backend` is meant to be: its body is the reference of a device's kernel.
    """
    found = set()
    for base in classes():
        kinds = [kind for kind in classes() if base in kind.__mro__[1:]]
        roots = [parent for parent in base.__bases__ if parent in classes()]
        if len(kinds) < 3 or base is Backend or roots not in ([], [Module]):
            continue
        for member in members(base):
            if sum(member in members(kind) for kind in kinds) == 1:
                found.add(f"{base.__name__}.{member}")
    assert found == set(HOUSE["exceptions"]["hooks"]), "the list in tests/house.toml is of what is left, by name"


def test_nobody_asks_what_kind_of_model_it_is() -> None:
    """Commands and training call methods that every model has; the table of pictures is by kind, as its comment says."""
    kinds = {kind.__name__ for kind in classes() if Autoencoder in kind.__mro__[1:]}
    found = set()
    for file in [file for file in FILES if file.relative_to(PACKAGE).parts[0] in ("cli", "training")]:
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
                found |= kinds & set(re.findall(r"\w+", ast.unparse(node.args[1])))
    assert found == set(HOUSE["exceptions"]["kinds"])


def own_defaults(function: FunctionType) -> set[str]:
    """The parameters with a default that stand in the definition itself, and not those it passes on."""
    code, defaults = function.__code__, function.__defaults__ or ()
    positional = code.co_varnames[: code.co_argcount]
    return {*positional[len(positional) - len(defaults) :], *(function.__kwdefaults__ or {})}


@pytest.mark.parametrize("name", MODELS)
def test_a_knob_is_declared_once(name: str) -> None:
    """No default stands in the signature of a builder and in that of the class that it builds."""
    builder = inspect.unwrap(MODELS[name].builder)
    made = typing.get_type_hints(builder)["return"]
    here, there = own_defaults(builder), own_defaults(inspect.unwrap(made.__init__))
    twice = (here & there) - {"sample", "generator"}  # what every builder is given
    assert not twice, f"{builder.__name__} and {made.__name__} both say"


# Words. DESIGN's glossary as far as a search can hold it: phrases in any text, names of what is defined, and messages.

PHRASES = HOUSE["words"]["phrases"]
TEXTS = [*FILES, *(file for place in ("docs/*.md", "*.md", "examples/*.*") for file in ROOT.glob(place))]


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_phrase_that_has_a_better_one_is_not_used(phrase: str) -> None:
    pattern = re.compile(rf"\b{phrase.replace(' ', chr(92) + 's+')}\b", re.I)
    found = [file for file in TEXTS if file.name != "CHANGELOG.md" and pattern.search(file.read_text(encoding="utf-8"))]
    left = HOUSE["exceptions"]["phrases"].get(phrase, [])
    assert not [file for file in found if file.relative_to(ROOT).as_posix() not in left], f"write {PHRASES[phrase]!r}"


def test_names_are_the_fields() -> None:
    """Of functions, classes, parameters, attributes: none that the glossary replaced."""
    found: dict[str, set[str]] = {}
    for file in FILES:
        for node in ast.walk(parsed(file)):
            for key in ("id", "attr", "name", "arg"):
                name = getattr(node, key, None)
                if isinstance(name, str) and name in HOUSE["words"]["names"]:
                    found.setdefault(name, set()).add(file.relative_to(PACKAGE).as_posix())
    left = found.keys() - set(HOUSE["exceptions"]["names"])
    assert not left, {name: (HOUSE["words"]["names"][name], sorted(found[name])) for name in left}


def test_messages_say_is_not() -> None:
    """ "x is not a y", where "x is no y" is another language's."""
    for file in FILES:
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.Raise) and node.exc is not None:
                words = [part.value for part in ast.walk(node.exc) if isinstance(part, ast.Constant)]
                assert not [
                    w for w in words if isinstance(w, str) and re.search(r"(?<!there )\b(is|are) no (?!more)", w)
                ], file


def test_only_the_backend_knows_cupy() -> None:
    for file in FILES:
        if file.parent.name != "backend":
            assert not re.search(r"^\s*(import|from) cupy", file.read_text(encoding="utf-8"), re.M), file


def test_integers_have_the_same_size_on_every_platform() -> None:
    """Where the platform's own integers have 32 bits, `astype(int)` cuts off times and bincount refuses int64."""
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"astype\(int\)|dtype=int\b|np\.int_\b", text), file
        assert not re.search(r"bincount\((?!.*intp)", text), f"{file}: write np.bincount(x.astype(np.intp), ...)"


def primitives() -> dict[str, Primitive]:
    """Every primitive defined in the package, by name."""
    rooms = ("tinyae.autodiff", "tinyae.ops", "tinyae.losses")
    found = [vars(module).values() for name, module in modules().items() if name.startswith(rooms)]
    return {value.name: value for values in found for value in values if isinstance(value, Primitive)}


def test_every_primitive_has_a_docstring_and_rules() -> None:
    for name, primitive in primitives().items():
        assert primitive.__doc__, name
        has_rule = primitive.vjps or primitive.vjp_each or primitive.vjp_all
        assert bool(has_rule) == primitive.differentiable, f"{name}: rules and `differentiable` disagree"
        if primitive.vjp_all:
            assert primitive.composed is not None
            assert primitive.composed.__doc__, f"{name} lacks a documented twin"


def test_rules_use_no_numpy() -> None:
    """A rule must run on Tensors as well: only operators and tinyae ops (fused first-order rules run on raw arrays)."""
    for file in FILES:
        if file.parent.name not in ("ops", "losses"):
            continue
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.FunctionDef) and any(".vjp(" in ast.unparse(d) for d in node.decorator_list):
                body = ast.unparse(ast.Module(node.body, []))
                for forbidden in ("np.", ".data", "backend_of"):
                    assert forbidden not in body, f"{file}:{node.lineno} uses {forbidden}"


def test_operator_table_and_type_declarations_agree() -> None:
    tree = ast.parse((PACKAGE / "autodiff" / "tape.py").read_text(encoding="utf-8"))
    declared = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for item in node.body:
                if isinstance(item, ast.FunctionDef):
                    declared.add(item.name)
                elif isinstance(item, (ast.Assign, ast.AnnAssign)):
                    declared |= {ast.unparse(t) for t in getattr(item, "targets", [getattr(item, "target", None)]) if t}
    assert declared == OPERATORS.keys() | {"backward"}
    assert all(hasattr(Tensor, name) for name in declared)


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_import_is_light() -> None:
    heavy = ("cupy", "matplotlib", "scipy", "tqdm", "safetensors", "pooch", "torch", "sklearn", "hypothesis")
    out = run_python(f"import sys, tinyae; print([m for m in {heavy!r} if m in sys.modules])")
    assert out.strip() == "[]"


def test_import_adds_few_modules_to_numpys() -> None:
    """Import time as a number that does not depend on the machine: what tinyae loads beyond NumPy and itself."""
    code = (
        "import sys, numpy; before = set(sys.modules); import tinyae; "
        "print(sorted(m for m in set(sys.modules) - before if not m.startswith('tinyae')))"
    )
    extra = ast.literal_eval(run_python(code))
    assert len(extra) <= 12, f"import tinyae loads {extra}: import them where they are used"
