"""One picture file, PNG or JPEG, as numbers between 0 (black) and 1 (white).

Pillow decodes; what is settled here is what the numbers mean, whatever the file was made by:

    8 bits      n / 255                    16 bits (grey)   n / 65535, not cut to 8
    palette     the colours it stands for  transparent      laid on white paper
    EXIF        turned upright, as a camera meant it
    grey        L = 0.299 R + 0.587 G + 0.114 B  (ITU-R BT.601), the luma of Pillow's own "L"
    resized     scaled, proportions kept, until the picture covers the frame; what sticks out is cut off evenly

Scaling takes the mean under a triangle as wide as the step (Pillow's BILINEAR), so that small pictures do not alias
and no value leaves [0, 1]. Pillow is imported when the first file is read.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg")
FORMATS = ("PNG", "JPEG")
"""What is decoded, by content: a JPEG called `.png` is read as what it is, anything else is refused."""

DEEP = ("I", "I;16", "I;16L", "I;16B")
"""Pillow's names for grey pictures of 16 bits."""

Size = tuple[int, int]


class BrokenPicture(ValueError):
    """A file that cannot be read as a picture. `reason` says why, in a few words, without the file's name."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} cannot be read as a picture ({reason}): replace or remove it, or leave such files out with "
            "skip_broken=True (--skip-broken)."
        )
        self.reason = reason


def read_picture(path: Path, size: Size | None = None, grey: bool = False) -> npt.NDArray[np.float32]:
    """A picture file as float32 (H, W, C): C = 1 for a grey one or with `grey`, else 3.

    Args:
        path: a PNG or JPEG file; of several frames the first.
        size: the (H, W) to bring it to; None keeps its own.
        grey: whether colours are turned into grey levels.

    Raises:
        BrokenPicture: no such picture, damaged, cut off, unreadable, or of more pixels than Pillow takes for honest.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # Pillow warns of what does no harm to the pixels, such as a camera's notes that are cut off, and of one thing
            # that does: a file of a few bytes may claim more pixels than there is memory.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                return _pixels(image, size, grey)
    except MemoryError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BrokenPicture(path, f"it has more than {Image.MAX_IMAGE_PIXELS or 0:,} pixels") from error
    except Image.UnidentifiedImageError as error:
        raise BrokenPicture(path, "it is neither PNG nor JPEG" if path.stat().st_size else "it is empty") from error
    except Exception as error:  # a decoder that is given any bytes at all may raise anything
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BrokenPicture(path, reason or type(error).__name__) from error


def _pixels(image: Image, size: Size | None, grey: bool) -> npt.NDArray[np.float32]:
    from PIL import ImageOps

    if size is not None:
        # A JPEG can be decoded at an eighth of its size or more; twice what is wanted leaves the scaling its say. Which
        # side is which is not known before the picture is upright.
        image.draft(image.mode, (2 * max(size), 2 * max(size)))
    image.load()
    upright = ImageOps.exif_transpose(image)
    plain, white = _plain(upright, grey)
    if size is not None:
        plain = _covering(plain, size)
    values = np.asarray(plain)
    values = values[:, :, np.newaxis] if values.ndim == 2 else values
    return np.divide(values, np.float32(white), dtype=np.float32)


def _plain(image: Image, grey: bool) -> tuple[Image, float]:
    """The picture in one of Pillow's modes "L", "RGB" and "F", without transparency, and the value of its white."""
    from PIL import Image as pillow

    if image.mode in DEEP:
        return image.convert("F"), 65535.0
    wanted = "L" if grey or image.mode in ("1", "L", "LA") else "RGB"
    if image.has_transparency_data:
        paper = pillow.new("RGBA", image.size, "white")
        image = pillow.alpha_composite(paper, image.convert("RGBA"))
    return image.convert(wanted), 255.0


def _covering(image: Image, size: Size) -> Image:
    """The picture scaled, proportions kept, to cover (H, W), and cut to it around its middle."""
    from PIL import ImageOps
    from PIL.Image import Resampling

    height, width = size
    fitted: Any = ImageOps.fit(image, (width, height), Resampling.BILINEAR)
    return fitted
