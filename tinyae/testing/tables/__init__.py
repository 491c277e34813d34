"""The check tables: every primitive, loss, layer and model of the package, with what is needed to verify it.

`tinyae gradcheck` and the test suite run the same checks on every entry, and a test fails if something has no entry. The
references need SciPy, so this package is not imported by `tinyae.testing`: `from tinyae.testing.tables import CASES`.
"""

from typing import Any

from tinyae.testing.tables.images import IMAGES
from tinyae.testing.tables.modules import LAYERS, MODELS_TABLE, discovered_primitives, missing_entries
from tinyae.testing.tables.ops import LOSSES, OPS, SEQUENCES

TABLES: dict[str, list[Any]] = {
    "ops": [*OPS, *IMAGES, *SEQUENCES],
    "losses": LOSSES,
    "layers": LAYERS,
    "models": MODELS_TABLE,
}
"""Everything, by the names that `tinyae gradcheck` knows."""

CASES = [*TABLES["ops"], *LOSSES]
"""Every operation and every loss: the cases with a reference."""

MODULES = [*LAYERS, *MODELS_TABLE]
"""Every layer and every model."""

__all__ = [
    "CASES",
    "IMAGES",
    "LAYERS",
    "LOSSES",
    "MODELS_TABLE",
    "MODULES",
    "OPS",
    "SEQUENCES",
    "TABLES",
    "discovered_primitives",
    "missing_entries",
]
