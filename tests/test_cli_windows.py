"""Recordings on the command line: cut when trained on, cut the same way when measured, and drawn with their scores."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tinyae import data

QUICK = "--loss squared_error --epochs 1 --batch-size 64 --out run"


@pytest.fixture
def recording(tmp_path, rng):
    """A sine with a fault near its end, one value a minute, in a file of the user's own."""
    values = np.sin(np.arange(600) / 5.0) + 0.01 * rng.standard_normal(600)
    values[560:565] += 5.0
    start = np.datetime64("2021-03-01T00:00")
    lines = [f"{start + np.timedelta64(n, 'm')},{value:.4f}" for n, value in enumerate(values)]
    (tmp_path / "heat.csv").write_text("time,heat\n" + "\n".join(lines) + "\n")
    return tmp_path


def test_a_recording_of_the_users_is_cut_and_its_fault_is_found(recording, tinyae):
    told = tinyae("train deep --data heat.csv --window 30 --stride 10 --sizes 8,2", QUICK)
    assert "46 training and 10 test windows of 30 x 1" in told
    assert json.loads((recording / "run" / "config.json").read_text())["windows"] == {"length": 30, "stride": 10}
    assert "2021-03-01 09:" in tinyae("anomalies run")  # minute 540 and after
    assert (recording / "run" / "anomalies.png").exists()
    assert (recording / "run" / "anomalies_worst.png").exists()
    assert "10 test windows" in tinyae("evaluate run")


def test_other_data_that_are_windows_already_are_not_cut_again(recording, tinyae, rng):
    tinyae("train basic --data heat.csv --window 30 --time time", QUICK)
    np.save("cut.npy", rng.standard_normal((20, 30, 1)).astype("float32"))
    assert "20 new windows" in tinyae("evaluate run --data cut.npy")
    assert "343 new windows" in tinyae("evaluate run --data nyc-taxi")  # a recording, so it is cut as the run's was


def test_an_embedded_recording_is_cut_anew(tinyae):
    told = tinyae("train basic --data nyc-taxi --window 96 --stride 48", QUICK)
    assert "120 training and 93 test windows of 96 x 1" in told
    tinyae("anomalies run")


@pytest.mark.parametrize(("command", "says"), [
    ("basic --data heat.csv --stride 3", "add --window L"),
    ("basic --data heat.csv --window 30 --time when", "no column 'when'"),
    ("basic --data heat.csv --window 900", "does not fit into the training part"),
    ("basic --data heat.csv --window 30 --horizon 5", "this model does not predict"),
    ("basic --data nyc-taxi --window 30 --time t", "leave it out"),
    ("basic --data pendigits --window 4", "is not a recording"),
    ("lstm --data heat.csv --window 30 --horizon 500 --mode predict", "horizon of 500 steps is longer"),
    ("lstm --data heat.csv --window 30 --horizon 5", "this model does not predict"),
    ("lstm --data heat.csv --window 30 --horizon 5 --future-steps 4 --mode composite", "contradict each other"),
    ("lstm --data heat.csv --window 30 --teacher-epochs 3", "add --conditional --feeding scheduled"),
    ("lstm --data heat.csv --window 30 --teacher-epochs 3 --conditional --feeding own", "add --conditional"),
    ("lstm --data heat.csv --window 30 --dropout 0.5", "there is only one: add --layers 2"),
    ("lstm --data heat.csv --window 30 --conditional --feeding scheduled --optimizer lbfgs", "changes from epoch to epoch"),
])  # fmt: skip
def test_what_cannot_be_cut_or_would_do_nothing_is_refused(recording, refused, command, says):
    assert says in refused("train", command, "--loss squared_error --epochs 1 --out run")
    assert not (recording / "run").exists()


def test_sequences_of_unequal_length_are_predicted_by_a_quarter_of_the_shortest(tmp_path, tinyae, refused, rng):
    lengths = rng.integers(5, 13, 60)
    lengths[-1] = 12
    x = np.where(np.arange(12)[:, None] < lengths[:, None, None], rng.random((60, 12, 2)), 0.0).astype("float32")
    np.savez("s.npz", x=x, lengths=lengths)
    small = "train lstm --data s.npz --hidden-size 4 --epochs 1 --mode composite"
    tinyae(small, "--out run")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["arguments"]["future_steps"] == 1
    assert "lengths must exceed the 6 steps to predict" in refused(small, "--future-steps 6 --out no")
    assert not (tmp_path / "no").exists()


def test_a_run_is_found_and_used_from_elsewhere_and_on_sequences_of_another_length(
    tmp_path, monkeypatch, tinyae, refused, rng
):
    (tmp_path / "there").mkdir()
    for name, steps, features in (("s", 6, 2), ("longer", 9, 2), ("wider", 6, 3)):
        np.save(f"{name}.npy", rng.random((40, steps, features)).astype("float32"))
    tinyae("train lstm --data s.npy --hidden-size 4 --epochs 1 --out run")
    monkeypatch.chdir(tmp_path / "there")
    tinyae("evaluate ../run")
    for command in ("evaluate", "reconstruct", "anomalies"):
        tinyae(command, "../run --data ../longer.npy")
    told = refused("evaluate ../run --data ../wider.npy")
    assert "has samples of shape (6, 3), but this model was trained on (6, 2)" in told


def test_a_recording_is_looked_at_before_it_is_cut(recording, tinyae):
    told = tinyae("data heat.csv")
    assert "heat.csv: a recording of 600 steps of 1" in told
    assert "2021-03-01 00:00:00 to 2021-03-01 09:59:00, one step every 60 s" in told
    assert "16 of 30 x 1" in tinyae("data heat.csv --window 30")


def test_a_column_of_times_may_be_named_by_its_number(tmp_path, tinyae):
    (tmp_path / "seconds.csv").write_text("t,v\n" + "".join(f"{n},{n % 7}\n" for n in range(60)))
    assert "v in [0, 6]" in tinyae("data seconds.csv --time 0")
    assert "9 of 5 x 1" in tinyae("data seconds.csv --time 0 --window 5")
    assert "(vectors)" in tinyae("data seconds.csv")


def test_other_recordings_are_scaled_and_judged_as_the_runs_own(recording, tinyae):
    """A recording ten times as wide is ten times as wide to the model too, and nothing of it is usual."""
    tinyae("train basic --data heat.csv --window 30 --code-size 4", QUICK)
    config = json.loads((recording / "run" / "config.json").read_text())
    values = np.loadtxt("heat.csv", delimiter=",", skiprows=1, usecols=1)
    offset, scale, method = config["schema"]["scaler"]
    np.testing.assert_allclose([offset[0], scale[0]], [values[:480].mean(), values[:480].std()], rtol=1e-6)
    assert method == "standard"
    lines = (recording / "heat.csv").read_text().splitlines()
    wide = [lines[0]] + [f"{line.split(',')[0]},{10 * float(line.split(',')[1]):.4f}" for line in lines[1:]]
    (recording / "wide.csv").write_text("\n".join(wide) + "\n")
    threshold = tinyae("anomalies run").splitlines()[1].split(":")[0]
    told = tinyae("anomalies run --data wide.csv")
    assert threshold in told  # that of the run's own training windows
    assert "20 of 20 wide.csv windows are above it" in told
    assert (recording / "run" / "anomalies_wide.png").exists()
    assert (recording / "run" / "anomalies_wide_worst.png").exists()
    assert threshold in tinyae("anomalies run --data heat.csv")


def test_a_fitted_scaler_is_taken_as_it_is(rng):
    series = rng.normal(20.0, 3.0, (60, 2))
    first = data.windows(series, 5)
    again = data.windows(10 * series, 5, scaling=first.scaler)
    np.testing.assert_allclose(again.measured(again.train.x[0]), 10 * series[:5], rtol=1e-5)
    assert again.scaler is first.scaler
    with pytest.raises(ValueError, match="a scaler of 2 features does not fit a series of 1"):
        data.windows(series[:, 0], 5, scaling=first.scaler)
