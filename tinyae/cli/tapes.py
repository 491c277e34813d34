"""One training step, looked at: `show` prints its tape, `step` makes a page that steps through its backward pass."""

from __future__ import annotations

import shlex
import webbrowser
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from tinyae import inspect
from tinyae.checks import shown
from tinyae.cli.options import arguments_from, open_run, pictures_as
from tinyae.data import Dataset, load
from tinyae.models import MODELS, Autoencoder, build
from tinyae.models.settings import passes_on

FORMATS = ("table", "dot", "mermaid")
"""Output formats of the tape."""


@passes_on(pictures_as)
def show(
    model: Annotated[str, MODELS],
    *,
    data: str | None = None,
    batch_size: int = 8,
    seed: int = 0,
    format: Annotated[str, FORMATS] = "table",
    **pictures: Any,
) -> None:
    """print the tape of one training step

    Build a model, run one batch forward and backward, and print every node of the tape with its shapes and norms.

    Args:
        model: the model.
        data: NAME|FILE|DIR, as in `tinyae train`; by default the model's default data.
        batch_size: N, samples in the batch.
        seed: for the weights.
        format: a table, or the graph in a format that other programs can draw.
    """
    built, samples = fresh_model(model, data, seed, **pictures)
    batch = built.batch(samples.train.rows(slice(0, batch_size)))
    loss = built.loss(batch.tensors())
    graph = inspect.graph(loss.total, names=dict(built.named_parameters()))
    if format == "table":
        print(built.summary(batch.x.shape[1:]))
        print(f"\nThe tape of one batch of {len(batch.x)} {built.sample_name}s, loss in {loss.unit}:\n")
        print(graph)
        source = f" --data {data}" if data else ""
        print(f"\nWhere does each number of a gradient come from?  tinyae step {model}{source} --open")
    else:
        print(graph.to_dot() if format == "dot" else graph.to_mermaid())


def fresh_model(name: str, data: str | None, seed: int, **pictures: Any) -> tuple[Autoencoder, Dataset]:
    """A new model for `data`, or for its default data, and the data; of a stack the layer that is trained first, on the data."""
    entry, samples = MODELS[name], load(data or MODELS[name].data, **pictures_as(**pictures))
    built: Any = build(name, arguments_from(samples, entry), np.random.default_rng(seed))
    return built.layers[0] if entry.labeled else built, samples


@passes_on(pictures_as)
def step(
    target: str,
    *,
    data: str | None = None,
    index: int = 0,
    batch_size: int = 2,
    seed: int = 0,
    element: str = "auto",
    unfused: bool = False,
    open: bool = False,
    out: Path = Path("step.html"),
    **pictures: Any,
) -> None:
    """step through the backward pass of one training step, in a browser

    Build a model, or take a trained one, run a small batch forward and backward in float64, and write a page that shows every
    number of every gradient as a sum of products: what arrives times the local slope.

    Args:
        target: MODEL|RUN, a model, or a run folder made by `tinyae train`.
        data: NAME|FILE|DIR, as in `tinyae train`; by default the model's default data, or the run's own.
        index: I, the first sample of the batch, from the training split.
        batch_size: N, samples in the batch.
        seed: for the weights of a new model, and for noise.
        element: auto|first|I,J,..., which element of each node to show besides the one with the largest gradient.
        unfused: show the inside of fused operations: a product, a sum and an activation for dense, and each time step of an LSTM.
        open: open the page in a browser.
        out: FILE.html, the page.
    """
    chosen, of_layer = _element(element), ""
    if target in MODELS:
        model, samples = fresh_model(target, data, seed, **pictures)
        of_layer = ", layer 1," if MODELS[target].labeled else ""
    elif Path(target).is_dir():
        _, model, samples = open_run(Path(target), data=data, **pictures)
    else:
        raise ValueError(
            f"there is no model and no run folder {target}: choose a run folder, or one of {', '.join(MODELS)}."
        )
    if index >= len(samples.train):
        raise ValueError(
            f"--index is at most {len(samples.train) - 1} for the training split of {samples.name}, got {index}."
        )
    batch = model.batch(samples.train.rows(slice(index, index + batch_size)))
    given = {"--data": data, "--index": index or None, "--batch-size": batch_size if batch_size != 2 else None,
             "--seed": seed or None, "--element": element if element != "auto" else None}  # fmt: skip
    options = [word for name, value in given.items() if value is not None for word in (name, str(value))]
    page = inspect.step(
        lambda: model.train().loss(batch.tensors(), generator=np.random.default_rng(seed)),
        model,
        element=chosen,
        unfused=unfused,
        title=f"{target}{of_layer} on {samples.name}: one training step, backward",
        command=shlex.join(["tinyae", "step", target, *options, *(["--unfused"] if unfused else [])]),
    )
    page.save(out)
    print(f"{out}: {len(page.data['nodes'])} nodes, {page.kib:.0f} KiB; open it in a browser.")
    for remark in page.data["remarks"]:
        print(f"remark: {remark}")
    if open:
        webbrowser.open(out.resolve().as_uri())


def _element(text: str) -> str | tuple[int, ...]:
    """The option --element: "auto", "first" or an index."""
    if text in ("auto", "first"):
        return text
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--element is auto, first or an index such as 3,27, got {shown(text)}.") from None
