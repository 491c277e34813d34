"""An LSTM autoencoder for windows of a known shape: the builder that a name, a run and the command line use."""

from __future__ import annotations

from typing import Any

from tinyae.models.lstm import LSTMAutoencoder, check_mode
from tinyae.models.pair import Shape
from tinyae.models.recipe import remembered


@remembered("lstm")
def lstm_autoencoder(
    input_shape: Shape,
    hidden_size: int = 128,
    code_size: int | None = None,
    *,
    mode: str = "reconstruct",
    future_steps: int | None = None,
    **options: Any,
) -> LSTMAutoencoder:
    """An `LSTMAutoencoder` for windows of a known shape.

    Args:
        input_shape: (T + F, D), steps and numbers in a step.
        hidden_size, code_size, mode, options: as for `LSTMAutoencoder`.
        future_steps: F, how many of the last steps are the future; None is a quarter of them, at least 1, where the mode
            predicts.
    """
    shape = (input_shape,) if isinstance(input_shape, int) else tuple(input_shape)
    if len(shape) != 2:
        raise ValueError(
            f"an LSTM takes sequences (T, D), got samples of shape {shape}: use data of kind sequences or series, "
            "pendigits or nyc-taxi, say."
        )
    steps, features = shape
    if future_steps is None:
        future_steps = 0 if mode == "reconstruct" else max(1, steps // 4)
    mode, future_steps = check_mode(mode, future_steps)
    if future_steps >= steps:
        raise ValueError(
            f"future_steps={future_steps} leaves nothing to see of windows of {steps} steps: make it smaller."
        )
    return LSTMAutoencoder(
        features, hidden_size, code_size, mode=mode, steps=steps - future_steps, future_steps=future_steps, **options
    )
