"""Evaluation mode for the length of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinyae.nn.module import Module


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """`with evaluating(model):` is in evaluation mode; every module gets its own mode back, also after an error."""
    modes = [(module, module.training) for _, module in model.named_modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
