"""`tinyae neighbors RUN`: for each test sample, the training samples with the closest codes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tinyae.cli.options import open_run, training_part
from tinyae.models import nearest, same_class_share
from tinyae.models.settings import passes_on
from tinyae.training.pictures import draw_neighbors

_MEASURED = 1000
"""Test samples used as queries; a search in 784 dimensions is slow."""

_LISTED = 10
"""Test samples whose neighbors are listed if they cannot be drawn."""


@passes_on(open_run)
def neighbors(run_folder: Path, *, count: int = 8, out: Path | None = None, **source: Any) -> None:
    """find the training samples whose codes are closest to those of test samples

    For each test sample, find the training samples whose codes are nearest in Euclidean distance. With labels, prints the
    fraction of neighbors with the same class, for codes and for raw inputs.

    Args:
        count: N, neighbors of each test sample.
        out: FILE.png, picture, .png, .svg or .pdf; by default RUN/neighbors.png.
    """
    run, model, data = open_run(run_folder, **source)
    data = replace(data, train=training_part(run, data))
    queries = data.test.rows(slice(0, _MEASURED))
    codes, asked = (model.encode(model.batch(split)).reshape(len(split), -1) for split in (data.train, queries))
    indices, _ = nearest(codes, asked, count)
    if data.train.y is not None and queries.y is not None:
        by_value, _ = nearest(data.train.flat, queries.flat, count)
        sizes = codes.shape[1], data.train.flat.shape[1]
        for words, size, found in (("codes", sizes[0], indices), ("raw inputs", sizes[1], by_value)):
            share = same_class_share(data.train.y, queries.y, found)
            print(f"nearest {count} by {words} ({size} dimensions): {share:.1%} have the same class")
    if data.image_shape is None:
        for number, row in enumerate(indices[:_LISTED]):
            print(f"test {model.sample_name} {number}: training {model.sample_name}s {', '.join(map(str, row))}")
        print(f"no picture: {data.name} has no images")
        return
    path = out or run.path / "neighbors.png"
    print(f"picture: {draw_neighbors(model, data, indices, path)}")
