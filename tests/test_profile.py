"""`profile`: the time of sleeping is in the row that slept, calls and bytes are those counted by hand, nothing changes."""

import mmap
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tinyae as ta
from tinyae import Tensor, nn, ops, primitive

NAP, LEAST = 0.02, 0.019  # some clocks are coarse


@primitive
def nap(x):
    time.sleep(NAP)
    np.frombuffer(mmap.mmap(-1, 8 << 20), "uint8")[:: mmap.PAGESIZE] = 1
    return x * 1.0


@nap.vjp(0)
def _(g, out, x):
    time.sleep(2 * NAP)
    return nap(g)


class Napping(nn.Module):
    forward = staticmethod(nap)


@pytest.mark.parametrize(("create_graph", "naps"), [(False, 3), (True, 2)])
def test_each_moment_is_in_the_row_that_took_it(create_graph, naps):
    model, x, start = nn.Sequential(nn.Tanh(), Napping()), Tensor(np.ones(3), requires_grad=True), time.perf_counter()
    with ta.profile() as measured:
        model(x).sum().backward(create_graph=create_graph)
        time.sleep(4 * NAP)
    wall, all_rows = time.perf_counter() - start, [*measured.rows, measured.other, measured.overhead]
    assert sum(row.seconds for row in all_rows) <= wall
    rows = {row.phase: row for row in measured.rows if row.layer == "Sequential.1 (Napping)"}
    assert rows["backward"].seconds >= naps * LEAST
    assert rows["forward"].seconds >= (4 - naps) * LEAST  # on Tensors, the nap in a rule is an operation again
    assert measured.other.seconds >= 4 * LEAST
    pytest.importorskip("resource")
    assert rows["forward"].page_faults >= 4  # pages of 2 MB at most


def test_calls_and_bytes_are_those_of_the_steps_and_weights_those_without(device):
    def weights():
        model = ta.models.basic_autoencoder(6, 3, generator=np.random.default_rng(0)).to(device.name)
        ta.fit(model, np.full((12, 6), 0.3, "float32"), epochs=2, batch_size=4, progress=False)
        return [parameter.numpy().tobytes() for parameter in model.parameters()]

    with ta.profile() as measured:
        watched = weights()
    assert watched == weights()
    dense = sorted((row.layer, row.phase, row.calls, row.bytes) for row in measured.rows if row.operation == "dense")
    numbers = [4 * 3 + 3 * 6 + 6, 4 * 6, 6 * 3 + 3, 4 * 3]  # of the decoder's gradients and results, of the encoder's
    assert [row[2:] for row in dense] == [(6, 6 * 4 * n) for n in numbers]


def test_blocks_nest_outlive_errors_and_see_one_thread():
    y = nn.Tanh()(Tensor(1.0, requires_grad=True))
    with ta.profile() as outer, pytest.raises(TypeError), ta.profile() as inner:  # noqa: PT012
        assert "(no operation)" in str(inner)
        ThreadPoolExecutor().submit(ops.exp, Tensor(1.0)).result()
        y.backward()
        ops.log(None, y)
    assert not ta.autodiff.observers()
    assert [[(row.operation, row.layer) for row in block.rows] for block in (inner, outer)] == [[("tanh", "")]] * 2


def test_rows_wait_for_the_device_and_the_table_is_short_aligned_and_complete(monkeypatch):
    device = ta.testing.strict_device()
    monkeypatch.setattr(device, "synchronize", lambda: time.sleep(NAP / 10))
    net, x = nn.Sequential(*[nn.Tanh() for _ in range(20)]), Tensor(device.to_device(np.ones(3)), requires_grad=True)
    with ta.profile(net) as measured:
        for layer in net.layers:
            x = layer(x)
        x.sum().backward()
    assert measured.rows[-1].seconds >= LEAST / 10
    assert measured.overhead.seconds >= 42 * 2 * LEAST / 10
    title, *lines = str(measured).replace(",", "").splitlines()
    assert (len(lines), len({*map(len, str(measured).splitlines()[1:])}), lines[-2][:11]) == (19, 1, "and 26 more")
    sums = [sum(float(line.split()[column].strip("%")) for line in lines[1:]) for column in (-5, -4, -3)]
    assert sums == pytest.approx([42, float(title.split()[0]), 100], abs=0.6)
