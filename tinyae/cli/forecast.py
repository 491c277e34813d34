"""`tinyae forecast RUN`: the steps that follow the end of a recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinyae import plots
from tinyae.cli.results import feature_columns, is_results, write_results
from tinyae.training import Run


def forecast(run_folder: Path, *, data: str | None = None, steps: int | None = None, out: Path | None = None) -> None:
    """predict the steps that follow the end of a recording

    Predict what follows the last steps of a recording, in its units, with a model that was trained to predict: lstm with --mode
    predict or composite, on windows. Prints the values, draws them, and writes them with --out.

    Args:
        run_folder: RUN, a run folder made by `tinyae train`.
        data: NAME|FILE, another recording with the same columns; by default the run's own.
        steps: N, how many; by default as many as the model was trained to predict.
        out: FILE, forecast (.csv, .parquet, .npy) or picture (.png, .svg, .pdf); by default a picture RUN/forecast.png.
    """
    written = is_results(out)
    run = Run.open(run_folder)
    recording, window, predicted = run.predicted(data, steps)
    values = {name: column[0] for name, column in feature_columns(recording, predicted).items()}
    count = predicted.shape[1]
    line = recording.timeline
    names = {"step": 1 + np.arange(count)}
    if line is not None:
        names["time"] = np.array([line.stamp(len(recording.test) + n) for n in range(count)])
    print(f"{recording.name}: the {count} steps after its end, seen the last {window.shape[1]}")
    for row in range(min(count, 24)):
        print(
            "  ".join(
                [f"{column[row]!s:>5}" for column in names.values()]
                + [f"{name} {v[row]:.5g}" if v.dtype.kind == "f" else f"{name} {v[row]}" for name, v in values.items()]
            )
        )
    if written and out is not None:
        write_results(out, names, values, recording.measured(predicted[0]))
        print(f"{out}: {count} steps")
        return
    past = {name: column[0] for name, column in feature_columns(recording, window).items() if column.dtype.kind == "f"}
    values = {name: values[name] for name in past}  # words are not drawn
    figure = plots.forecast(past, values, title=f"{recording.name}: the last {window.shape[1]} steps, and a forecast")
    print(f"picture: {plots.save_figure(figure, out or run.path / 'forecast.png')}")
