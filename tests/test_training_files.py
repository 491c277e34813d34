"""Saved models and run folders: what comes back, what is refused, and that no failure costs what was there before."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal, assert_equal
from safetensors.numpy import load_file, save_file

import tinyae as ta
from tests.launch_budgets import build_small, class_numbers, small_batch
from tinyae import atomic, data, fit, load, models, nn, save
from tinyae.autodiff import Tensor
from tinyae.data import Split
from tinyae.models import MODELS, Autoencoder, basic_autoencoder, build
from tinyae.models.autoencoder import remember, remembered
from tinyae.nn import evaluating
from tinyae.training import Epoch, Run, evaluate
from tinyae.training.run import PICTURE
from tinyae.training.state import ModuleState

X = data.load("optdigits").train.x[:200]
CONFIG = {"model": "basic", "data": "optdigits", "arguments": {"input_shape": [8, 8, 1], "code_size": 5}}


def digits_model(seed: int = 0) -> Autoencoder:
    return build("basic", CONFIG["arguments"], np.random.default_rng(seed))


def disk_full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names(folder)}


def recorded(folder: Path, seed: int = 0) -> Run:
    """A run of one epoch, and its checkpoint."""
    run = Run.create(folder / "run", {**CONFIG, "seed": seed} if seed else CONFIG)
    history = fit(digits_model(seed), X, epochs=1, callbacks=[run.record], progress=False)
    if folder.name in ("a", "b"):
        run.keep(digits_model(seed), history, history.state)
    return run


BUILDERS: dict[str, tuple[tuple, dict]] = {
    "basic": ((64, 5), {"tied": True}),
    "deep": (((8, 8, 1), (9, np.int64(4))), {"loss": "huber", "sample": "image"}),
    "sparse": ((64,), {"code_size": 5}),
    "contractive": ((64, (7, 3)), {"jacobian": "hutchinson"}),
    "denoising": ((64,), {"code_size": 5}),
    "stacked": ((64,), {"sizes": (6, 4), "classes": 3}),
    "memory": (((8, 8, 1),), {"count": 5, "code_size": 3, "hidden_sizes": (4,)}),
    "vae": ((64, (9,)), {"latent_size": 2}),
    "cvae": ((64,), {"sizes": (9,), "latent_size": 2, "classes": 3}),
    "conv": (((8, 8, 1),), {"channels": (2, 3)}),
    "conv-denoising": (((8, 8, 1),), {"channels": (2, 3)}),
    "conv-vae": (((8, 8, 1),), {"channels": (2, 3), "latent_size": 2}),
    "lstm": (((8, 8), 5), {"mode": "composite", "conditional": True}),
    "vqvae": ((64,), {"positions": 2, "codebook_size": 4, "code_features": 3}),
}


@pytest.mark.parametrize("name", MODELS)
def test_what_a_builder_makes_is_saved_with_its_recipe(name, tmp_path):
    args, options = BUILDERS[name]
    builder = MODELS[name].builder
    assert getattr(models, builder.__name__) is builder
    model = builder(*args, **options, generator=np.random.default_rng(1))
    assert model.recipe["model"] == name
    assert model.recipe["arguments"].keys() - {"input_shape"} >= options.keys()
    parts = (model, model.encoder, model.decoder)
    back, part, decoder = loaded = [load(save(one, tmp_path / "any.name")) for one in parts]
    for one, other in zip(parts, loaded, strict=True):
        assert_equal([*other.state_dict().items()], [*one.state_dict().items()])
    assert (type(back), back.recipe, back.loss_unit) == (type(model), model.recipe, model.loss_unit)
    assert load(save(model, tmp_path / "model.safetensors").parent).recipe == model.recipe
    assert not back.training
    assert repr(decoder) == repr(model.eval().decoder)
    x = model.batch(Split(X.reshape(-1, *np.atleast_1d(args[0]))[:3], np.arange(3))).x
    assert_array_equal(back.reconstruct(x), model.reconstruct(x))
    with evaluating(part), evaluating(model):
        assert_array_equal(part(Tensor(x)).data, model.encoder(Tensor(x)).data)


def test_arguments_that_are_not_plain_leave_no_recipe():
    @remembered("basic")
    def builder(input_shape: int, *, noise: object = None) -> Autoencoder:
        return basic_autoencoder(input_shape, 3)

    assert builder(8, noise=1).recipe == {"model": "basic", "arguments": {"input_shape": 8, "noise": 1}}
    model = Autoencoder(nn.Dense(8, 3), nn.Dense(3, 8))
    remember(model, "basic", {"input_shape": 8, "noise": nn.Dropout(0.1)})
    assert model.recipe is None
    assert model.encoder.recipe is None


def test_the_file_is_plain_safetensors_with_the_parameters_by_name(tmp_path):
    model = digits_model()
    model.encoder[1].weight.data = np.asfortranarray(model.encoder[1].weight.data)
    assert_equal(load_file(save(model, tmp_path / "m.safetensors")), model.state_dict())


def test_buffers_are_saved_too(tmp_path):
    def normed() -> nn.Sequential:
        return nn.Sequential(nn.Dense(64, 4, generator=np.random.default_rng(0)), nn.BatchNorm(4))

    model, fresh = normed(), normed()
    model.train()(X.reshape(-1, 64))
    load(save(model, tmp_path / "m"), fresh)
    assert_equal(fresh.state_dict(), model.state_dict())
    assert_array_equal(model.eval()(X.reshape(-1, 64)).data, fresh(X.reshape(-1, 64)).data)


def test_a_handmade_model_needs_a_model_to_load_into(tmp_path):
    path = save(Autoencoder(basic_autoencoder(64, 5).encoder, nn.Dense(5, 64)), tmp_path / "m")
    with pytest.raises(ValueError, match=r"no recipe to build the model: .* load\(path, model=...\)"):
        load(path)
    target = Autoencoder(basic_autoencoder(64, 5).encoder, nn.Dense(5, 64))
    assert load(path, target) is target


def test_a_model_of_other_sizes_is_refused_and_left_alone(tmp_path):
    path = save(digits_model(), tmp_path / "m")
    other = basic_autoencoder((8, 8, 1), 6)
    state = other.state_dict()
    with pytest.raises(ValueError, match=r"encoder.1.weight has shape \(64, 5\), expected \(64, 6\)"):
        load(path, other)
    assert_equal(other.state_dict(), state)


@pytest.mark.parametrize("kept", [0, 7, 100, 1000, -1])
def test_a_truncated_file_is_called_that(kept, tmp_path):
    path = save(digits_model(), tmp_path / "m.safetensors")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"m.safetensors is not a complete safetensors file .* may be truncated"):
        load(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no saved model at .*nothing.safetensors"):
        load(tmp_path / "nothing.safetensors")
    with pytest.raises(FileNotFoundError, match=r"no saved model at .*model.safetensors"):
        load(tmp_path)


BASIC = {"model": "basic", "arguments": {"input_shape": 4}}


@pytest.mark.parametrize("header", [
    json.dumps({"recipe": {"model": "os.system", "arguments": {}}}),
    json.dumps({"recipe": {"model": "basic", "arguments": {"wings": 2}}}),
    json.dumps({"recipe": {"model": "basic"}}),
    json.dumps({"recipe": ["basic"]}),
    json.dumps({"recipe": BASIC, "changes": [["", "__class__.training", False]]}),
    json.dumps({"recipe": BASIC, "changes": [["", "reconstruction.wings.count", 2]]}),
    json.dumps({"recipe": BASIC, "changes": [["wings", "count", 2]]}),
    json.dumps(3),
    "{",
])  # fmt: skip
def test_a_recipe_that_builds_nothing(header, tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"w": np.zeros(3, "float32")}, path, metadata={"tinyae": header})
    with pytest.raises(ValueError, match=r"the recipe in .*m.safetensors builds no model here"):
        load(path)


@contextmanager
def small_files_only(limit: int) -> Iterator[None]:
    """The system itself refuses to write more than `limit` bytes into a file."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("where", [(os, "replace"), (os, "open"), (os, "fsync"), (Path, "write_bytes"), None])
def test_a_full_disk_or_a_refusal_of_the_system_costs_nothing_that_was_there(where, tmp_path, monkeypatch):
    path = save(digits_model(0), tmp_path / "m")
    content = path.read_bytes()
    words = "No space left on device; free some space" if where else "File too large"
    with monkeypatch.context() as patch, nullcontext() if where else small_files_only(len(content) // 2):
        if where:
            patch.setattr(*where, disk_full)
        with pytest.raises(OSError, match=f"cannot write .*m: {words}"):
            save(digits_model(1), path)
    assert path.read_bytes() == content
    assert names(tmp_path) == ["m"]


def test_ctrl_c_while_writing_leaves_the_old_file_and_no_litter(tmp_path):
    path = atomic.write_text(tmp_path / "a.txt", "old")

    def interrupted(temporary: Path) -> None:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic.write_atomically(path, interrupted)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_written_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "plain").touch()
    path = atomic.write_text(tmp_path / "a.txt", "é\n")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert path.read_bytes() == "é\n".encode()


def test_a_run_records_weights_and_numbers_of_every_epoch(tmp_path):
    model, run = digits_model(), Run.create(tmp_path / "new" / "run", CONFIG)
    seen: list[float] = []

    def compare(epoch: Epoch) -> None:
        opened = Run.open(run.path)
        assert_equal(opened.model().state_dict(), epoch.model.state_dict())
        assert opened.history()["epoch"] == list(range(1, epoch.number + 1))
        seen.append(evaluate(opened.model(), X)["loss"])

    history = fit(model, X, X, epochs=3, callbacks=[run.record, compare], progress=False)
    assert seen == history["validation_loss"]
    opened = Run.open(run.path)
    assert {key: opened.config[key] for key in CONFIG} == CONFIG
    assert opened.history().units == history.units
    assert names(run.path) == ["config.json", "metrics.csv", "model.safetensors"]


def test_a_disk_that_fills_up_during_training_leaves_the_epoch_before(tmp_path, monkeypatch):
    model, run = digits_model(), Run.create(tmp_path / "run", CONFIG)
    states: list[dict[str, np.ndarray]] = []

    def then_fill(epoch: Epoch) -> None:
        states.append(epoch.model.state_dict())
        monkeypatch.setattr(os, "replace", disk_full)

    with pytest.raises(OSError, match="No space left"):
        fit(model, X, epochs=3, callbacks=[run.record, then_fill], progress=False)
    assert len(Run.open(run.path).history()) == len(states) == 1
    assert_equal(run.model().state_dict(), states[0])


def test_unnamed_runs_are_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [str(Run.create(None, CONFIG).path) for _ in range(3)] == [
        "runs/basic-optdigits", "runs/basic-optdigits-2", "runs/basic-optdigits-3",
    ]  # fmt: skip
    assert str(Run.create(None, {**CONFIG, "data": "../some/where/my.npy"}).path) == "runs/basic-my"


def test_runs_started_together_get_a_folder_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    barrier, paths = threading.Barrier(8), []

    def start(number: int) -> None:
        barrier.wait()
        paths.append((Run.create(None, {**CONFIG, "number": number}).path, number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(start, range(8)))
    assert len({path for path, _ in paths}) == 8
    assert all(Run.open(path).config["number"] == number for path, number in paths)


def test_an_existing_run_is_replaced_only_by_force(tmp_path):
    run = recorded(tmp_path)
    mine = ("filters.png", "holiday.png", "notes.txt")  # of the first, only the name is one that a run may give
    for name in mine:
        (run.path / name).write_text("mine")
    run.draw(lambda: [(run.path / "loss.png"), (run.path / "loss.png").write_text("the run's")][:1])
    before = content(run.path)
    with pytest.raises(FileExistsError, match="run exists already: give another --out, or --force to replace"):
        Run.create(run.path, CONFIG)
    new = Run.create(run.path, {**CONFIG, "seed": 5}, force=True)
    assert content(run.path) == before
    assert "seed" not in Run.open(run.path).config
    fit(digits_model(1), X, epochs=1, callbacks=[new.record], progress=False)
    assert Run.open(run.path).config["seed"] == 5
    assert names(run.path) == ["config.json", *mine[:2], "metrics.csv", "model.safetensors", mine[2]]


def test_of_a_run_of_an_earlier_version_only_files_with_usual_names_are_replaced(tmp_path):
    run = recorded(tmp_path)
    (run.path / "config.json").write_text(json.dumps(CONFIG))
    old = ("loss.png", "filters2.png", "film.gif", "checkpoint.safetensors", ".model.safetensors.q0_x8abc")
    for name in (*old, "holiday.png"):
        (run.path / name).write_text("old")
    (run.path / "codes.png").mkdir()
    assert len(Run.open(run.path).history()) == 1
    new = Run.create(run.path, {**CONFIG, "seed": 5}, force=True)
    fit(digits_model(1), X, epochs=1, callbacks=[new.record], progress=False)
    assert names(run.path) == ["codes.png", "config.json", "holiday.png", "metrics.csv", "model.safetensors"]


def test_every_picture_of_a_run_has_a_usual_name():
    """What `draw_run` writes is on the list, by which runs of earlier versions are replaced."""
    source = (Path(ta.training.__path__[0]) / "pictures.py").read_text()
    found = {name.replace("{number}", "2") for name in re.findall(r'folder / f?"([^"]+)"', source)}
    assert len(found) > 15
    assert all(re.fullmatch(PICTURE, name) for name in found)


def test_force_with_a_full_disk_leaves_the_old_run_whole(tmp_path, monkeypatch):
    run = recorded(tmp_path)
    before = content(run.path)
    new = Run.create(run.path, {**CONFIG, "seed": 5}, force=True)
    monkeypatch.setattr(os, "replace", disk_full)
    with pytest.raises(OSError, match="No space left"):
        fit(digits_model(1), X, epochs=1, callbacks=[new.record], progress=False)
    assert content(run.path) == before


def test_a_run_that_another_one_of_the_process_has_replaced_can_write_no_more(tmp_path):
    run = recorded(tmp_path)
    new = Run.create(run.path, {**CONFIG, "seed": 5}, force=True)
    fit(digits_model(1), X, epochs=1, callbacks=[new.record], progress=False)
    before = content(run.path)
    with pytest.raises(ValueError, match="was continued or replaced since this run opened it"):
        fit(digits_model(), X, epochs=1, callbacks=[run.record], progress=False)
    assert content(run.path) == before


HOLD = """
import sys
from tinyae.training import Run
run = Run.create(sys.argv[1], {"model": "basic", "data": "optdigits"}) if sys.argv[2] == "new" else Run.open(sys.argv[1], write=True)
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.name == "nt", reason="the lock of POSIX")
@pytest.mark.parametrize("how", ["new", "continued"])
def test_a_second_run_in_a_folder_is_refused_until_the_first_is_gone(how, tmp_path):
    folder = tmp_path / "run"
    if how == "continued":
        recorded(tmp_path).close()
    command = [sys.executable, "-c", HOLD, str(folder), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        for attempt in (lambda: Run.create(folder, CONFIG, force=True), lambda: Run.open(folder, write=True)):
            with pytest.raises(BlockingIOError, match=r"a run is at work in .*run: wait until it ends"):
                attempt()
        assert Run.open(folder).config["model"] == "basic"
        process.kill()
    Run.create(folder, CONFIG, force=True)
    Run.open(folder, write=True)


@pytest.mark.skipif(os.name == "nt", reason="Windows does not move a folder in use")
@pytest.mark.parametrize("gone", [shutil.rmtree, lambda folder: folder.rename(folder.with_name("elsewhere"))])
def test_a_folder_that_goes_away_is_not_made_again(gone, tmp_path):
    run = Run.create(tmp_path / "run", CONFIG)

    def then_go(epoch: Epoch) -> None:
        if epoch.number == 2:
            gone(run.path)

    with pytest.raises(FileNotFoundError, match=r"run folder .*run was moved or removed while its run was at work"):
        fit(digits_model(), X, epochs=5, callbacks=[run.record, then_go], progress=False)
    assert not run.path.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "checkpoint.safetensors", "metrics.csv", "config.json"])
def test_files_of_two_runs_are_told_apart(name, tmp_path):
    one, other = recorded(tmp_path / "a", 0), recorded(tmp_path / "b", 1)
    shutil.copy(other.path / name, one.path / name)
    words = r"a.run.\w+\.\w+ belongs to the run 'basic-\w+', and config.json .* of two runs are mixed"
    with pytest.raises(ValueError, match=words):
        Run.open(one.path)
    with pytest.raises(ValueError, match="files of two runs are mixed"):
        load(one.path)
    Run.create(one.path, CONFIG, force=True)  # may be replaced all the same


def test_swapped_arguments_are_named(tmp_path):
    model = digits_model()
    swapped = r"save takes a model and a path, got (Posix|Windows)Path: write save\(model, path\)"
    wrong = [(lambda: save(tmp_path / "m", model), swapped)]
    path = save(model, tmp_path / "m")
    for arguments in ((model,), (model, path), (path, "basic"), (path, Autoencoder)):
        wrong.append(
            (lambda given=arguments: load(*given), r"load takes a path.* write load\(path\) or load\(path, model")
        )
    for call, words in wrong:
        with pytest.raises(TypeError, match=words):
            call()


def test_a_model_that_could_not_be_loaded_replaces_no_file(tmp_path):
    model = digits_model()
    kept = save(model, tmp_path / "m.safetensors").read_bytes()
    model.parameters()[0].data[...] = np.nan
    with pytest.raises(ValueError, match="holds NaN or infinite values: train the model again"):
        save(model, tmp_path / "m.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == kept


def test_sizes_given_as_an_array_are_in_the_recipe(tmp_path):
    for name, arguments in (
        ("deep", {"sizes": (4, 2)}),
        ("stacked", {"sizes": (4, 2)}),
        ("conv", {"channels": (2, 3)}),
    ):
        shape = (8, 8, 1) if name == "conv" else 6
        assert models.variational_autoencoder(6, warmup=np.int64(3)).warmup == 3
        made = models.registry.MODELS[name].builder(shape, **{key: np.array(value) for key, value in arguments.items()})
        assert load(save(made, tmp_path / name)).summary(shape) == made.summary(shape)


def test_a_file_whose_builder_has_changed_says_what_to_do(tmp_path):
    """As k-sparse models from before their inputs were centered: the arrays have other names."""
    made = models.sparse_autoencoder(6, 4, sparsity="topk", k=2)
    path = save(made, tmp_path / "old.safetensors")
    state = {name.replace("encoder.1.", "encoder.0."): v for name, v in made.state_dict().items() if "mean" not in name}
    save_file(state, path, {"tinyae": json.dumps({"format": 1, "recipe": made.recipe})})
    with pytest.raises(
        ValueError, match=r"Its builder has changed: make the saved layers yourself and pass load\(path, model"
    ):
        load(path)
    layers = nn.Sequential(*list(made.encoder)[1:])
    by_hand = models.SparseAutoencoder(layers, made.decoder, sparsity="topk")
    assert load(path, by_hand) is by_hand


def test_equal_runs_have_equal_files(tmp_path):
    one, other = recorded(tmp_path / "a"), recorded(tmp_path / "b")
    assert (one.path / "model.safetensors").read_bytes() == (other.path / "model.safetensors").read_bytes()


def test_a_model_of_another_kind_or_a_part_is_no_model_of_the_run(tmp_path):
    run = recorded(tmp_path)
    save(build("vae", {"input_shape": 64}), run.path / "model.safetensors")
    with pytest.raises(ValueError, match=r"holds the model 'vae', and config.json beside it is of 'basic'"):
        run.model()
    save(digits_model().encoder, run.path / "model.safetensors")
    with pytest.raises(ValueError, match=r"model.safetensors holds a part of a model only: save the whole model"):
        run.model()


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_links_are_followed_and_stay(tmp_path):
    run = recorded(tmp_path)
    big = tmp_path / "big"
    big.mkdir()
    for name in ("model.safetensors", "config.json"):
        (run.path / name).rename(big / f"my-{name}")
        (run.path / name).symlink_to(big / f"my-{name}")
    (big / ".my-model.safetensors.00000009").write_text("left by a kill")
    again = Run.open(run.path, write=True)
    model = digits_model(3)
    again.keep(model, run.history())
    assert (run.path / "model.safetensors").is_symlink()
    assert_equal(Run.open(run.path).model().state_dict(), model.state_dict())
    assert names(big) == ["my-config.json", "my-model.safetensors"]
    link = tmp_path / "link"
    link.symlink_to(big / "new.safetensors")
    save(model, link)
    assert link.is_symlink()
    assert_equal(load(big / "new.safetensors").state_dict(), model.state_dict())


@pytest.mark.skipif(os.name == "nt", reason="files of POSIX")
def test_devices_and_pipes_are_written_to(tmp_path):
    before = os.stat(os.devnull)
    assert save(digits_model(), os.devnull) == Path(os.devnull)
    assert os.stat(os.devnull).st_rdev == before.st_rdev
    os.mkfifo(tmp_path / "pipe")
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    save(digits_model(), tmp_path / "pipe")
    reader.join()
    assert (tmp_path / "pipe").is_fifo()
    assert found[0] == save(digits_model(), tmp_path / "m").read_bytes()


def test_the_mode_of_a_file_is_kept_and_the_mask_is_never_set(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", None)
    path = atomic.write_text(tmp_path / "a", "old")
    path.chmod(0o600)
    atomic.write_text(path, "new")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_cannot_be_written_into_can_be_read(tmp_path, monkeypatch):
    run = recorded(tmp_path)
    for name in ("open", "replace", "unlink", "mkdir"):
        monkeypatch.setattr(os, name, disk_full)
    assert len(Run.open(run.path).history()) == 1
    assert Run.open(run.path).model().recipe["model"] == "basic"
    assert repr(run) == f"Run({str(run.path)!r}: basic on optdigits)"


@pytest.mark.parametrize("config", [None, "{}", "[1]", '{"name": "another program"}', "{"])
@pytest.mark.parametrize("force", [False, True])
def test_a_folder_that_is_no_run_is_never_touched(force, config, tmp_path):
    (tmp_path / "holiday.png").write_text("mine")
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(FileExistsError, match="is not a run folder" if force else "exists already"):
        Run.create(tmp_path, CONFIG, force=force)
    assert (tmp_path / "holiday.png").read_text() == "mine"
    assert config is None or (tmp_path / "config.json").read_text() == config


def test_an_empty_folder_may_be_used(tmp_path):
    assert Run.create(tmp_path, CONFIG).path == tmp_path


def test_folders_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="file exists and is a file: give another --out"):
        Run.create(tmp_path / "file", CONFIG)
    with pytest.raises(
        OSError, match=r"cannot make the run folder .*sub: Not a directory; a part of the path is a file"
    ):
        Run.create(tmp_path / "file" / "sub", CONFIG)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").touch()
    with pytest.raises(OSError, match="cannot make the run folder runs"):
        Run.create(None, CONFIG)


def test_a_folder_without_permission(tmp_path, monkeypatch):
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "touch", denied)
    with pytest.raises(
        OSError, match=r"cannot write into the run folder .*: Permission denied; change the permissions, or"
    ):
        Run.create(tmp_path, CONFIG)
    monkeypatch.setattr(Path, "mkdir", denied)
    with pytest.raises(
        OSError, match=r"cannot make the run folder .*run: Permission denied; change the permissions, or"
    ):
        Run.create(tmp_path / "run", CONFIG)


@pytest.mark.parametrize(("content", "error", "words"), [
    (None, FileNotFoundError, "is not a run folder"),
    ("{", ValueError, "config.json is damaged"),
    ("\xff\xfe", ValueError, "config.json is damaged"),
    ('{"model": "basic"}', ValueError, "lacks the entries 'model' and 'data'"),
    ("3", ValueError, "lacks the entries"),
])  # fmt: skip
def test_folders_that_cannot_be_opened(content, error, words, tmp_path):
    if content is not None:
        (tmp_path / "config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(error, match=words):
        Run.open(tmp_path)


def losses_of(model: Autoencoder) -> dict[str, float]:
    labels = np.arange(len(FLAT)) % 3
    return evaluate(model, Split(FLAT, labels))


FLAT = X.reshape(-1, 64)[:40]
CHANGED: dict[str, tuple[str, dict, dict]] = {
    "a number": ("vae", {}, {"beta": 4.0}),
    "several": ("sparse", {}, {"beta": 1.5, "rho": 0.2, "weight_decay": 0.0}),
    "a word": ("sparse", {}, {"sparsity": "l1"}),
    "of a part": ("denoising", {}, {"noise.rate": 0.7}),
    "the loss": ("basic", {}, {"reconstruction": models.reconstruction_named("huber"), "loss_unit": "Huber error"}),
    "the activation of a layer": ("basic", {}, {"encoder.layers.0.activation": "tanh"}),
    "of an object": ("vae", {"likelihood": "gaussian", "scale": 0.2}, {"likelihood.scale": 0.4}),
    "whole numbers": ("vae", {"importance_samples": 2}, {"importance_samples": 3}),
    "all of a class-conditional model": ("cvae", {"classes": 3}, {"beta": 0.0, "free_bits": 0.5, "sample_name": "row"}),
}


def changed(name: str, arguments: dict[str, object], settings: dict[str, object]) -> Autoencoder:
    model = build(name, {"input_shape": 64, **arguments}, np.random.default_rng(0))
    for place, value in settings.items():
        *path, last = place.split(".")
        owner = model
        for step in path:
            owner = owner[int(step)] if step.isdigit() else getattr(owner, step)
        setattr(owner, last, value)
    return model


@pytest.mark.parametrize(("name", "arguments", "settings"), CHANGED.values(), ids=CHANGED)
def test_a_file_loads_as_what_was_saved(name, arguments, settings, tmp_path):
    """`evaluate` draws the same noise at every call, so equal models have equal losses."""
    model = changed(name, arguments, settings)
    first = load(save(model, tmp_path / "first"))
    assert losses_of(first) == losses_of(model) != losses_of(changed(name, arguments, {}))
    assert (repr(first), first.loss_unit) == (repr(model), model.loss_unit)
    again = load(save(first, tmp_path / "again"))
    assert losses_of(again) == losses_of(model)
    fit(first, Split(FLAT, np.arange(40) % 3), epochs=1, progress=False)
    assert losses_of(load(save(first, tmp_path / "trained"))) == losses_of(first)


def replaced(model: Autoencoder, part: str) -> Autoencoder:
    if part == "encoder":
        model.encoder = nn.Sequential(nn.Dense(64, 32), nn.LayerNorm(32))
    elif part == "layer":
        model.encoder.layers.append(nn.Tanh())
    elif part == "sizes":
        model.encoder.layers[-1] = nn.Dense(64, 5)
        model.decoder.layers[0] = nn.Dense(5, 64)
    elif part == "bias":
        model.encoder.layers[0].bias = None
    elif part == "tying":
        model.decoder.layers[0] = nn.TiedDense(model.encoder.layers[0])
    else:
        model.forward = lambda x: x
    return model


@pytest.mark.parametrize("part", ["encoder", "layer", "sizes", "bias", "tying", "forward"])
def test_a_model_with_a_part_replaced_is_saved_without_a_recipe(part, tmp_path):
    model = replaced(basic_autoencoder(64), part)
    words = r"no longer what its builder makes \(.*load them with tinyae.load\(path, model="
    with pytest.warns(UserWarning, match=words):
        path = save(model, tmp_path / "m")
    with pytest.raises(ValueError, match="no recipe to build the model"):
        load(path)
    back = load(path, replaced(basic_autoencoder(64), part))
    assert_equal(back.state_dict(), model.state_dict())


class Picked(nn.Module):
    """Two of the features, chosen by whole numbers, of the samples that are not masked."""

    def __init__(self) -> None:
        self.layer, self.order, self.mask = nn.Dense(2, 2), Tensor(np.array([2, 0])), Tensor(np.array([True, False]))


def test_buffers_of_whole_numbers_come_back_and_whole_numbers_in_place_of_weights_do_not(tmp_path):
    model, other = Picked(), Picked()
    other.order.data = np.array([0, 1])
    load(save(model, tmp_path / "m.safetensors"), other)
    assert_array_equal(other.order.data, [2, 0])
    state = ModuleState.of(model)
    state.restore(other)
    state.arrays["layer.bias"] = np.array([1, 2])
    before = other.state_dict()
    with pytest.raises(ValueError, match=r"layer\.bias holds int64, expected floating-point"):
        state.restore(other)
    assert_equal(other.state_dict(), before)


def test_the_dtype_comes_back_too(tmp_path):
    model = basic_autoencoder(64).to(dtype="float64")
    back = load(save(model, tmp_path / "m"))
    assert back.dtype == np.float64
    assert_equal(back.state_dict(), model.state_dict())
    assert losses_of(back) == losses_of(model)


def test_training_and_evaluation_change_nothing_that_a_recipe_does_not_know(tmp_path):
    for name in MODELS:
        model, x = build_small(name), small_batch(name)
        samples = Split(x, class_numbers(name, x))
        fit(model, samples, epochs=2, progress=False)
        back = load(save(model, tmp_path / name))
        assert repr(back) == repr(model)
        assert evaluate(back, samples) == evaluate(model, samples)
