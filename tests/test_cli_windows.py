"""Recordings on the command line: cut when trained on, cut the same way when measured, and drawn with their scores."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tinyae import data
from tinyae.cli.main import main

QUICK = ["--loss", "squared_error", "--epochs", "1", "--batch-size", "64"]


@pytest.fixture
def recording(tmp_path, monkeypatch, rng):
    """A sine with a fault near its end, one value a minute, in a file of the user's own."""
    monkeypatch.chdir(tmp_path)
    values = np.sin(np.arange(600) / 5.0) + 0.01 * rng.standard_normal(600)
    values[560:565] += 5.0
    start = np.datetime64("2021-03-01T00:00")
    lines = [f"{start + np.timedelta64(n, 'm')},{value:.4f}" for n, value in enumerate(values)]
    (tmp_path / "heat.csv").write_text("time,heat\n" + "\n".join(lines) + "\n")
    return tmp_path


def test_a_recording_of_the_users_is_cut_and_its_fault_is_found(recording, capsys):
    command = [
        "train",
        "deep",
        "--data",
        "heat.csv",
        "--window",
        "30",
        "--stride",
        "10",
        "--sizes",
        "8,2",
        "--out",
        "run",
    ]
    assert main([*command, *QUICK]) == 0
    assert "46 training and 10 test windows of 30 x 1" in capsys.readouterr().out
    assert json.loads((recording / "run" / "config.json").read_text())["windows"] == {"length": 30, "stride": 10}
    assert main(["anomalies", "run"]) == 0
    told = capsys.readouterr().out
    assert "2021-03-01 09:" in told  # minute 540 and after
    assert (recording / "run" / "anomalies.png").exists()
    assert (recording / "run" / "anomalies_worst.png").exists()
    assert main(["evaluate", "run"]) == 0
    assert "10 test windows" in capsys.readouterr().out


def test_other_data_that_are_windows_already_are_not_cut_again(recording, capsys, rng):
    assert (
        main(["train", "basic", "--data", "heat.csv", "--window", "30", "--time", "time", "--out", "run", *QUICK]) == 0
    )
    np.save("cut.npy", rng.standard_normal((20, 30, 1)).astype("float32"))
    capsys.readouterr()
    assert main(["evaluate", "run", "--data", "cut.npy"]) == 0
    assert "2 test" in capsys.readouterr().out
    assert main(["evaluate", "run", "--data", "nyc-taxi"]) == 0  # a recording, so it is cut as the run's was
    assert "test windows" in capsys.readouterr().out


def test_an_embedded_recording_is_cut_anew(recording, capsys):
    assert (
        main(["train", "basic", "--data", "nyc-taxi", "--window", "96", "--stride", "48", "--out", "run", *QUICK]) == 0
    )
    assert "120 training and 93 test windows of 96 x 1" in capsys.readouterr().out
    assert main(["anomalies", "run"]) == 0


@pytest.mark.parametrize(("arguments", "says"), [
    (["--data", "heat.csv"], "--window"),
    (["--data", "heat.csv", "--stride", "3"], "add --window L"),
    (["--data", "heat.csv", "--window", "30", "--time", "when"], "no column 'when'"),
    (["--data", "heat.csv", "--window", "900"], "does not fit into the training part"),
    (["--data", "heat.csv", "--window", "30", "--horizon", "5"], "this model does not predict"),
    (["--data", "nyc-taxi", "--window", "30", "--time", "t"], "leave it out"),
    (["--data", "pendigits", "--window", "4"], "is not a recording"),
])  # fmt: skip
def test_what_cannot_be_cut_is_refused_in_one_sentence(recording, capsys, arguments, says):
    assert main(["train", "basic", *arguments, "--out", "run", *QUICK]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert "Traceback" not in told
    assert not (recording / "run").exists()


@pytest.mark.parametrize(("arguments", "says"), [
    (["--window", "30", "--horizon", "500", "--mode", "predict"], "horizon of 500 steps is longer"),
    (["--window", "30", "--horizon", "5"], "this model does not predict"),
    (["--window", "30", "--horizon", "5", "--future-steps", "4", "--mode", "composite"], "contradict each other"),
    (["--window", "30", "--teacher-epochs", "3"], "add --conditional --feeding scheduled"),
    (["--window", "30", "--teacher-epochs", "3", "--conditional", "--feeding", "own"], "add --conditional"),
    (["--window", "30", "--dropout", "0.5"], "there is only one: add --layers 2"),
    (["--window", "30", "--conditional", "--feeding", "scheduled", "--optimizer", "lbfgs"], "changes from epoch to epoch"),
])  # fmt: skip
def test_options_that_would_do_nothing_are_refused(recording, capsys, arguments, says):
    batch = [] if "lbfgs" in arguments else ["--batch-size", "64"]
    assert main(["train", "lstm", "--data", "heat.csv", *arguments, *batch, "--epochs", "1", "--out", "run"]) == 2
    assert says in capsys.readouterr().err
    assert not (recording / "run").exists()


def test_sequences_of_unequal_length_are_predicted_by_a_quarter_of_the_shortest(tmp_path, monkeypatch, capsys, rng):
    monkeypatch.chdir(tmp_path)
    lengths = rng.integers(5, 13, 60)
    lengths[-1] = 12
    x = np.where(np.arange(12)[:, None] < lengths[:, None, None], rng.random((60, 12, 2)), 0.0).astype("float32")
    np.savez("s.npz", x=x, lengths=lengths)
    small = ["--hidden-size", "4", "--epochs", "1", "--mode", "composite"]
    assert main(["train", "lstm", "--data", "s.npz", *small, "--out", "run"]) == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["arguments"]["future_steps"] == 1
    assert main(["train", "lstm", "--data", "s.npz", *small, "--future-steps", "6", "--out", "no"]) == 2
    assert "lengths must exceed the 6 steps to predict" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_a_run_is_found_and_used_from_elsewhere_and_on_sequences_of_another_length(tmp_path, monkeypatch, capsys, rng):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    np.save("s.npy", rng.random((40, 6, 2)).astype("float32"))
    np.save("longer.npy", rng.random((40, 9, 2)).astype("float32"))
    np.save("wider.npy", rng.random((40, 6, 3)).astype("float32"))
    assert main(["train", "lstm", "--data", "s.npy", "--hidden-size", "4", "--epochs", "1", "--out", "run"]) == 0
    monkeypatch.chdir(tmp_path / "there")
    assert main(["evaluate", "../here/run"]) == 0
    for command in ("evaluate", "reconstruct", "anomalies"):
        assert main([command, "../here/run", "--data", "../here/longer.npy"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "../here/run", "--data", "../here/wider.npy"]) == 2
    assert "has samples of shape (6, 3), but this model was trained on (6, 2)" in capsys.readouterr().err


def test_a_recording_is_looked_at_before_it_is_cut(recording, capsys):
    assert main(["data", "heat.csv"]) == 0
    told = capsys.readouterr().out
    assert "heat.csv: a recording of 600 steps of 1" in told
    assert "2021-03-01 00:00:00 to 2021-03-01 09:59:00, one step every 60 s" in told
    assert main(["data", "heat.csv", "--window", "30"]) == 0
    assert "16 of 30 x 1" in capsys.readouterr().out


def test_a_column_of_times_may_be_named_by_its_number(recording, capsys):
    (recording / "seconds.csv").write_text("t,v\n" + "".join(f"{n},{n % 7}\n" for n in range(60)))
    assert main(["data", "seconds.csv", "--time", "0"]) == 0
    assert "v in [0, 6]" in capsys.readouterr().out
    assert main(["data", "seconds.csv", "--time", "0", "--window", "5"]) == 0
    assert "9 of 5 x 1" in capsys.readouterr().out
    assert main(["data", "seconds.csv"]) == 0
    assert "(vectors)" in capsys.readouterr().out


def test_other_recordings_are_scaled_and_judged_as_the_runs_own(recording, capsys):
    """A recording ten times as wide is ten times as wide to the model too, and nothing of it is usual."""
    assert (
        main(["train", "basic", "--data", "heat.csv", "--window", "30", "--code-size", "4", "--out", "run", *QUICK])
        == 0
    )
    config = json.loads((recording / "run" / "config.json").read_text())
    values = np.loadtxt("heat.csv", delimiter=",", skiprows=1, usecols=1)
    offset, scale, method = config["scaler"]
    np.testing.assert_allclose([offset[0], scale[0]], [values[:480].mean(), values[:480].std()], rtol=1e-6)
    assert method == "standard"
    lines = (recording / "heat.csv").read_text().splitlines()
    wide = [lines[0]] + [f"{line.split(',')[0]},{10 * float(line.split(',')[1]):.4f}" for line in lines[1:]]
    (recording / "wide.csv").write_text("\n".join(wide) + "\n")
    capsys.readouterr()
    assert main(["anomalies", "run"]) == 0
    own = capsys.readouterr().out.splitlines()
    assert main(["anomalies", "run", "--data", "wide.csv"]) == 0
    told = capsys.readouterr().out
    assert own[1].split(":")[0] in told  # the threshold is that of the run's own training windows
    assert "20 of 20 wide.csv windows are above it" in told
    assert (recording / "run" / "anomalies_wide.png").exists()
    assert (recording / "run" / "anomalies_wide_worst.png").exists()
    assert main(["anomalies", "run", "--data", "heat.csv"]) == 0
    assert own[1].split(":")[0] in capsys.readouterr().out


def test_a_fitted_scaler_is_taken_as_it_is(rng):
    series = rng.normal(20.0, 3.0, (60, 2))
    first = data.windows(series, 5)
    again = data.windows(10 * series, 5, scaling=first.scaler)
    np.testing.assert_allclose(again.measured(again.train.x[0]), 10 * series[:5], rtol=1e-5)
    assert again.scaler is first.scaler
    with pytest.raises(ValueError, match="a scaler of 2 features does not fit a series of 1"):
        data.windows(series[:, 0], 5, scaling=first.scaler)
