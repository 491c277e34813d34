"""The house rules, enforced: one-way imports, no circles, budgets, the tour, documented primitives, a light import.

The numbers stand in `house.toml`, where a commit may change them and says why.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import tinyae
from tests.tour import STARTS, tour_of, toured
from tinyae import ops
from tinyae.autodiff import Primitive, Tensor
from tinyae.ops import OPERATORS

PACKAGE = Path(tinyae.__file__).parent
HOUSE = tomllib.loads((Path(__file__).parent / "house.toml").read_text(encoding="utf-8"))

# Which rooms each room may import, beside `checks`, which all share. What stands here is the whole street; there is no
# other way through the house.
GROUND = {"backend", "autodiff", "ops", "losses", "nn"}
STREET: dict[str, set[str]] = {
    "atomic": set(),
    "checks": set(),
    "backend": set(),
    "autodiff": {"backend"},
    "ops": {"backend", "autodiff"},
    "losses": {"backend", "autodiff", "ops"},
    "nn": {"backend", "autodiff", "ops"},
    "optim": {"backend", "autodiff"},
    "models": GROUND | {"optim"},
    "data": {"backend", "atomic"},
    "plots": {"backend", "atomic"},
    "inspect": {"backend", "autodiff"},
    "testing": GROUND | {"optim", "models", "training", "atomic"},
    "training": GROUND | {"optim", "models", "data", "plots", "atomic"},
    "cli": GROUND | {"optim", "models", "data", "plots", "training", "inspect", "testing", "atomic"},
    "__main__": {"cli"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imported(file: Path, also_for_types: bool = False) -> frozenset[str]:
    """Every tinyae module that a file imports anywhere in it, in a function too; those for annotations only if asked."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
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


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_go_one_way(file: Path) -> None:
    room = module_name(file).split(".")[1] if file.parent != PACKAGE or file.stem != "__init__" else None
    if room is None:
        return
    for name in imported(file):
        target = name.split(".")[1] if "." in name else "tinyae"
        assert target in {room, "checks"} | STREET[room], f"{file} ({room}) imports {name}: not on its street"


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


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_a_chapter_is_read_in_one_sitting_and_says_what_it_is_for(file: Path) -> None:
    most = HOUSE["chapters"].get(file.relative_to(PACKAGE).as_posix(), HOUSE["chapters"]["usual"])
    assert lines_of(file) <= most, (
        f"{file} has {lines_of(file)} lines, at most {most}: divide it, or raise tests/house.toml"
    )
    assert ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))), f"{file} has no module docstring"


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


def test_no_module_hides_behind_a_name() -> None:
    """`import tinyae.ops.linear as m` gives the module: no package exports a function under the name of its file."""
    for file in FILES:
        package, _, leaf = module_name(file).rpartition(".")
        if package and leaf != "__main__":
            found = getattr(import_module(package), leaf, import_module(module_name(file)))
            assert found is import_module(module_name(file)), f"{module_name(file)} is hidden by {found!r}"


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


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_public_definitions_are_documented(file: Path) -> None:
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            if isinstance(node, ast.FunctionDef) and any("overload" in ast.unparse(d) for d in node.decorator_list):
                continue
            assert ast.get_docstring(node), f"{file}:{node.lineno} {node.name} has no docstring"


def test_only_the_backend_knows_cupy() -> None:
    for file in FILES:
        if file.parent.name != "backend":
            assert not re.search(r"^\s*(import|from) cupy", file.read_text(encoding="utf-8"), re.M), file


def primitives() -> dict[str, Primitive]:
    """Every primitive defined in the package, by name."""
    found = {}
    for file in FILES:
        if file.parent.name in ("autodiff", "ops", "losses"):
            for value in vars(import_module(module_name(file))).values():
                if isinstance(value, Primitive):
                    found[value.name] = value
    return found


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
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
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
                elif isinstance(item, ast.AnnAssign):
                    declared.add(ast.unparse(item.target))
    assert declared == OPERATORS.keys() | {"backward"}
    assert all(hasattr(Tensor, name) for name in declared)


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_import_is_light() -> None:
    heavy = ("cupy", "matplotlib", "scipy", "tqdm", "safetensors", "pooch", "torch", "hypothesis")
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


def test_every_model_has_options_on_the_command_line() -> None:
    from tinyae.cli.train import MODEL_OPTIONS
    from tinyae.models import MODELS

    assert MODEL_OPTIONS.keys() == MODELS.keys()
