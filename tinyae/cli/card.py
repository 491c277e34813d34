"""The card of a run: `README.md` in its folder, for readers of a model hub, a repository, or the folder itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinyae.data import Dataset
from tinyae.models import MODELS

UNFINISHED = "There are no results yet: training stopped or goes on. `tinyae train --resume RUN` continues it."
"""Stands for the report until the run has one."""

_CARD = """\
---
library_name: tinyae
tags: [autoencoder, {name}]
---

# {name} on {data.name}

{headline}.

- model: {title}
- code: {code_size} numbers per {model.sample_name}
- data: {about}

## Results

```text
{report}
```

{pictures}## Use

`RUN` is this folder; `run.encode`, `run.reconstruct` and `run.score` take new data as the file or array that they are in.

```python
import tinyae as ta

run = ta.training.Run.open("RUN")
model = run.model()
codes = model.encode(model.batch(run.data().{part}))
```

## Train it again

```sh
tinyae train --config run.toml
```

The settings are in `run.toml`. Trained with {versions}; on the same machine the weights are equal bit for bit.
"""


def card(
    config: dict[str, Any], model: Any, data: Dataset, headline: str, report: str, pictures: Sequence[Path]
) -> str:
    """The text of the card; equal runs have equal ones, so it holds no date, and no path.

    Args:
        config: of the run.
        model, data: its model, and the data it was trained on.
        headline: the model and its data in one line.
        report: what `tinyae train` prints at the end of the run, or `UNFINISHED`.
        pictures: the files, in the run folder.
    """
    versions, name = config["environment"]["versions"], config["model"]
    about = {"": data.title, "source: ": data.source, "license: ": data.license}
    return _CARD.format(
        name=name, data=data, model=model, headline=headline, title=MODELS[name].title, report=report,
        code_size=model.encode(model.batch(data.train.rows(slice(0, 1)))).size,
        about="; ".join(f"{what}{text.removesuffix('.')}" for what, text in about.items() if text),
        pictures="".join(f"![{file.stem.replace('_', ' ')}]({file.name})\n\n" for file in pictures),
        part="test" if len(data.test) else "train",
        versions=", ".join(f"{library} {versions[library]}" for library in ("tinyae", "numpy", "python")),
    )  # fmt: skip
