"""What a type checker tells the author of a script: what every operation gives, and which calls are mistakes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import tinyae

PACKAGE = Path(tinyae.__file__).parent

SCRIPT = """
import numpy as np
import tinyae as ta
from tinyae import losses, nn, ops
from tinyae.autodiff import Tensor, primitive

a = np.ones((3, 2), np.float32)
x = ta.Tensor(a, requires_grad=True)
w = ta.Tensor(np.ones((2, 4)), requires_grad=True)
b = ta.Tensor(np.zeros(4), requires_grad=True)

reveal_type(ops.tanh(x))  # Tensor
reveal_type(ops.tanh(a))  # array
reveal_type(ops.sum(ops.tanh(x), axis=0, keepdims=True))  # Tensor
reveal_type(ops.add(a, x))  # Tensor
reveal_type(ops.add(a, a))  # array
reveal_type(ops.dense(a, w, b, activation="tanh"))  # Tensor
reveal_type(ops.dense(a, a, a))  # array
reveal_type(ops.concatenate(x, x, axis=1))  # Tensor
reveal_type(ops.concatenate(x, x, x, x))  # Tensor
reveal_type(ops.concatenate([x, x], 1))  # Tensor
reveal_type(ops.stack((a, a), axis=1))  # array
reveal_type(ops.sum(x, 0))  # Tensor
reveal_type(ops.sum(a, (0, 1), keepdims=True))  # array
reveal_type(ops.clip(x, 0, 1.0))  # Tensor
reveal_type(ops.where(a > 0, 0.0, x))  # Tensor
reveal_type(ops.flatten(a))  # array
reveal_type(ops.flatten(x))  # Tensor
reveal_type(ops.norm(x, axis=1))  # Tensor
reveal_type(ops.split(x, lengths=(1, 2)))  # list[Tensor]
reveal_type((2.0 * x + a) @ w - b)  # Tensor
reveal_type(a * x)  # Tensor
reveal_type((x > 0)[1:].sum(axis=0).reshape(1, -1).T)  # Tensor
reveal_type(x.data)  # array
reveal_type(x.numpy())  # array
reveal_type(x.item())  # float
reveal_type(f"{x.sum():.2f}")  # str
reveal_type(x.shape)  # tuple[int, ...]
reveal_type(x.grad)  # Tensor | None
reveal_type(losses.squared_error(x, a, reduction="mean"))  # Tensor
reveal_type(losses.bce(x, a))  # Tensor
reveal_type(losses.half_squared_error(a, a))  # array
reveal_type(ta.grad(x.sum(), x))  # Tensor
reveal_type(ta.grad(x.sum(), [x, w], allow_unused=True))  # list[Tensor]
reveal_type(ta.gradcheck(ops.tanh, [a]).passed)  # bool
reveal_type(nn.Dense(2, 4, activation="relu")(x))  # Tensor
reveal_type(nn.Dense(2, 4)(a))  # Tensor


class Twice(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, float]:
        return x + x, 2.0


reveal_type(Twice()(x)[1])  # float


@primitive(elementwise=True)
def cube(x: np.ndarray, *, scale: float = 1.0) -> np.ndarray:
    return x**3 * scale


reveal_type(cube(x, scale=2.0))  # Tensor
reveal_type(cube(x, 2.0))  # Tensor

with ta.no_grad():
    y = ops.tanh(x)
y.sum().backward()

ops.tanh("x")  # error: No overload variant
ops.sum(x, axsi=0)  # error: axsi
ops.sum(x, axis="all")  # error: No overload variant
ops.sum(x, 0, axsi=0)  # error: axsi
ops.dense(x, w)  # error: No overload variant
ops.dense(a, w, b, activatoin="relu")  # error: activatoin
ops.tanh(x).sigmoid()  # error: no attribute
x + "1"  # error: Unsupported operand types
losses.bce(x, a, epsilon=1e-3)  # error: epsilon
x.item().shape  # error: no attribute
cube(x, factor=2.0)  # error: factor
ta.grad(x.sum(), x, create_graph="yes")  # error: No overload variant
"""
LONG = {"Tensor": "tinyae.autodiff.tape.Tensor", "array": "numpy.ndarray[tuple[Any, ...], numpy.dtype[Any]]"}


def test_a_users_script_is_checked_past_the_first_operation(tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api")
    file = tmp_path / "script.py"
    file.write_text(SCRIPT)
    cache = Path(__file__).parent.parent / ".mypy_cache" / "script"
    only_the_script = ["--follow-imports=silent", "--no-error-summary"]  # as of an installed package
    out, problems, _ = api.run(["--strict", *only_the_script, "--cache-dir", str(cache), str(file)])
    assert not problems
    said: dict[int, str] = {}
    for line in out.splitlines():
        number, text = re.fullmatch(r".*script\.py:(\d+): (.*)", line).groups()  # type: ignore[union-attr]
        said[int(number)] = said.get(int(number), "") + text + "\n"
    for number, line in enumerate(SCRIPT.splitlines(), 1):
        code, _, expected = line.partition("  # ")
        if code.startswith("reveal_type"):
            for short, full in LONG.items():
                expected = re.sub(rf"\b{short}\b", full, expected)
            assert said.pop(number, None) == f'note: Revealed type is "{expected}"\n', code
        elif expected:
            assert re.search(rf"error: .*{expected.removeprefix('error: ')}", said.pop(number, "")), code
    assert not said


@pytest.mark.parametrize("file", [*PACKAGE.glob("ops/*.py"), *PACKAGE.glob("losses/*.py")], ids=lambda f: f.name)
def test_only_rules_go_without_types(file: Path) -> None:
    """mypy lets every function of `ops` and `losses` go without, for the sake of the rules, which are called `_`."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name != "_":
            untyped = [a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg) and not a.annotation]
            assert node.returns is not None, f"{file}:{node.lineno} {node.name}"
            assert untyped in ([], ["self"]), f"{file}:{node.lineno} {node.name}: {untyped}"
