"""The card of a run: `README.md` in its folder, for readers of a model hub, a repository, or the folder itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinyae.data import Dataset
from tinyae.models import model_entry

UNFINISHED = "There are no results yet. `tinyae train --resume RUN` continues a run that was stopped."
"""Stands for the report until the run has one."""

_CARD = """\
---
library_name: tinyae
tags: [autoencoder, {entry.name}]
---
# {entry.name} on {data.name}

{headline}.

- model: {entry.title}; code size {code_size}
- data: {about}
- trained with {versions}; `tinyae train --config run.toml` trains it again, equal bit for bit on the same machine

```text
{report}
```

{pictures}To use it, with the path of this folder for RUN:

```python
import tinyae as ta
run = ta.training.Run.open("RUN")
codes = run.model().encode(run.model().batch(run.data().{part}))
```
"""


def card(
    config: dict[str, Any], model: Any, data: Dataset, headline: str, report: str, pictures: Sequence[Path]
) -> str:
    """The text of the card; equal runs have equal ones, so it holds no date and no path.

    headline: model and data in a line. report: what `tinyae train` prints at the end, or `UNFINISHED`.
    """
    versions = config["environment"]["versions"]
    about = {"": data.title, "source: ": data.source, "license: ": data.license}
    return _CARD.format(
        entry=model_entry(config["model"]), data=data, headline=headline, report=report,
        code_size=model.encode(model.batch(data.train.rows(slice(0, 1)))).size,
        about="; ".join(f"{what}{text.removesuffix('.')}" for what, text in about.items() if text),
        pictures="".join(f"![{file.stem}]({file.name})\n\n" for file in pictures),
        part="test" if len(data.test) else "train",
        versions=", ".join(f"{library} {versions[library]}" for library in ("tinyae", "numpy", "python")),
    )  # fmt: skip
