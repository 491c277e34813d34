"""`tinyae features RUN --layer encoder.0 --image 3`: what a layer makes of an image."""

from __future__ import annotations

import argparse
from typing import Any

from tinyae.cli.options import add_data, add_device, add_picture, add_run, open_run, whole_number
from tinyae.training.pictures import draw_features, image_maps


def register(commands: Any) -> None:
    """Add `features`."""
    parser = commands.add_parser(
        "features",
        help="draw the feature maps of a layer for one image",
        description="Draw what one layer makes of one image: a map for each of its channels. The layers that make maps "
        "are listed.",
    )
    add_run(parser)
    parser.add_argument("--layer", metavar="NAME", help="e.g. encoder.0 (default: the first that makes maps)")
    parser.add_argument("--image", type=whole_number, default=0, metavar="N", help="number of the image (default: 0)")
    parser.add_argument("--split", choices=("train", "test"), default="test", help="(default: test)")
    add_data(parser, None)
    add_picture(parser, "features.png")
    add_device(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """List the layers that make maps, and draw one."""
    run, model, data = open_run(options)
    path = options.out or run.path / "features.png"
    picture = draw_features(model, data, path, options.layer, options.image, options.split)
    maps = image_maps(model, getattr(data, options.split), options.image)
    kinds = dict(model.named_modules())
    for name, value in maps.items():
        print(f"  {name:12} {type(kinds[name]).__name__:16} {' x '.join(map(str, value.shape))}")
    print(f"picture: {picture}")
