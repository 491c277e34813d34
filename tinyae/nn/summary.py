"""The table that says what a model is made of.

Output shapes are not computed from rules that could disagree with the layers: two samples of zeros are pushed
through and the calls are watched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinyae.autodiff import Tensor, constant, no_grad
from tinyae.backend import CPU, backend_of
from tinyae.nn.modes import evaluating
from tinyae.nn.observe import observe_calls
from tinyae.nn.parameter import Parameter

if TYPE_CHECKING:
    from tinyae.nn.module import Module

_BATCH = 2
_HEADER = ("layer", "type", "output", "parameters")


def summary_table(model: Module, input_shape: int | tuple[int, ...]) -> str:
    """One line per module: name, type, output shape with N for the batch, own parameters; then the totals.

    Args:
        model: any module whose `forward` takes one batch.
        input_shape: the shape of one sample, without N.

    A parameter that modules share is counted in the first line that has it and once in the total.
    """
    sample = (input_shape,) if isinstance(input_shape, int) else tuple(input_shape)
    outputs = observed_outputs(model, sample)
    rows = [_HEADER]
    counted: set[int] = set()
    modules = model.named_modules()
    for name, module in modules:
        own = [part for _, part in module.members() if isinstance(part, Parameter) and id(part) not in counted]
        counted.update(id(part) for part in own)
        if module is model and not own and len(modules) > 1:
            continue
        shape = _shape_text(outputs[id(module)]) if id(module) in outputs else "not called"
        rows.append((name or "(model)", type(module).__name__, shape, f"{sum(p.size for p in own):,}"))
    title = f"{type(model).__name__}, input {_shape_text(sample, lead='N')}"
    return "\n".join([title, *_aligned(rows), _totals(model)])


def observed_outputs(model: Module, sample: tuple[int, ...]) -> dict[int, Any]:
    """What each module returned for a batch of two zeros, as shapes by `id(module)`; the last call counts.

    Runs in evaluation mode without recording. Every module's own training mode is restored, also after an
    error.
    """
    parameters = model.parameters()
    like = parameters[0].data if parameters else np.zeros(0, np.float32)
    backend = backend_of(like) if parameters else CPU
    batch = constant(backend.xp.zeros((_BATCH, *sample), dtype=like.dtype))
    outputs: dict[int, Any] = {}

    def note(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        outputs[id(module)] = _shapes(output)

    with evaluating(model), no_grad(), observe_calls(note):
        model(batch)
    return outputs


def _shapes(output: Any) -> Any:
    """The shapes in an output: a tuple of numbers for a Tensor, a list of such for several."""
    if isinstance(output, Tensor):
        return output.shape
    if isinstance(output, (tuple, list)):
        return [_shapes(part) for part in output]
    return type(output).__name__


def _shape_text(shape: Any, lead: str = "") -> str:
    if isinstance(shape, str):
        return shape
    if isinstance(shape, list):
        return ", ".join(_shape_text(part) for part in shape)
    lengths = [str(n) for n in shape]
    if lead:
        lengths.insert(0, lead)
    elif shape and shape[0] == _BATCH:
        lengths[0] = "N"
    return f"({', '.join(lengths)}{',' if len(lengths) == 1 else ''})"


def _aligned(rows: list[tuple[str, str, str, str]]) -> list[str]:
    """Columns padded to their widest entry; the last one, numbers, to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADER))]
    lines = [f"  {a:<{widths[0]}}  {b:<{widths[1]}}  {c:<{widths[2]}}  {d:>{widths[3]}}" for a, b, c, d in rows]
    rule = "  " + "-" * (sum(widths) + 6)
    return [lines[0], rule, *lines[1:], rule]


def _totals(model: Module) -> str:
    trainable = sum(part.size for part in model.parameters() if part.requires_grad)
    buffers = sum(part.size for _, part in model.named_buffers())
    return f"  {model.parameter_count():,} parameters, {trainable:,} trainable, {buffers:,} numbers in buffers"
