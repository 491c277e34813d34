"""The memory: codes by number, gradients into them, recall, and the way from a table to an encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng as seeded
from numpy.testing import assert_allclose, assert_array_equal

from tests.test_conv import written
from tinyae import data, fit, nn, optim, save
from tinyae.autodiff import Tensor
from tinyae.data import Split
from tinyae.models import Autoencoder, Batch, ImageMemory, build, image_memory, interpolate
from tinyae.training import Run, evaluate
from tinyae.training.pictures import draw_memory

DIGITS = data.load("optdigits")
COUNT, K = 7, 3
every_kind = pytest.mark.parametrize("codes", ["ones", "one-hot", "learned"])


def small(codes: str = "learned", count: int = COUNT, **options) -> ImageMemory:
    """A memory of vectors of 5 numbers with a float64 decoder K-4-5 and codes away from 0."""
    options = {"loss": "squared_error", "code_size": None if codes == "one-hot" else K, **options}
    memory = image_memory(5, count, codes=codes, hidden_sizes=(4,), generator=seeded(1), **options)
    rng = seeded(2)
    for parameter in memory.to(dtype="float64").parameters():
        parameter.data = parameter.data + rng.standard_normal(parameter.shape)
    return memory


def decoded(memory: ImageMemory, codes: np.ndarray) -> np.ndarray:
    """The decoder written out."""
    w1, b1, w2, b2 = [p.numpy() for p in memory.decoder.parameters()]
    return np.maximum(codes @ w1 + b1, 0) @ w2 + b2


@every_kind
def test_the_codes_before_training(codes):
    count = 1 if codes == "ones" else 40
    memory = image_memory(5, count, codes=codes, code_size=None if codes == "one-hot" else 30, generator=seeded(0))
    table = memory.encode(np.arange(count))
    if codes == "ones":
        assert_array_equal(table, np.ones((1, 30)))
    elif codes == "one-hot":
        assert_array_equal(table, np.eye(40))
    else:
        # 1,200 draws with standard deviation 0.01: the estimate of it has a standard error of 2 %.
        assert table.std() == pytest.approx(0.01, rel=0.08)
        assert abs(table.mean()) < 4 * 0.01 / np.sqrt(1200)
    names = [name for name, _ in memory.named_parameters()]
    assert ("encoder.table" in names) == (codes == "learned")
    assert table.dtype == np.float32


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32"])
def test_a_number_of_any_dtype_calls_its_code(dtype):
    memory = small()
    table = memory.encoder.table.numpy()
    index = np.array([4, 0, 4, 6], dtype)
    assert_array_equal(memory.encode(index), table[[4, 0, 4, 6]])
    assert_array_equal(memory.encode(Tensor(index)).data, table[[4, 0, 4, 6]])


def test_large_numbers_are_exact_in_float32():
    """Numbers travel as floats: the largest of a big table must not be rounded to another."""
    memory = ImageMemory(nn.Dense(1, 2), "learned", 70_001, 1)
    memory.encoder.table.data = np.arange(70_001, dtype="float32")[:, None]
    numbers = memory.batch(Split(np.zeros((70_001, 2), "float32"))).x
    assert numbers.dtype == np.float32
    assert_array_equal(memory.encode(numbers)[:, 0], np.arange(70_001))


@every_kind
def test_the_loss_compares_each_number_with_its_own_sample(codes, rng):
    count = 1 if codes == "ones" else COUNT
    memory = small(codes, count)
    samples = rng.normal(size=(count, 5))
    table = {"ones": np.ones((1, K)), "one-hot": np.eye(count)}.get(codes)
    table = memory.encoder.table.numpy() if table is None else table
    order = rng.permutation(count)
    found = memory.loss(Batch(Tensor(order), Tensor(samples[order])))
    assert found.item() == pytest.approx(np.square(decoded(memory, table) - samples).sum() / count, rel=1e-12)
    assert found.unit == "squared error per image"
    if count > 1:
        wrong = memory.loss(Batch(Tensor(order), Tensor(samples)))
        assert wrong.item() != pytest.approx(found.item(), rel=1e-3)


@pytest.mark.parametrize("index", [[0, 1, 2], [5, 2], [3, 3, 3, 1], [6]])
def test_the_gradient_into_a_code_equals_finite_differences(index, rng):
    """Also where a number is asked for more than once, whose contributions add up, and for the codes not asked for."""
    memory = small()
    samples = rng.normal(size=(len(index), 5))
    asked, target = Tensor(np.array(index)), Tensor(samples)
    memory.loss(Batch(asked, target)).backward()
    table = memory.encoder.table
    found, start, step = table.grad.data.copy(), table.numpy().copy(), 1e-6
    for place in np.ndindex(start.shape):
        ends = []
        for sign in (step, -step):
            moved = start.copy()
            moved[place] += sign
            ends.append(np.square(decoded(memory, moved[index]) - samples).sum() / len(index))
        assert found[place] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6, abs=1e-8)
    assert_array_equal(np.flatnonzero(np.abs(found).sum(axis=1)), np.unique(index))


def test_one_hot_codes_with_a_linear_first_layer_are_learned_codes(rng):
    """Row i of the first weight matrix is what one-hot code i looks up: the same function, the same gradient."""
    one_hot = ImageMemory(
        nn.Dense(COUNT, K, bias=False, dtype="float64"), "one-hot", COUNT, COUNT, loss="squared_error"
    )
    learned = ImageMemory(nn.Identity(), "learned", COUNT, K, loss="squared_error").to(dtype="float64")
    learned.encoder.table.data = one_hot.decoder.weight.numpy().copy()
    index, samples = Tensor(np.array([2, 5, 2])), Tensor(rng.normal(size=(3, K)))
    one, other = one_hot.loss(Batch(index, samples)), learned.loss(Batch(index, samples))
    assert one.item() == pytest.approx(other.item(), rel=1e-13)
    one.backward()
    other.backward()
    assert_allclose(one_hot.decoder.weight.grad.data, learned.encoder.table.grad.data, rtol=1e-12)


def test_the_convolutional_decoder_written_out(rng):
    """A dense layer to the smallest maps, then every input writes its windows."""
    memory = image_memory((6, 5, 2), 3, code_size=4, decoder="conv", channels=(3, 2), generator=seeded(0))
    for p in memory.parameters():
        p.data = rng.normal(0, 0.5, p.shape).astype("float32")
    dense, _, *convolutions = memory.decoder
    codes = memory.encoder.table.numpy()
    for i in range(3):
        maps = np.maximum(codes[i] @ dense.weight.numpy() + dense.bias.numpy(), 0).reshape(2, 2, 2)
        raw = written(np.maximum(written(maps, convolutions[0], (3, 3)), 0), convolutions[1], (6, 5))
        assert_allclose(memory.recall(i), 1 / (1 + np.exp(-raw)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "decoder",
    [{}, pytest.param({"decoder": "conv", "channels": (16, 32)}, marks=pytest.mark.thorough)],
    ids=["dense", "conv"],
)
@every_kind
def test_a_memory_learns_by_heart(codes, decoder):
    count = 1 if codes == "ones" else 10
    samples = DIGITS.train.x[:count]
    memory = image_memory((8, 8, 1), count, codes=codes, loss="squared_error", generator=seeded(0), **decoder)
    optimizer = optim.Adam(memory.parameters(), lr=0.01)
    history = fit(memory, samples, samples, epochs=200, batch_size=5, optimizer=optimizer, progress=False)
    assert history["train_loss"][-1] < 0.01 < 5 < history["train_loss"][0]
    assert history["validation_loss"][-1] == evaluate(memory, samples)["loss"]
    for i in range(count):
        assert np.square(memory.recall(i) - samples[i]).sum() < 0.02
    # Each number has its own image: a neighbor's is far from it.
    if count > 1:
        assert np.square(memory.recall(0) - samples[1]).sum() > 1


def test_fit_pairs_each_sample_with_its_number_in_any_order(rng):
    """One epoch of plain gradient steps of size 1 against the same steps by hand, in the order that the seed gives."""
    samples = rng.normal(size=(COUNT, 5)).astype("float32")
    memory = small()
    memory.to(dtype="float32")
    memory.decoder.freeze()
    table = memory.encoder.table.numpy().astype("float64")
    w1, b1, w2, b2 = [p.numpy().astype("float64") for p in memory.decoder.parameters()]
    trainable = [memory.encoder.table]
    fit(memory, samples, epochs=1, batch_size=3, seed=4, optimizer=optim.SGD(trainable, lr=0.1), progress=False)
    order = seeded(4).permutation(COUNT)
    for start in range(0, COUNT, 3):
        chosen = order[start : start + 3]
        hidden = table[chosen] @ w1 + b1
        slope = 2 * (np.maximum(hidden, 0) @ w2 + b2 - samples[chosen]) / len(chosen)
        table[chosen] -= 0.1 * ((slope @ w2.T) * (hidden > 0)) @ w1.T
    assert_allclose(memory.encoder.table.numpy(), table, rtol=1e-4, atol=1e-5)


def test_the_full_batch_optimizer_takes_a_memory_too():
    samples = DIGITS.train.x[:10]
    memory = image_memory((8, 8, 1), 10, codes="one-hot", loss="squared_error", generator=seeded(0))
    optimizer = optim.LBFGS(memory.parameters())
    assert fit(memory, samples, epochs=200, optimizer=optimizer, progress=False)["train_loss"][-1] < 0.01


def test_recall_takes_one_number_or_several():
    memory = small()
    table = memory.encoder.table.numpy()
    everything = decoded(memory, table)
    assert_allclose(memory.recall(3), everything[3], rtol=1e-12)
    assert memory.recall(np.int64(3)).shape == (5,)
    assert_allclose(memory.recall([6, 0]), everything[[6, 0]], rtol=1e-12)
    assert_allclose(memory.recall(range(COUNT)), everything, rtol=1e-12)
    assert_allclose(memory.decode(table), everything, rtol=1e-12)


def test_interpolation_walks_a_straight_line_between_two_codes():
    memory = small()
    table = memory.encoder.table.numpy()
    path = memory.decode(interpolate(*memory.encode(np.array([1, 4])), steps=5))
    for step, t in enumerate((0, 0.25, 0.5, 0.75, 1)):
        assert_allclose(path[step], decoded(memory, (1 - t) * table[1] + t * table[4]), rtol=1e-10)
    assert_allclose(path[[0, -1]], memory.recall([1, 4]), rtol=1e-12)
    assert interpolate(table[2], table[2]).shape == (8, K)


def test_an_encoder_in_place_of_the_table_makes_an_autoencoder(rng):
    memory = small()
    encoder = nn.Dense(5, K, dtype="float64")
    model = memory.with_encoder(encoder)
    assert type(model) is Autoencoder
    assert model.decoder is memory.decoder
    assert model.loss_unit == memory.loss_unit
    # An encoder that gives the table's codes gives the table's loss: the curve goes on where it was.
    samples = np.concatenate([np.eye(5), rng.normal(size=(COUNT - 5, 5))])[: K + 1]
    weights, *_ = np.linalg.lstsq(np.c_[samples, np.ones(len(samples))], memory.encode(np.arange(K + 1)), rcond=None)
    encoder.weight.data, encoder.bias.data = weights[:5], weights[5]
    assert_allclose(model.encode(samples), memory.encode(np.arange(K + 1)), atol=1e-9)
    assert evaluate(model, samples)["loss"] == pytest.approx(evaluate(memory, samples)["loss"], rel=1e-9)
    # And it takes what the memory cannot: any number of samples it has never seen.
    assert model.reconstruct(rng.normal(size=(100, 5))).shape == (100, 5)


@pytest.mark.parametrize(("make", "error", "told"), [
    (lambda: ImageMemory(nn.Identity(), "names", 3, 3), ValueError, "unknown codes 'names': did you mean ones"),
    (lambda: image_memory(4, codes="names"), ValueError, "unknown codes 'names'"),
    (lambda: image_memory(4, decoder="rnn"), ValueError, "unknown decoder 'rnn': choose one of dense, conv"),
    (lambda: image_memory(4, decoder="conv"), ValueError, r"takes images \(H, W, C\), got samples of shape \(4,\)"),
    (lambda: image_memory((4, 4, 1), decoder="conv", hidden_sizes=(3,)), ValueError, "write channels="),
    (lambda: image_memory(4, channels=(3,)), ValueError, "a dense decoder has hidden_sizes, got channels="),
    (lambda: ImageMemory(nn.Identity(), "ones", 3, 3), ValueError, "ones is the same for all of 3 samples.*count=1"),
    (lambda: ImageMemory(nn.Identity(), "one-hot", 3, 4), ValueError, "one-hot codes of 3 samples have 3 numbers"),
    (lambda: ImageMemory(nn.Identity(), "learned", 3, 0), ValueError, "code_size must be a whole number of at least 1"),
    (lambda: ImageMemory(nn.Identity(), "learned", 0, 2), ValueError, "count must be a whole number of at least 1"),
    (lambda: ImageMemory(nn.Identity(), "learned", 2.5, 2), ValueError, "count must be a whole number"),
    (lambda: ImageMemory(nn.Identity(), "learned", 3, 2, generator=1), TypeError, r"default_rng\(seed\)"),
    (lambda: small().recall(7), ValueError, "holds images 0 to 6, got numbers .* 0 to 7: give"),
    (lambda: small().recall([0, -1]), ValueError, r"holds images 0 to 6, got numbers .* -1 to 0: give"),
    (lambda: small().recall(1.5), TypeError, "sample numbers must be integers, got 1.5"),
    (lambda: small().encode([-1]), ValueError, "holds images 0 to 6, got numbers .* -1 to 0: give"),
    (lambda: small().reconstruct([0.5]), ValueError, "give whole numbers"),
    (lambda: small().encode([True]), ValueError, "give whole numbers"),
    (lambda: interpolate(np.zeros(2), np.ones(3)), ValueError, r"got shapes \(2,\) and \(3,\)"),
    (lambda: interpolate(np.zeros((2, 2)), np.ones((2, 2))), ValueError, "two codes"),
    (lambda: evaluate(small(), np.ones((7, 5)), batch_size=0), ValueError, "batch_size must be a whole number of at least 1"),
    (lambda: interpolate(np.zeros(2), np.ones(2), steps=1), ValueError, "steps must be a whole number of at least 2"),
    (lambda: small().loss(Tensor(np.arange(3))), ValueError, r"keeps no copy.*loss\(Batch\(numbers, samples\)\)"),
    (lambda: fit(small(), np.ones((8, 5)), progress=False), ValueError, r"codes for 7 images, got 8: give it x\[:7\]"),
    (lambda: evaluate(small(), np.ones((8, 5))), ValueError, "or make it with count=8"),
    (lambda: fit(small(), np.ones((7, 4)), progress=False), ValueError, "must be equal"),
])  # fmt: skip
def test_mistakes_are_told_with_the_fix(make, error, told):
    with pytest.raises(error, match=told):
        make()


def test_pictures_of_images_and_of_other_samples(tmp_path):
    memory = image_memory((8, 8, 1), 12)
    assert [file.name for file in draw_memory(memory, DIGITS, tmp_path)] == ["recalled.png", "between.png"]
    one = image_memory((8, 8, 1), codes="ones")
    assert [file.name for file in draw_memory(one, small_data(1), tmp_path)] == ["recalled.png"]
    taxi = data.load("nyc-taxi")
    windows = image_memory(taxi.example_shape, len(taxi.train), loss="squared_error")
    assert [file.name for file in draw_memory(windows, taxi, tmp_path)] == ["recalled.png"]


def small_data(count: int) -> data.Dataset:
    """The first digits only."""
    few = data.Split(DIGITS.train.x[:count], DIGITS.train.y[:count])
    return data.Dataset("few", "a few digits", "images", few, DIGITS.test)


@pytest.mark.parametrize(("options", "count", "pictures"), [
    ("--codes ones --epochs 3", 1, {"loss.png", "recalled.png"}),
    ("--codes one-hot --count 12 --epochs 3 --loss squared_error", 12, {"loss.png", "recalled.png", "between.png"}),
    ("--epochs 3 --hidden-sizes 20,30 --code-size 4", 100, {"loss.png", "recalled.png", "between.png"}),
    ("--epochs 3 --decoder conv --channels 4,4", 100, {"loss.png", "recalled.png", "between.png"}),
])  # fmt: skip
def test_the_command_from_end_to_end(options, count, pictures, tmp_path, tinyae, unpainted):
    told = tinyae("train memory --data optdigits", options)
    assert f"({count:,} training images" in told
    assert "there is no test set" in told
    folder = tmp_path / "runs" / "memory-optdigits"
    assert {file.name for file in folder.glob("*.png")} == pictures
    memory = Run.open(folder).model()
    assert memory.count == count
    measured = evaluate(memory, DIGITS.train.x[:count])["squared_error"]
    (line,) = [line for line in told.splitlines() if line.startswith("squared error  ")]
    assert float(line.split()[2]) == pytest.approx(measured, rel=1e-4)


@pytest.mark.parametrize("command", ["evaluate run", "encode run --out codes.npy", "reconstruct run"])
def test_commands_for_new_samples_say_what_a_memory_is(command, tmp_path, refused):
    run = Run.create(tmp_path / "run", {"model": "memory", "data": "optdigits"})
    save(build("memory", {"input_shape": [8, 8, 1], "count": 3}), run.path / "model.safetensors")
    assert "holds a memory, which reproduces only its 3 training samples" in refused(command)
    assert not Path("codes.npy").exists()


def test_codes_between_whole_numbers_are_no_whole_numbers():
    """A path of the dtype of the ends would stay at the first one until the last step."""
    expected = [[0.0, 2.0], [0.5, 1.0], [1.0, 0.0]]
    for first, second in ((np.array([0, 2]), np.array([1, 0])), ([0, 2], [1, 0]), ([0.0, 2.0], [1.0, 0.0])):
        assert_array_equal(interpolate(first, second, 3), expected)
