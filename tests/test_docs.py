"""What the texts point at exists: files, links, pictures, chapters, and a chapter and an example for every model."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tinyae.models import MODELS

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted((ROOT / "docs").glob("*.md"))
TEXTS = [*sorted(ROOT.glob("*.md")), *CHAPTERS, ROOT / "examples" / "README.md"]
every_text = pytest.mark.parametrize("text", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))


@every_text
def test_files_that_are_named_exist(text):
    named = re.findall(r"(?<![\w/])((?:tinyae|tests|docs|examples)/[\w./-]*[\w/])", text.read_text(encoding="utf-8"))
    missing = sorted({name for name in named if not (ROOT / name).exists() and not name.startswith("docs/_build")})
    assert not missing


@every_text
def test_tests_that_are_named_exist(text):
    if text.name == "CHANGELOG.md":
        return  # tells of the past
    sources = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").glob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)", text.read_text(encoding="utf-8"))) - {
        "test_x",
        "test_y",
        "test_lengths",
    }  # arrays
    assert not sorted(name for name in named if f"def {name}(" not in sources)


@every_text
def test_links_and_pictures_exist(text):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert not [target for target in local if not (text.parent / target).exists()]


def test_every_picture_is_shown_somewhere_and_is_small():
    told = "".join(text.read_text(encoding="utf-8") for text in TEXTS)
    for picture in (ROOT / "docs" / "images").iterdir():
        assert picture.name in told, f"docs/images/{picture.name} is shown nowhere"
        assert picture.stat().st_size < 300_000, f"docs/images/{picture.name} is too large for a repository"


@pytest.mark.parametrize("chapter", [c for c in CHAPTERS if c.stem != "index"], ids=lambda path: path.stem)
def test_every_chapter_is_in_the_index(chapter):
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    contents = index.split("```{toctree}")[1].split()
    assert chapter.stem in contents
    assert f"({chapter.name})" in index, "and has a line that says what it is about"


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_a_chapter_and_an_example(name):
    assert any(f"tinyae train {name}" in chapter.read_text(encoding="utf-8") for chapter in CHAPTERS)
    examples = [path.read_text(encoding="utf-8").lower() for path in (ROOT / "examples").glob("*.py")]
    assert any(name in example for example in examples)


def test_the_commands_of_the_readme_are_those_of_ci():
    readme, ci = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", ".ci/run"))
    assert 'pip install ".[test]" && pytest' in readme
    assert 'pip install --quiet ".[test]"\npytest' in ci


def test_nothing_tracked_is_large():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("this is not a clone")
    files = [ROOT / name for name in done.stdout.split("\0") if name]
    assert not [file for file in files if file.exists() and file.stat().st_size > 2_500_000]


def commands(text: str) -> list[str]:
    """The command lines of a page: in code blocks with their continuations, and between backticks."""
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in re.sub(r"(#.*)?\\\n|[ ]*#.*(?=\n)", " ", block).splitlines()]
    lines += re.findall(r"`(tinyae [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL).replace("\n", " "))
    return [line.strip().removeprefix("$ ") for line in lines if re.match(r"\s*(\$ )?tinyae [a-z]", line)]


@every_text
def test_the_command_lines_of_the_texts_are_understood(text, capsys):
    from tinyae.cli.main import parser

    for line in commands(text.read_text(encoding="utf-8")):
        words = line.split("&&")[0].split(";")[0].split()[1:]
        if {"...", "MODEL", "NAME", "mine"} & set(words) or len(words) == 1:
            continue  # a form, not a command
        try:
            parser().parse_args(words)
        except SystemExit as stopped:
            if stopped.code:
                pytest.fail(f"{line}\n{capsys.readouterr().err}")


def test_command_lines_are_found_in_texts():
    told = "Say `tinyae data` or\n```sh\n$ tinyae train basic --epochs 2 \\\n    --seed 1   # not much\nls\n```\n"
    assert [line.split() for line in commands(told)] == [
        ["tinyae", "train", "basic", "--epochs", "2", "--seed", "1"], ["tinyae", "data"],
    ]  # fmt: skip
