"""tinyae: autoencoders from first principles, on NumPy (CPU) and CuPy (NVIDIA GPU).

    >>> import tinyae as ta
    >>> x = ta.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> loss = (x * x).sum()
    >>> loss.backward()
    >>> x.grad
    Tensor([2., 4., 6.], dtype=float32)

The packages, from the bottom up: `backend`, `autodiff`, `ops`, `losses`, `nn`, `optim`, `data`, `models`, `training`;
and `plots`, `inspect` and `testing`. `import tinyae` loads NumPy and no other large library; the packages that `fit` and
the pictures need are loaded when first used.
"""

# isort: off
from tinyae import startup as _startup  # noqa: F401  # first: from here on Ctrl-C ends the command that is loading

# isort: on
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tinyae import autodiff, backend, losses, nn, ops, optim
from tinyae.autodiff import Tensor, adjoint_pair, grad, no_grad, primitive

if TYPE_CHECKING:
    from tinyae import data, inspect, models, plots, testing, training
    from tinyae.inspect import detect_anomaly, profile
    from tinyae.testing.gradients import gradcheck
    from tinyae.training import History, Run, evaluate, export, fit, load, save

_ROOMS = ("data", "inspect", "models", "plots", "testing", "training")
_LATER = dict.fromkeys(("fit", "evaluate", "export", "save", "load", "History", "Run"), "training")
_LATER |= {"detect_anomaly": "inspect", "profile": "inspect", "gradcheck": "testing"}

__all__ = [
    "History",
    "Run",
    "Tensor",
    "adjoint_pair",
    "autodiff",
    "backend",
    "data",
    "detect_anomaly",
    "evaluate",
    "export",
    "fit",
    "grad",
    "gradcheck",
    "inspect",
    "load",
    "losses",
    "models",
    "nn",
    "no_grad",
    "ops",
    "optim",
    "plots",
    "primitive",
    "profile",
    "save",
    "testing",
    "training",
]


def __getattr__(name: str) -> Any:
    """Load a room, or a name defined in one, on first use."""
    if name in _ROOMS:
        return import_module(f"tinyae.{name}")
    if name in _LATER:
        return getattr(import_module(f"tinyae.{_LATER[name]}"), name)
    raise AttributeError(f"module 'tinyae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
