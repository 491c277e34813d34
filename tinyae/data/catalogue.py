"""The one table of data sets that can be asked for by name.

Two sorts of rows. The embedded ones (`embedded_sets`) travel with the package: they are small, their licences allow it,
and they work offline. The full ones (`full_sets`) are found on disk or downloaded (`lookup`), each file checked against
the SHA-256 of its uncompressed content, since the same content is packed differently by different sites. A mini
set has a name of its own and never stands in for the full one. Sources and licences in full:
`embedded/DATA_LICENSES`.
"""

from __future__ import annotations

from tinyae.data.dataset import by, table
from tinyae.data.embedded_sets import EMBEDDED_SETS
from tinyae.data.entry import Entry
from tinyae.data.full_sets import FULL_SETS

ENTRIES: dict[str, Entry] = {entry.name: entry for entry in (*EMBEDDED_SETS, *FULL_SETS)}


def names() -> tuple[str, ...]:
    """The names `load` knows: the embedded sets first."""
    return tuple(ENTRIES)


def canonical(name: str) -> str:
    """A name as the catalogue writes it: case, and `_` for `-`, do not matter."""
    return name.strip().lower().replace("_", "-")


def describe(name: str | None = None) -> str:
    """A table of all data sets or, given a name, everything about one. KeyError for an unknown name."""
    if name is None:
        return "\n".join(
            f"{row.name:<15} {row.kind:<10} {row.counts[0]:>6,} + {row.counts[1]:<6,} of "
            f"{by(row.shape):<13} {megabytes(row.size):>8}  "
            f"{row.where:<8}  "
            f"{row.title}"
            for row in ENTRIES.values()
        )
    row = ENTRIES[name]
    lines = [
        ("examples", f"{row.counts[0]:,} train + {row.counts[1]:,} test, each {by(row.shape)}"),
        (
            "size",
            megabytes(row.size) + {"embedded": ", embedded", "download": " to download", "on disk": ""}[row.where],
        ),
        ("classes", ", ".join(row.class_names)),
        ("unit", f"1.0 is {row.scale:g} {row.unit}"),
        ("notes", row.notes),
        ("source", row.source),
        ("licence", row.licence),
        ("files", ", ".join(row.files)),
        ("address", ", ".join(row.urls)),
    ]
    return "\n".join([f"{row.name}: {row.title} ({row.kind})", *table(lines)])


def megabytes(size: int) -> str:
    """A size for people: `11.6 MB`, or kB below one tenth of that."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.0f} kB"
