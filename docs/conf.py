"""Settings for Sphinx:  sphinx-build -W -b html docs docs/_build/html

The pages that step through backward passes (`step.md`) are made with the documentation, into `step/` beside it.

The reference in `api.md` is taken from the docstrings. They are plain text, written to be read beside the code, so two things
happen on the way: a primitive is shown as the function it wraps, and plain text is made safe for reStructuredText.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import tinyae
from tinyae import autodiff, losses, ops

project = "tinyae"
author = "the tinyae authors"
project_copyright = author
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 2  # "page.md#a-heading" as on GitHub
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "tinyae"
html_static_path = ["_static"]
html_css_files = ["pictures.css"]  # pictures on a dark page
html_copy_source = False
templates_path: list[str] = []
autodoc_member_order = "groupwise"
autodoc_typehints = "none"
add_module_names = False
python_maximum_signature_line_length = 88
napoleon_use_ivar = True
pygments_style = "friendly"
highlight_language = "none"  # a block without a language is a formula or a drawing
pygments_dark_style = "monokai"

for room in (tinyae, autodiff, ops, losses):
    for name, value in list(vars(room).items()):
        if isinstance(value, autodiff.Primitive):
            setattr(room, name, value.forward)

MARKUP = re.compile(r"``.+?``|`([^`\n]+)`|([*|_\\])")


def plain(line: str) -> str:
    """A line of plain text as reStructuredText: `code` is code, every other sign stands for itself."""
    return MARKUP.sub(lambda m: f"``{m[1]}``" if m[1] else "\\" + m[2] if m[2] else m[0], line)


def plain_docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Escape a docstring in place. A block set off by an empty line and indented becomes a literal block."""
    done: list[str] = []
    literal = None  # the indent of the text before a literal block, while inside one
    before, indent = "", 0
    for line in lines:
        depth = len(line) - len(line.lstrip())
        if line.strip():
            if literal is not None and depth <= literal:
                literal = None
            deeper = bool(done) and depth > indent and not before.strip()
            if literal is None and deeper and not line.lstrip().startswith(">>>"):
                literal = indent
                done += [" " * indent + "::", ""]
            if literal is None:
                indent = depth
        done.append(line if literal is not None or line.lstrip().startswith((">>>", "...")) else plain(line))
        before = line
    lines[:] = done


def step_pages(app: Any, error: Exception | None) -> None:
    """Write the pages that `step.md` shows."""
    if error is None and app.builder.format == "html":
        here = Path(__file__).parent
        command = [sys.executable, str(here / "steps.py"), str(Path(app.outdir) / "step")]
        environment = os.environ | {"PYTHONPATH": str(here.parent)}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def setup(app: Any) -> None:
    """Put the escaping before napoleon, which reads the sections Args, Returns, Raises."""
    app.connect("autodoc-process-docstring", plain_docstring, priority=100)
    app.connect("build-finished", step_pages)
