"""Laws of state: modes, files and devices change where and how a module computes, not what."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tinyae.autodiff import Tensor, no_grad
from tinyae.backend import Backend
from tinyae.nn import Module
from tinyae.testing.laws.law import law
from tinyae.testing.laws.point import Point, close

Call = Callable[..., Any] | None


@law("modes", "train and eval differ where declared, and only there")
def assert_modes_agree(module: Module, *inputs: Any, call: Call = None, differ: bool = False) -> None:
    """f_train(x) = f_eval(x), and a call changes no buffer; with `differ` the opposite: a declaration that is not true is
    as wrong as a difference that nobody declared. In evaluation mode two calls give equal bits, always.

    Args:
        module: of any dtype; a copy is called, in that dtype.
        inputs: arrays.
        call: from (module, *inputs) to one Tensor, where that is not `module(*inputs)`.
        differ: whether the module is meant to behave differently in training (dropout, noise, batch statistics).
    """
    twin = copy.deepcopy(module)
    given = _in_its_dtype(twin, inputs)
    before = twin.state_dict()
    evaluated = _called(twin.eval(), given, call)
    again = _called(twin, given, call)
    assert np.array_equal(evaluated, again, equal_nan=True), "two calls in evaluation mode give different results."
    moved = _moved(before, twin)
    assert not moved, f"a call in evaluation mode changes {', '.join(moved)}."
    trained = _called(twin.train(), given, call)
    moved = _moved(before, twin)
    same = trained.shape == evaluated.shape and np.allclose(trained, evaluated, rtol=1e-5, atol=1e-7)
    if differ:
        assert moved or not same, "it is declared to differ, but both modes give the same and no buffer changes."
        return
    assert same, (
        "the two modes give different results; where that is meant, declare it (differ=True, modes_differ=True)."
    )
    assert not moved, f"a call in training mode changes {', '.join(moved)}; where that is meant, declare it."


@law("save and load", "load(save(f)) = f")
def assert_save_load(module: Module, *inputs: Any, call: Call = None) -> None:
    """load(save(f)) = f, to the bit: all that training changes is in `state_dict()`, and comes back from a file.

    A copy is used (called in training mode, parameters moved), and its state is loaded into one that was not: by
    `load_state_dict`, and by `tinyae.save` and `tinyae.load` through a file. What a layer keeps elsewhere, in an
    attribute that is neither Parameter nor Tensor, is missing there. Arguments as for `assert_modes_agree`.
    """
    from tinyae.training import load, save

    used, fresh, filed = (copy.deepcopy(module) for _ in range(3))
    given = _in_its_dtype(module, inputs)
    rng = np.random.default_rng(0)
    for parameter in used.parameters():
        parameter.data = (parameter.data + 0.1 * rng.normal(size=parameter.shape)).astype(parameter.dtype)
    _called(used.train(), given, call)
    _called(used, given, call)
    state = used.state_dict()
    expected = _called(used.eval(), given, call)
    fresh.load_state_dict(state)
    with tempfile.TemporaryDirectory() as folder:
        load(save(used, Path(folder) / "module.safetensors"), filed)
    for way, other in (("load_state_dict(state_dict())", fresh), ("a file", filed)):
        moved = _moved(state, other)
        assert not moved, f"{', '.join(moved)} came back otherwise from {way}."
        assert np.array_equal(_called(other.eval(), given, call), expected, equal_nan=True), (
            f"after {way} it computes something else: part of its state is neither Parameter nor Tensor."
        )


@law("device agreement", "f on the device = f on the CPU")
def assert_device_agreement(fn: Any, *inputs: Any, backend: Backend, call: Call = None, rtol: float = 1e-9) -> None:
    """f on the device = f on the CPU, values and gradients, in float64; a function that cannot run there breaks the law.

    Args:
        fn: a Module (a copy is moved) or a function of Tensors; deterministic, since each device draws numbers of its own.
        inputs: arrays on the CPU.
        backend: the other device, such as `strict_device()` or `backend_named("gpu")`.
        call: as above.
        rtol: allowed difference, relative to the largest element.
    """
    here = Point(fn, inputs, call)
    weights = here.cotangent(np.random.default_rng(0))
    expected, gradients = here.value(), here.gradients(weights)
    other = copy.deepcopy(fn).to(backend.name) if isinstance(fn, Module) else fn
    try:
        there = Point(other, inputs, call, backend)
        found, others = there.value(), there.gradients(weights)
    except Exception as error:  # whatever a device says to host code: that is the finding
        raise AssertionError(f"on {backend.name} it raises {type(error).__name__}: {error}") from error
    close(found, expected, f"the result on {backend.name}", rtol=rtol)
    for i, g, h in zip(here.moving, others, gradients, strict=True):
        close(g, h, f"the gradient for {here.names[i]} on {backend.name}", weights, rtol)


def _in_its_dtype(module: Module, inputs: Any) -> list[Any]:
    """Host copies of the inputs, floating-point ones in the dtype of the module's parameters."""
    dtype = next((p.dtype for p in module.parameters()), None)
    arrays = [x.numpy() if isinstance(x, Tensor) else np.asarray(x) for x in inputs]
    return [np.array(x, dtype=dtype if x.dtype.kind == "f" else None) for x in arrays]


def _called(module: Module, given: list[Any], call: Call) -> np.ndarray:
    arguments = [np.array(x) for x in given]
    with no_grad():
        out = module(*arguments) if call is None else call(module, *[_wrapped(x) for x in arguments])
    assert isinstance(out, Tensor), f"it returned {type(out).__name__}, not a Tensor."
    return np.array(out.numpy())


def _wrapped(x: np.ndarray) -> Any:
    return Tensor(x) if x.dtype.kind == "f" else x


def _moved(before: dict[str, np.ndarray], module: Module) -> list[str]:
    """Names of what is not in the module's state what it was."""
    now = module.state_dict()
    return [name for name in before if not np.array_equal(before[name], now[name], equal_nan=True)]
