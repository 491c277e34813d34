"""What a trained model gives: codes, reconstructions, feature maps, samples and forecasts, and the model as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np

from tinyae import plots
from tinyae.backend import backend_named
from tinyae.checks import reading
from tinyae.cli.arguments import whole_number
from tinyae.cli.options import SPLITS, chosen_part, open_run
from tinyae.cli.results import feature_columns, flat, is_results, naming, numbered, write_results
from tinyae.data import Split, read_table
from tinyae.models import model_entry
from tinyae.models.settings import passes_on
from tinyae.training import Run, onnx_file
from tinyae.training.applied import tested
from tinyae.training.pictures import class_name, draw_features, draw_reconstructions, image_maps

_CODE = "code"
"""The columns of codes are named code 0, code 1, ..."""


@passes_on(open_run)
def encode(run_folder: Path, *, out: Path, split: Annotated[str, SPLITS] | None = None, **source: Any) -> None:
    """write the codes of a data set

    Write the codes of one part of the run's own data, or of new data, with what names each sample.

    Args:
        out: FILE, output file: .csv or .parquet with id, time and label, .npy with the codes alone, (N, K).
        split: the part of the run's own data; by default test.
    """
    is_results(out, pictures=())
    _, model, data = open_run(run_folder, **source)
    samples, name = chosen_part(data, split)
    codes = model.encode(model.batch(samples))
    write_results(out, naming(data, samples), numbered(_CODE, codes), codes)
    print(f"{out}: codes {codes.shape} {codes.dtype} of {name}")


def decode(run_folder: Path, codes: Path, *, out: Path) -> None:
    """turn codes back into samples

    Decode codes that `tinyae encode` wrote, or others of that form, into samples in the units of the data.

    Args:
        run_folder: RUN, a run folder made by `tinyae train`.
        codes: CODES, a .npy (N, K), or a table with the columns code 0, code 1, ...
        out: FILE, output file: .csv or .parquet with what names each row in a table of codes, .npy with the samples alone.
    """
    is_results(out, pictures=())
    run = Run.open(run_folder)
    names: dict[str, np.ndarray] = {}
    labels = None
    if codes.suffix == ".npy":
        with reading(codes, "an array of codes", "write it with `tinyae encode`"):
            values = np.load(codes, allow_pickle=False)
    else:
        table = read_table(codes)
        numbers = [column for column in table.columns if column.name.startswith(f"{_CODE} ")]
        if not numbers:
            raise ValueError(f"{codes} has no columns {_CODE} 0, {_CODE} 1, ...: it has {', '.join(table.names)}.")
        values = np.column_stack([column.values for column in numbers])
        names = {column.name: np.array(column.words()) for column in table.columns if column not in numbers}
        labels = names.get("label")
    data = run.decoded(values, labels)
    write_results(out, names, flat(feature_columns(data, data.test.x)), data.measured(data.test.x))
    print(f"{out}: {len(data.test):,} samples decoded")


@passes_on(open_run)
def reconstruct(
    run_folder: Path,
    *,
    count: int = 10,
    split: Annotated[str, SPLITS] | None = None,
    out: Path | None = None,
    **source: Any,
) -> None:
    """plot originals and reconstructions, or write the reconstructions

    Plot samples and their reconstructions; or write all reconstructions, in the units of the data.

    Args:
        count: N, samples to draw, one per class first.
        split: the part of the run's own data; by default test.
        out: FILE, picture (.png, .svg, .pdf) or reconstructions (.csv, .parquet, .npy); by default RUN/reconstructions.png.
    """
    written = is_results(out)
    run, model, data = open_run(run_folder, **source)
    samples, name = chosen_part(data, split)
    if not written or out is None:
        path = out or run.path / "reconstructions.png"
        what = None if split is None else f"{split} "
        print(f"picture: {draw_reconstructions(model, data, path, count, samples, what)}")
        return
    made = model.reconstruct(model.batch(samples))
    write_results(out, naming(data, samples), flat(feature_columns(data, made)), data.measured(made))
    print(f"{out}: {len(samples):,} reconstructions of {name}")


@passes_on(open_run)
def features(
    run_folder: Path,
    *,
    layer: str | None = None,
    image: int = 0,
    split: Annotated[str, ("train", "test")] = "test",
    out: Path | None = None,
    **source: Any,
) -> None:
    """draw the feature maps of one layer for one image

    Draw the feature maps of one layer for one image, one per channel, and list all layers with feature maps.

    Args:
        layer: NAME, e.g. encoder.0; by default the first with feature maps.
        image: N, index of the image.
        split: the split it is from.
        out: FILE.png, picture, .png, .svg or .pdf; by default RUN/features.png.
    """
    is_results(out, formats=())
    run, model, data = open_run(run_folder, **source)
    path = out or run.path / "features.png"
    picture = draw_features(model, data, path, layer, image, split)
    maps = image_maps(model, getattr(data, split), image)
    kinds = dict(model.named_modules())
    for name, value in maps.items():
        print(f"  {name:12} {type(kinds[name]).__name__:16} {' x '.join(map(str, value.shape))}")
    print(f"picture: {picture}")


@passes_on(open_run, without=("data", "image_size", "gray", "skip_broken"))
def sample(
    run_folder: Path,
    *,
    count: int = 64,
    pixels: bool = False,
    label: Annotated[int, whole_number] | None = None,
    seed: int = 0,
    out: Path | None = None,
    **source: Any,
) -> None:
    """generate new samples with a vae, cvae or vqvae

    Draw codes and decode them, into a picture or a .npy array. vae and cvae draw codes from the prior N(0, I), vqvae from a
    prior fitted to the training codes.

    Args:
        count: N, number of samples.
        pixels: draw the pixels from p(x|z) instead of showing their mean.
        label: C, for a cvae: the class of all samples; by default each class in turn.
        seed: for the codes.
        out: FILE, picture (.png, .svg, .pdf), or values in the units of a table (.csv, .parquet, .npy); by default
            RUN/samples.png.
    """
    is_results(out)
    folder = Run.open(run_folder)
    kind, arguments = folder.config["model"], folder.config.get("arguments", {})
    conditional = model_entry(kind).conditional
    model = folder.model().to(backend_named(source["device"]).name)
    rng = np.random.default_rng(seed)
    if label is not None and not conditional:
        raise ValueError(f"--label is for a class-conditional model, and this is a {kind}: leave it out.")
    if hasattr(model, "fit_prior"):
        if pixels:
            raise ValueError("--pixels draws from p(x|z), and a VQ-VAE has no p(x|z): leave it out.")
        samples, how = model.fit_prior(folder.data().train.x).sample(count, rng), "codes from a Chow-Liu tree prior"
    elif hasattr(model, "sample"):
        labels = {} if label is None else {"labels": np.full(count, label)}
        samples = model.sample(count, rng, pixels=pixels, **labels)
        how = f"{'draws x ~ p(x|z)' if pixels else 'E[x|z]'} for codes z ~ N(0, I)"
        if conditional:
            how += ", each class in turn" if label is None else f", class {label}"
    else:
        raise ValueError(
            f"{folder.path} holds a model of kind {kind!r}, which has no prior to sample from: "
            "train one with `tinyae train vae`."
        )
    path = out or folder.path / ("samples.png" if samples.ndim == 4 else "samples.npy")
    drawn = tested(folder.config, Split(samples))
    if is_results(path):
        values = samples if drawn.schema is None else drawn.measured(samples)
        write_results(path, {}, flat(feature_columns(drawn, samples)), values)
    elif samples.ndim == 4:
        columns = arguments.get("classes") if label is None else None
        names = None if columns is None else [class_name(drawn, n) for n in range(min(columns, count))]
        title = f"{len(samples)} generated {model.sample_name}s: {how}"
        figure = plots.image_grid(samples, columns=columns, column_names=names, title=title)
        plots.save_figure(figure, path)
    else:
        raise ValueError(
            f"samples of shape {samples.shape[1:]} are not images to draw: give --out a name that ends in .npy, or .csv."
        )
    print(f"{path}: {len(samples)} {model.sample_name}s, seed {seed}; {how}")


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
        when = [f"{column[row]!s:>5}" for column in names.values()]
        what = [f"{name} {v[row]:.5g}" if v.dtype.kind == "f" else f"{name} {v[row]}" for name, v in values.items()]
        print("  ".join([*when, *what]))
    if written and out is not None:
        write_results(out, names, values, recording.measured(predicted[0]))
        print(f"{out}: {count} steps")
        return
    past = {name: column[0] for name, column in feature_columns(recording, window).items() if column.dtype.kind == "f"}
    values = {name: values[name] for name in past}  # words are not drawn
    figure = plots.forecast(past, values, title=f"{recording.name}: the last {window.shape[1]} steps, and a forecast")
    print(f"picture: {plots.save_figure(figure, out or run.path / 'forecast.png')}")


def export(run_folder: Path, *, part: Annotated[str, onnx_file.PARTS] = "model", onnx: Path | None = None) -> None:
    """write a model as an ONNX file

    Write the trained model, or its encoder or decoder, as a file that onnxruntime and other runtimes run without tinyae.

    Args:
        run_folder: RUN, a run folder made by `tinyae train`.
        part: from samples to reconstructions (model), to codes (encoder), or from codes (decoder).
        onnx: FILE, output file; by default RUN/PART.onnx.
    """
    path = onnx_file.export(run_folder, onnx or run_folder / f"{part}.onnx", part)
    print(f"{path}: {path.stat().st_size / 1024:,.0f} KiB")
