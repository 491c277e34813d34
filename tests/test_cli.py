"""The command line from end to end, on embedded data: what it prints, what it writes, and that both are true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from numpy.testing import assert_array_equal

from tests.test_cli_errors import COMMITTED
from tinyae import data, load
from tinyae.cli.main import main
from tinyae.training import Run, evaluate

PICTURES = ["codes.png", "filters.png", "loss.png", "reconstructions.png"]
FILES = sorted([*COMMITTED, "scores.npy", *PICTURES])
BASIC = "train basic --data optdigits --epochs 2 --code-size 8"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run folder of the basic form that the tests of this file only read."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    assert main([*BASIC.split(), "--seed", "3", "--out", str(folder)]) == 0
    return folder


def check_picture(path: Path) -> None:
    """A PNG of a plausible size that is neither empty nor of one color."""
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    pixels = imread(path)
    height, width, _ = pixels.shape
    assert 200 <= height <= 3000
    assert 200 <= width <= 3000
    assert pixels[..., :3].std() > 0.01


def table_of(text: str) -> dict[str, list[float]]:
    """The rows of a printed table of metrics: label and unit -> numbers per sample and, on the last part, per element."""
    rows = {}
    for line in text.splitlines():
        row = re.fullmatch(r"(\S.{18,19})((?: +[-\d.e+]+){2})   ([^(]*?)(?: \((\S+) per element, test\))?", line)
        if row:
            numbers = [*row[2].split(), *filter(None, [row[4]])]
            rows[f"{row[1].strip()}: {row[3]}"] = [float(number) for number in numbers]
    return rows


def expected_table(folder: Path, objective: str = "bce") -> dict[str, list[float]]:
    model, digits = load(folder), data.load("optdigits")
    both = [evaluate(model, split.x) for split in (digits.train, digits.test)]
    rows = [("squared_error", "squared error: squared error per image", "mse")]
    rows += [("bce", "cross-entropy: nats per image", "bce_element")]
    table = {}
    for name, label, element in rows:
        numbers = [*(metrics[name] for metrics in both), both[1][element]]
        table[label + ", the training objective" * (name == objective)] = pytest.approx(numbers, rel=1e-4)
    return table


@pytest.mark.parametrize(("form", "options"), [
    ("basic", ""), ("deep", "--sizes 20,6 --tied --loss squared_error --optimizer rmsprop --lr 0.002"),
])  # fmt: skip
def test_training_leaves_numbers_and_pictures(form, options, tinyae, tmp_path, pictured):
    printed = tinyae("train", form, "--data optdigits --epochs 1", options)
    folder = tmp_path / "runs" / f"{form}-optdigits"
    assert f"run folder: runs/{form}-optdigits" in printed
    assert names(folder) == FILES
    for picture in PICTURES:
        assert f"picture: runs/{form}-optdigits/{picture}" in printed
        check_picture(folder / picture)
    model = load(folder)
    assert f"{form} autoencoder, {model.parameter_count():,} parameters, on optdigits" in printed
    assert "(3,823 training and 1,797 test images of 8 x 8 x 1), loss in " in printed
    assert table_of(printed) == expected_table(folder, "bce" if form == "basic" else "squared_error")
    assert Run.open(folder).history()["epoch"] == [1]
    if form == "deep":
        assert Run.open(folder).config["optimizer"] == "rmsprop"
        assert (model.reconstruction.name, len(model.encoder)) == ("squared_error", 3)
        assert model.decoder[0].source is model.encoder[2]


def test_training_is_compared_with_pca_of_the_same_code_size(tinyae):
    printed = tinyae("train basic --data optdigits --epochs 1 --code-size 5")
    digits = data.load("optdigits")
    mean = digits.train.flat.mean(axis=0, dtype="float64")
    axes = np.linalg.svd(digits.train.flat - mean, full_matrices=False)[2][:5]
    rest = (digits.test.flat - mean) @ (np.eye(64) - axes.T @ axes)
    off = digits.test.flat - mean
    lines = printed.splitlines()
    table = lines[lines.index("squared error of test images") + 1 :]
    values = {line[:40].strip(): float(line.split()[-1]) for line in table[:3]}
    expected = {"mean training image": np.sum(off**2), "PCA, 5 components": np.sum(rest**2)}
    for name, total in expected.items():
        assert values[name] == pytest.approx(total / len(rest), rel=1e-4)
    own = table_of(printed)["squared error: squared error per image"][1]
    assert values["this model"] == pytest.approx(own, rel=1e-4)


def test_one_seed_gives_equal_bytes_and_another_gives_others(tinyae, trained, tmp_path, pictured):
    tinyae(BASIC, "--seed 3 --out again")
    tinyae(BASIC, "--seed 4 --out other")
    for name in ("model.safetensors", *PICTURES):
        assert (tmp_path / "again" / name).read_bytes() == (trained / name).read_bytes()
        assert (tmp_path / "other" / name).read_bytes() != (trained / name).read_bytes()
    assert load("again").recipe == load(trained).recipe


def test_more_epochs_are_better_and_runs_are_numbered(tinyae, tmp_path):
    for epochs in (1, 4):
        tinyae("train basic --data optdigits --epochs", epochs)
    assert names(tmp_path / "runs") == ["basic-optdigits", "basic-optdigits-2"]
    test = data.load("optdigits").test.x
    losses = [evaluate(load(folder), test)["loss"] for folder in sorted((tmp_path / "runs").iterdir())]
    assert losses[1] < 0.9 * losses[0]


@pytest.mark.parametrize(("name", "options", "unit", "pictures"), [
    ("pendigits", "", "nats per sequence", ["codes.png", "loss.png", "reconstructions.png"]),
    ("nyc-taxi", "--loss squared_error", "squared error per window", ["loss.png", "reconstructions.png"]),
])  # fmt: skip
def test_what_is_no_image_is_trained_on_and_drawn_too(name, options, unit, pictures, tinyae, tmp_path, pictured):
    printed = tinyae("train basic --epochs 1 --out run --data", name, options)
    assert f"   {unit}, the training objective" in printed
    assert [file for file in names(tmp_path / "run") if file.endswith(".png")] == pictures
    for picture in pictures:
        check_picture(tmp_path / "run" / picture)


def test_a_file_of_ones_own(tinyae, tmp_path, rng, unpainted):
    np.save(tmp_path / "rows.npy", rng.uniform(size=(60, 7)).astype("float32"))
    printed = tinyae("train basic --data ./rows.npy --epochs 1 --code-size 2")
    assert "on rows.npy (54 training and 6 test rows of 7), loss in nats per row, cpu" in printed
    folder = Path("runs") / "basic-rows"
    assert set(FILES) - set(names(folder)) == {"codes.png", "filters.png"}
    assert "rows.npy" in tinyae("evaluate", folder)
    told = tinyae("encode", folder, "--out c.npy")
    assert told == (
        "rows.npy: test is 10% drawn from all rows, seed 0 (6 examples), train the rest.\n"
        "c.npy: codes (6, 2) float32 of rows.npy test\n"
    )


def test_force_replaces_a_run(tinyae, tmp_path, unpainted):
    tinyae("train basic --data optdigits --epochs 1 --out run")
    tinyae("train deep --sizes 6,3 --data optdigits --epochs 2 --out run --force")
    assert names(tmp_path / "run") == FILES
    assert load("run").recipe["model"] == Run.open("run").config["model"] == "deep"
    assert len(Run.open("run").history()) == 2


def test_auto_finds_a_device(tinyae):
    printed = tinyae("train basic --data optdigits --epochs 1 --out run --device auto")
    assert printed.splitlines()[0].endswith((", cpu", ", gpu"))


def test_evaluate_prints_the_same_numbers_again(tinyae, trained):
    before = names(trained)
    assert table_of(tinyae("evaluate", trained)) == expected_table(trained)
    assert names(trained) == before


@pytest.mark.parametrize("split", ["train", "test"])
def test_encode_writes_the_codes(split, tinyae, trained, tmp_path):
    printed = tinyae("encode", trained, "--out new/codes.npy --split", split)
    x = getattr(data.load("optdigits"), split).x
    codes = np.load(tmp_path / "new" / "codes.npy", allow_pickle=False)
    assert codes.dtype == np.float32
    assert_array_equal(codes, load(trained).encode(x))
    assert printed == f"new/codes.npy: codes ({len(x)}, 8) float32 of optdigits {split}\n"


def test_reconstruct_draws_into_the_run_folder_or_elsewhere(tinyae, trained, tmp_path, pictured):
    before = (trained / "reconstructions.png").read_bytes()
    (trained / "reconstructions.png").unlink()
    tinyae("reconstruct", trained)
    assert (trained / "reconstructions.png").read_bytes() == before
    tinyae("reconstruct", trained, "--count 3 --out three.png")
    check_picture(tmp_path / "three.png")
    assert imread(tmp_path / "three.png").shape[1] < imread(trained / "reconstructions.png").shape[1]
    tinyae("reconstruct", trained, "--out three.svg")
    assert "<svg" in (tmp_path / "three.svg").read_text()


def test_data_lists_and_describes(tinyae, tmp_path):
    listed = tinyae("data")
    assert [line.split()[0] for line in listed.splitlines()] == list(data.names())
    described = tinyae("data optdigits")
    for words in ("3,823 of 8 x 8 x 1, float32 in [0, 1]", "1,797", "CC BY 4.0", "Alpaydin", "1.0 is 16 dark pixels"):
        assert words in described
    np.save(tmp_path / "mine.npy", np.zeros((20, 3)))
    assert "18 of 3, float32" in tinyae("data mine.npy")


def test_info_names_versions_and_devices(tinyae):
    printed = tinyae("info")
    lines = {line.split()[0]: line for line in printed.splitlines()}
    assert np.__version__ in lines["numpy"]
    assert ".".join(map(str, sys.version_info[:3])) in lines["python"]
    assert "works" in lines["cpu"]
    assert "works" in lines["gpu"] or "not usable: device 'gpu'" in lines["gpu"]


def test_show_prints_the_tape(tinyae):
    printed = tinyae("show basic --data optdigits --batch-size 4")
    summary, tape = printed.split("\n\nThe tape of one batch of 4 images, loss in nats per image:\n\n")
    assert "4,192 parameters" in summary
    rows = [cells for line in tape.splitlines() if (cells := line.split())[1:2] and cells[1].isdigit()]
    operations = [row[2] for row in rows if row[2] != "leaf"]
    assert operations[0] == operations[1] == "dense"
    assert operations[-1] == "bce_with_logits"
    assert float(rows[-2][-1]) > 0
    for name in ("encoder.1.weight", "encoder.1.bias", "decoder.0.weight", "decoder.0.bias"):
        assert f"leaf '{name}'" in tape


@pytest.mark.parametrize("model", ["lstm", "sparse"])
def test_show_takes_the_models_own_data(model, tinyae):
    assert "The tape of one batch of 8" in tinyae("show", model)


@pytest.mark.parametrize("sequences", [
    "ragged.npz", pytest.param("moving-digits --mode composite", marks=(pytest.mark.thorough, pytest.mark.matrix)),
])  # fmt: skip
def test_neighbors_of_sequences_are_listed(sequences, tinyae, tmp_path, rng):
    lengths = rng.integers(2, 6, 40)
    x = rng.normal(size=(40, 5, 2)) * (np.arange(5) < lengths[:, None])[..., None]
    np.savez(tmp_path / "ragged.npz", x=x.astype("float32"), lengths=lengths)
    tinyae("train lstm --epochs 1 --hidden-size 2 --out run --data", sequences)
    printed = tinyae("neighbors run --count 3")
    assert re.search(r"test sequence \d+: training sequences \d+, \d+, \d+\n", printed)
    assert "has no images" in printed


def test_neighbors_and_a_probe_name_samples_and_classes(tinyae, tmp_path, rng):
    rows = [
        f"{'oak' if n % 3 else 'elm'}-{n},{rng.random()},{rng.random()},{'oak' if n % 3 else 'elm'}" for n in range(60)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["name,a,b,kind", *rows]))
    (tmp_path / "new.csv").write_text("\n".join(["name,a,b,kind", "mine,0.1,0.2,elm"]))
    tinyae("train basic --data t.csv --id name --label kind --code-size 1 --epochs 1 --out run")
    name = r"(oak|elm)-\d+ \(\1\)"  # the class of each sample stands in its name
    found = re.findall(r"^test row (.*): training rows (.*), (.*)$", tinyae("neighbors run --count 2"), re.MULTILINE)
    assert len(found) == 6
    assert all(re.fullmatch(name, word) for words in found for word in words)
    assert re.search(
        rf"test row mine \(elm\): training rows {name}$", tinyae("neighbors run --data new.csv --count 1"), re.MULTILINE
    )
    assert re.search(r"always the largest class .*%   oak$", tinyae("probe run"), re.MULTILINE)


def test_show_tells_a_conditional_model_the_classes_of_the_data(tinyae):
    assert "The tape of one batch of 3823 images" in tinyae("show basic --data optdigits --batch-size 9999")
    assert "(4, 74)" in tinyae("show cvae --data optdigits --batch-size 4")  # 64 pixels and 10 classes


def test_show_and_step_take_the_layer_of_a_stack_that_is_trained_first(tinyae):
    printed = tinyae("show stacked --data optdigits")
    assert printed.startswith("DenoisingAutoencoder, input (N, 8, 8, 1)")
    assert "8 nodes: 4 leaves, 4 operations" in printed
    assert tinyae("step stacked --data optdigits").startswith("step.html: 8 nodes, ")
    assert "stacked, layer 1, on optdigits: one training step" in Path("step.html").read_text(encoding="utf-8")


def test_show_draws_the_same_graph_in_two_formats(tinyae):
    dot = tinyae("show deep --data optdigits --format dot")
    mermaid = tinyae("show deep --data optdigits --format mermaid")
    assert dot.startswith("digraph tape {")
    assert dot.rstrip().endswith("}")
    assert mermaid.startswith("flowchart TD")
    assert dot.count(" -> ") == mermaid.count("-->") > 20
    assert dot.count("encoder.4.weight") == mermaid.count("encoder.4.weight") == 1


@pytest.mark.parametrize("command", ["train", "train basic", "train deep", "evaluate", "encode", "reconstruct", "show"])
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*command.split(), "--help"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"usage: tinyae {command}")
    if " " in command:
        for option in ("data", "epochs", "batch-size", "lr", "seed", "device {cpu,gpu,auto}", "out", "force"):
            assert f"--{option}" in printed


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "tinyae", "--help"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.startswith("usage: tinyae ")
    for word in ("evaluate", "encode", "reconstruct", "show", "data", "info", "tinyae train basic", "exit codes"):
        assert word in done.stdout


def test_a_reader_that_has_gone_away_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [sys.executable, "-m", "tinyae", "data"]
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
