"""Tables as people have them: read as they are, split, scaled, and read again by their schema; refused with every fault at once."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tests.conftest import in_order
from tinyae import data
from tinyae.data import Dataset, Schema, Table, read_table, table


def write(path: Path, text: str) -> Path:
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def plain(found: Table) -> dict[str, list]:
    """The columns of a table as lists, missing values as None."""
    return {
        c.name: [None if gap else value for value, gap in zip(c.values.tolist(), c.missing, strict=True)]
        for c in found.columns
    }


def schema_of(made: Dataset) -> Schema:
    """The schema, after a way through a file."""
    assert made.schema is not None
    return Schema.of_plain(json.loads(json.dumps(made.schema.plain())))


# --------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize(("name", "text", "columns"), [
    ("pandas.csv", "0,1,2,3\n1.5,2,3,4\n2.5,1,0,0\n", {"0": [1.5, 2.5], "1": [2, 1], "2": [3, 0], "3": [4, 0]}),
    ("years.csv", "2001,2002\n1.5,2.5\n2.5,3.0\n", {"2001": [1.5, 2.5], "2002": [2.5, 3]}),
    ("one_number.csv", "x,1,2,d\n3,4,5,6\n1,2,3,4\n", {"x": [3, 1], "1": [4, 2], "2": [5, 3], "d": [6, 4]}),
    ("nan.csv", "a,nan\n3,4\n1,2\n", {"a": [3, 1], "nan": [4, 2]}),
    ("numbers.csv", "1,2,3\n4,5,6\n", {"column 0": [1, 4], "column 1": [2, 5], "column 2": [3, 6]}),
    ("count.csv", "0,1\n1,3\n2,5\n", {"column 0": [0, 1, 2], "column 1": [1, 3, 5]}),
    ("index.csv", ",a\n17,4\n3,2\n", {"column 0": [17, 3], "a": [4, 2]}),
    ("uci.data", "  1.0e+00  2.0 -3\n 4 5\t6\n", {"column 0": [1, 4], "column 1": [2, 5], "column 2": [-3, 6]}),
    ("comma.csv", "a;b\n1,5;2\n1.234,5;3,25\n", {"a": [1.5, 1234.5], "b": [2, 3.25]}),
    ("comma.txt", "1,5 2,5\n3,5 4\n", {"column 0": [1.5, 3.5], "column 1": [2.5, 4]}),
    ("tabs.tsv.gz", "a\tb\n1\tx y\n\t# z\n", {"a": [1, None], "b": ["x y", "# z"]}),
    ("comments.csv", "# by me, and you\n# x,y\n1,2\n\n#\n3,4\n", {"x": [1, 3], "y": [2, 4]}),
    ("comment.csv", "#,name\n1,a\n2,b\n", {"#": [1, 2], "name": ["a", "b"]}),
    ("words.csv", "class,cap\ne,x\np,x\ne,b\n", {"class": ["e", "p", "e"], "cap": ["x", "x", "b"]}),
    ("letters.data", "p,x\ne,x\np,b\n", {"column 0": ["p", "e", "p"], "column 1": ["x", "x", "b"]}),
    ("quotes.csv", 'a,"b, c"\n"1","x, ""y""\nz"\n', {"a": [1], "b, c": ['x, "y"\nz']}),
    ("row_names.txt", '"a" "b"\n"r 1" 1 2\n"r 2" 3 4\n', {"column 0": ["r 1", "r 2"], "a": [1, 3], "b": [2, 4]}),
    ("truth.csv", "a\nTrue\nFALSE\nNA\n", {"a": [1, 0, None]}),
    ("twice.csv", "a,a\n1,2\n", {"a": [1], "a.1": [2]}),
    ("trailing.csv", "1,2,\n3,4,\n", {"column 0": [1, 3], "column 1": [2, 4]}),
    ("spreadsheet.csv", "\ufeffa,b\r\n1,2.5\r\n3,4e-1\r\n\r\n-5,6\r\n", {"a": [1, 3, -5], "b": [2.5, 0.4, 6]}),
    ("mac.csv", "\ufeffa,b\r1,2\r3,4\r", {"a": [1, 3], "b": [2, 4]}),
    ("late.csv", "a,b\n" + "1,2\n" * 30 + "nan,3\n" + "1,2\n" * 9, {"a": [1] * 30 + [None] + [1] * 9, "b": [2] * 30 + [3] + [2] * 9}),
    ("bars.csv", "a|b|c\n1|2.5|x\n3|4|y z\n", {"a": [1, 3], "b": [2.5, 4], "c": ["x", "y z"]}),
    ("bars_in.csv", "a,b\n1,x|y\n2,z|y\n", {"a": [1, 2], "b": ["x|y", "z|y"]}),
    ("minus.csv", "a,b\n1,\u22122.5\n2,3\n", {"a": [1, 2], "b": [-2.5, 3]}),
    ("days.csv", "day,a\n" + "".join(f"{n} Jan 2020,{n}\n" for n in range(1, 21)),
     {"day": [f"{n} Jan 2020" for n in range(1, 21)], "a": list(range(1, 21))}),
    ("excel.csv", "\ufeffsep=;\r\na;b,c\r\n1;2\r\n3;4\r\n;\r\n;;\r\n", {"a": [1, 3], "b,c": [2, 4]}),
    ("symbols.csv", "n,sign\n1,+\n2,|\n,|\n", {"n": [1, 2, None], "sign": ["+", "|", "|"]}),
    ("inches.txt", 'a b c\n"x y" 5"\t7\n"z" 6"\t8\n', {"a": ["x y", "z"], "b": ['5"', '6"'], "c": [7, 8]}),
    ("blank.txt", 'n w m\n1 "x y" 4\n2 z 5\u00a0\n', {"n": [1, 2], "w": ["x y", "z"], "m": [4, 5]}),
    ("told.txt", '"sep=^"\n1^2\n3^"4"\n^^\n', {"column 0": [1, 3], "column 1": [2, 4]}),
    ("empty_rows.csv", "a,b\n1,2\n,\n3,4\n,\n\n,,,\n", {"a": [1, None, 3], "b": [2, None, 4]}),
    ("inside.csv", 'a,b\n1,"w\n# x\n"\n# no\n2,"\n,"\n', {"a": [1, 2], "b": ["w\n# x", ","]}),
    ("inside.txt", 'a b\n1\t"w\tx \n\ty" \n 2\tz\n', {"a": [1, 2], "b": ["w\tx \n\ty", "z"]}),
    ("quoted.csv", 'a,b\n"1",2\n"nan",3\n"2",4\n', {"a": [1, None, 2], "b": [2, 3, 4]}),
])  # fmt: skip
def test_a_file_is_read_as_it_is(tmp_path, name, text, columns):
    assert plain(read_table(write(tmp_path / name, text))) == columns


def test_an_exponent_of_fortran_is_a_fault_and_no_class(tmp_path):
    rows = "".join(f"{n},1.{n}D+02\n" for n in range(9))
    with pytest.raises(ValueError, match=r"column 'b' holds '1\.0D\+02' \(9 such values\): this is text"):
        table(write(tmp_path / "a.csv", "a,b\n" + rows))


def test_what_was_understood_is_said_and_can_be_stated(tmp_path):
    path = write(tmp_path / "a.csv", ",a;b,w\n0,1,x\n1,NA,y\n")
    assert read_table(path).lines_to_print() == [
        "header: yes; 3 columns, separated by commas, 2 rows",
        "column 0 counts or names the rows: it is their id, not a feature",
        "numbers: column 0, a;b", "words: w", "missing values: a;b 1",
    ]  # fmt: skip
    path = write(tmp_path / "b.csv", "1,2\n3,4\n")
    assert read_table(path, header=True).names == ["1", "2"]
    assert len(read_table(write(path, "0,1\n2.5,3.5\n"), header=False)) == 2
    assert plain(read_table(write(path, "a;b\n1,500;2\n"), decimal=",")) == {"a": [1.5], "b": [2]}
    assert read_table(path).columns[0].kind == "mixed"  # 1500 or 1.5
    (tmp_path / "packed.csv").write_bytes(gzip.compress(b"a,b\n1,2\n"))  # the content decides, not the name
    assert plain(read_table(tmp_path / "packed.csv")) == {"a": [1], "b": [2]}
    (tmp_path / "c.csv").write_bytes("a\tb\n1\t2\n".encode("utf-16"))
    assert plain(read_table(tmp_path / "c.csv")) == {"a": [1], "b": [2]}


WORDS = st.text(st.sampled_from("abc xyzäß,;#\"'\n"), min_size=1, max_size=6).map(lambda text: f"w{text.strip()}")
ENDS = ("\n", "\r\n")
CELLS = {"n": st.floats(-1e6, 1e6, width=32).map(repr), "w": WORDS}


@given(st.data(), st.sampled_from(",;\t "), st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)), st.sampled_from(ENDS))
def test_what_csv_writes_in_any_dialect_is_read_back(tmp_path_factory, draws, delimiter, quoting, end):
    kinds = draws.draw(st.lists(st.sampled_from("nnw"), min_size=2, max_size=5))
    rows = draws.draw(st.lists(st.tuples(*(CELLS[kind] for kind in kinds)), min_size=2, max_size=6))
    names = [f"{kind}{n}" for n, kind in enumerate(kinds)]
    assume("n" in kinds and not any("\n" in cell for row in rows for cell in row if end == "\r\n"))
    path = tmp_path_factory.mktemp("t") / "a.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows([names, *rows])
    found = plain(read_table(path, decimal="."))
    assert list(found) == names
    for name, written in zip(names, zip(*rows, strict=True), strict=True):
        assert found[name] == [float(cell) if name[0] == "n" else cell for cell in written]


@given(st.integers(0, 999), st.booleans())
def test_pandas_reads_the_same(tmp_path_factory, seed, index):
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(seed)
    frame = pandas.DataFrame({
        "x": rng.normal(size=12), "n": rng.integers(0, 99, 12), "w": rng.choice(["a", "b c"], 12), "t": rng.random(12) < 0.5,
        "d": pandas.date_range("2020-02-27", periods=12, freq="7h"),
    })  # fmt: skip
    frame.loc[rng.integers(0, 12, 3), "x"] = np.nan
    path = tmp_path_factory.mktemp("t") / "a.csv"
    frame.to_csv(path, index=index)
    text, memory, oracle = read_table(path), read_table(frame), pandas.read_csv(path, parse_dates=["d"])
    for found in (text, memory):
        for name in frame.columns:
            column = found.columns[found.find_column(name)]
            assert_array_equal(column.missing, oracle[name].isna())
            assert_array_equal(column.values, np.asarray(oracle[name], column.values.dtype))
    assert (text.index, memory.index) == ("column 0" if index else None, None)


@pytest.mark.parametrize(("texts", "first", "time_format"), [
    (["31/12/2010 6:30", "01/02/2011 00:00"], "2010-12-31T06:30", None),
    (["12/31/2010 3:00 PM", "01/02/2011 12:05 AM"], "2010-12-31T15:00", None),
    (["2010/12/31", "2011/02/01"], "2010-12-31", None),
    (["1.2.2010", "2.2.2010"], "2010-02-01", None),
    (["01/02/2010 23:59", "02/02/2010 01:00"], "2010-02-01T23:59", "%d/%m/%Y %H:%M"),
    (["2020-02-28T00:00+02:00", "2020-02-28T02:00Z"], "2020-02-27T22:00", None),
])  # fmt: skip
def test_dates_in_other_ways(texts, first, time_format):
    made = table({"when": texts, "v": [1.0, 2.0]}, time_format=time_format)
    times = np.concatenate([made.train.times, made.test.times])
    assert times.min() == np.datetime64(first)
    assert not np.isnat(times).any()


def test_a_day_that_could_be_a_month_is_asked_about(tmp_path):
    path = write(tmp_path / "a.csv", "t,v\n01/02/2010 00:00,1\n02/02/2010 00:00,2\n03/02/2010 00:00,3\n")
    with pytest.raises(ValueError, match=r"'01/02/2010 00:00' may begin with the day or the month.*%d/%m/%Y %H:%M"):
        table(path)
    assert data.read_series(path, time_format="%d/%m/%Y %H:%M").timeline.window_seconds == 86400


def test_all_faults_come_in_one_report(tmp_path):
    path = write(tmp_path / "a.csv", 'a,b,c,d,e\n1,x,,1e400,5\n,y,,2,z\n3,"z",,3,6\n4,5\n,w,,4,?\n')
    with pytest.raises(ValueError, match="has 6 faults") as raised:
        table(path)
    report = str(raised.value)
    for says in (
        f"{path} has", "line 5 has 2 fields, but the first line has 5", "line 3, column 'a' holds nothing (2 such values)",
        "column 'c' holds no values: drop it", "line 2, column 'd' holds '1e400': this is not a finite number",
        "line 3, column 'e' holds 'z': this is text", "line 6, column 'e' holds '?': fill the gap",
    ):  # fmt: skip
        assert says in report


@pytest.mark.parametrize(("text", "says"), [
    ('a,b\n1,"x\n2,3\n', "line 2 cannot be read: a quote is opened and not closed"),
    ("a,b\n1,2\n3,\0\n", "line 3 holds a NUL byte"),
    ("a,b\n1,2\n3," + "9" * 200_000 + "\n", "line 3, column 'b' holds '99999999.* not a finite number"),
    ("a\n" + "".join(f"name_{n}\n" for n in range(30)), "30 different words are too many"),
    ('a,b\n"1,500",2\n"2,500",2\n', "'1,500' .2 such values.: a comma may divide thousands or decimals"),
    ("a,b\n12%,1\n15%,2\n", "holds '12%' .*this is text"),
])  # fmt: skip
def test_what_no_table_can_hold_is_one_sentence(tmp_path, text, says):
    with pytest.raises(ValueError, match=says) as raised:
        table(write(tmp_path / "a.csv", text))
    assert str(raised.value).startswith(str(tmp_path / "a.csv"))
    assert str(raised.value).count("\n") == 0


@pytest.mark.parametrize(("arguments", "says"), [
    ({"label": "z"}, "has no column 'z': its columns are a, b, c"),
    ({"label": "a", "drop": "a"}, "column 'a' cannot be used in two ways"),
    ({"use": "a,b", "drop": "b"}, "column 'b' cannot be used in two ways"),
    ({"drop": "a,b,c"}, "no features"),
    ({"label": "c"}, "column 'c' holds '0.5': a label is a word or a whole number"),
    ({"missing": "guess"}, "missing 'guess': choose one of error, drop, mean, interpolate"),
    ({"kind": "images"}, "kind 'images'"),
    ({"scaling": "log"}, "standard, robust, minmax, none"),
    ({"test_share": 1.0}, "test_share must be a finite number, above 0 and below 1"),
])  # fmt: skip
def test_roles_that_do_not_fit_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        table({"a": [1, 2, 3], "b": [3, 1, 2], "c": [0.5, 1, 2]}, **arguments)


# --------------------------------------------------------------------------------------------------- the files of practitioners


def rows_of(columns: dict[str, Sequence]) -> str:
    return "\n".join([",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))])


def test_an_id_a_text_label_and_new_rows(tmp_path, rng):
    columns = {"id": [f"{n:03}" for n in range(40)], "y": "MB" * 20, "r": rng.normal(size=40).tolist(), "c": [1e9] * 40}
    made = table(write(tmp_path / "a.csv", rows_of(columns)), id="id", label="y")
    assert set(made.test.ids) <= {f"{n:03}" for n in range(40)}
    assert not made.train.x[:, 1].any()
    schema = schema_of(made)
    new = schema.read({"c": 1e9 * (1 + 1e-15), "r": 0.25, "more": "?"})  # another order, no label, a further column
    assert new.x.shape == (1, 2)
    assert abs(new.x[0, 1]) < 1e-6
    assert (new.y, new.times, new.ids.tolist()) == (None, None, [0])
    assert "were ignored: more" in new.notes[0]
    assert schema.inverse(new.x)["r"] == pytest.approx(0.25)
    assert_array_equal(schema.read(np.array([0.25, 1e9])).x[:, 0], new.x[:, 0])
    with pytest.raises(ValueError, match="has no column 'r', which the model was trained on: add it; it has c, id"):
        schema.read({"c": [1.0], "id": [3]})
    with pytest.raises(ValueError, match=r"row 0, column 'r' holds nothing: give the value"):
        schema.read({"c": [1.0], "r": [np.nan]})


def test_gaps_words_and_four_columns_of_time(tmp_path, rng):
    hours = np.datetime64("2010-01-01T00", "h") + np.arange(100)
    day = hours.astype("datetime64[D]")
    pollution = rng.normal(90, 20, 100).round(3).tolist()
    columns = {
        "No": list(range(1, 101)), "year": [2010] * 100, "month": [1] * 100,
        "day": (day - day[0]).astype(int) + 1, "hour": (hours - day).astype(int),
        "pm": [*pollution[:3], "NA", "NA", *pollution[5:]], "wind": rng.choice(["NW", "cv", "SE"], 100).tolist(),
    }  # fmt: skip
    path = write(tmp_path / "a.csv", rows_of(columns))
    with pytest.raises(ValueError, match=r"line 5, column 'pm' holds 'NA' \(2 such values\): fill the gap, or say how"):
        table(path)
    roles = {"time": "year,month,day,hour", "id": "No"}
    made = table(path, missing="mean", **roles)
    assert made.feature_names == ("pm", "wind=NW", "wind=SE", "wind=cv")
    assert_array_equal(made.test.times, hours[made.test.ids - 1])
    known = [value for n, value in enumerate(columns["pm"]) if value != "NA" and n + 1 in made.train.ids]
    assert schema_of(made).fill[0] == pytest.approx(np.mean(known))  # of the training part only
    assert set(np.unique(made.train.x[:, 1:])) == {0.0, 1.0}
    assert len(table(path, missing="drop", **roles).train) == 89
    late = write(tmp_path / "late.csv", path.read_text().replace(",2010,1,1,0,", ",2010,1,NA,0,", 1))
    assert len(table(late, missing="drop", **roles).train) == 88
    with pytest.raises(ValueError, match="line 2: '2010 1 NA 0' is not a time"):
        table(late, missing="mean", **roles)
    series = data.load_series(path, 10, missing="interpolate", scaling="none", train=80, **roles)
    filled = pollution[2] + (pollution[5] - pollution[2]) * np.array([1, 2]) / 3
    assert_allclose(series.train.x[0, 3:5, 0], filled, rtol=1e-6)
    assert series.timeline.stamp(len(series.train)) == "2010-01-04 08:00"
    other = {name: columns[name] for name in reversed(columns)}
    again = data.load_series(write(tmp_path / "b.csv", rows_of(other)), 10, train=80, schema=schema_of(series))
    assert_array_equal(again.test.x, series.test.x)
    assert "matched by name" in again.notes
    with pytest.raises(ValueError, match="leave time out"):
        data.load_series(path, 10, schema=schema_of(series), time="year")
    with pytest.raises(ValueError, match=r"a\.csv: a window of 90 steps .* does not fit into the training part"):
        data.load_series(path, 90, missing="mean", **roles)


def test_white_space_label_first_as_sequences(tmp_path, rng):
    values = np.column_stack([rng.integers(1, 4, 30), rng.normal(5, 3, (30, 12))])
    np.savetxt(tmp_path / "ECG_TRAIN.txt", values, fmt="%15.7e")
    made = table(tmp_path / "ECG_TRAIN.txt", label=0, kind="sequences")
    assert (made.kind, made.example_shape, made.class_names) == ("sequences", (12, 1), ("1", "2", "3"))
    assert_allclose(made.measured(in_order(made))[:, :, 0], values[:, 1:], rtol=1e-5, atol=1e-5)
    found = schema_of(made).read(values[:2])
    assert_array_equal(found.y, values[:2, 0] - 1)
    assert_allclose(list(schema_of(made).inverse(found.x).values()), values[:2, 1:].T, rtol=1e-5)
    assert schema_of(made).read(values[3, 1:]).x.shape == (1, 12, 1)


def test_semicolons_decimal_commas_and_gz(tmp_path):
    rows = "Date;Time;CO;T;;\n10/03/2004;18.00.00;2,6;13,6;;\n13/03/2004;19.00.00;2;13,3;;\n"
    made = table(path := write(tmp_path / "a.csv.gz", rows))
    assert_allclose(made.measured(in_order(made)), [[2.6, 13.6], [2, 13.3]], rtol=1e-6)
    assert np.concatenate([made.train.times, made.test.times]).min() == np.datetime64("2004-03-10T18:00")
    assert data.load(path).sha256() == made.sha256()


def test_a_table_without_pyarrow_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(ValueError, match=r"a\.parquet needs pyarrow to be read: pip install pyarrow, or save"):
        table(write(tmp_path / "a.parquet", "PAR1"))


def test_parquet_feather_and_frames(tmp_path, rng):
    pandas, _ = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    key = pandas.Index(range(50, 70), name="key")
    frame = pandas.DataFrame({"a": rng.normal(size=20), "w": ["x", "y"] * 10}, index=key)
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_feather(tmp_path / "a.feather")
    frame.to_csv(tmp_path / "a.csv")
    made = table(frame)
    assert made.feature_names == ("a", "w=x", "w=y")
    assert set(made.test.ids) <= set(range(50, 70))
    for name in ("a.parquet", "a.feather"):
        assert table(tmp_path / name).sha256() == made.sha256()
    assert table(tmp_path / "a.csv", id="key").sha256() == made.sha256()
    write(tmp_path / "b.parquet", "PAR1")
    with pytest.raises(ValueError, match=r"b\.parquet"):
        table(tmp_path / "b.parquet")


# --------------------------------------------------------------------------------------------------- laws


tables = st.integers(0, 10**6).map(np.random.default_rng).map(lambda rng: {
    "a": rng.normal(3, 10, 20), "w": rng.choice(["x", "y", "z"], 20), "c": np.full(20, 0.1), "t": rng.random(20) < 0.5,
    "n": rng.integers(-5, 5, 20).astype(float), "big": rng.normal(1e6, 1, 20),
})  # fmt: skip


@given(tables, st.sampled_from(("standard", "robust", "minmax", "none")), st.permutations(range(6)))
def test_a_schema_undoes_what_it_does_and_columns_may_stand_in_any_order(columns, scaling, order):
    made = table(columns, scaling=scaling)
    schema = schema_of(made)
    rows = schema.read(columns)
    back = schema.inverse(rows.x)
    assert list(back) == list(columns)
    for name, values in columns.items():
        if values.dtype.kind == "f":
            assert_allclose(back[name], values, rtol=2e-6, atol=1e-5)
        else:
            assert_array_equal(back[name], values)
    assert_array_equal(rows.x, in_order(made))
    other = {name: columns[name] for name in (list(columns)[n] for n in order)}
    assert_array_equal(schema.read(other).x, rows.x)


@given(
    st.lists(st.integers(0, 3), min_size=2, max_size=60), st.floats(0.05, 0.6), st.integers(0, 9), st.booleans()
)  # fmt: skip
def test_both_parts_have_every_class_and_groups_are_never_divided(labels, share, seed, grouped):
    y = np.array(labels)
    groups = np.arange(len(y)) // 3 if grouped else None
    assume(not grouped or len(y) > 3)
    testing = data.divide(len(y), labels=y, groups=groups, test_share=share, seed=seed)
    assert testing.shape == y.shape
    assert 0 < testing.sum() < len(y)
    assert_array_equal(testing, data.divide(len(y), labels=y, groups=groups, test_share=share, seed=seed))
    if grouped:
        assert not set(groups[testing]) & set(groups[~testing])
        return
    for label, count in zip(*np.unique(y, return_counts=True), strict=True):
        chosen = np.count_nonzero(testing & (y == label))
        if count > 1:
            assert chosen == min(max(1, int(share * count + 1e-9)), count - 1)


def test_a_recording_keeps_its_end_and_classes_that_one_part_lacks_are_named():
    assert np.flatnonzero(data.divide(20, ordered=True, test_share=0.2)).tolist() == [16, 17, 18, 19]
    made = table({"a": range(12), "y": ["x"] * 11 + ["rare"], "p": [1] * 6 + [2] * 6}, label="y")
    assert "warning: only the training part has samples of rare" in made.notes
    made = table({"a": range(12), "y": ["x"] * 6 + ["rare"] * 6, "p": [1] * 6 + [2] * 6}, label="y", group="p")
    assert [len(set(part.y)) for part in (made.train, made.test)] == [1, 1]
    assert made.notes.count("warning: only the") == 2
    with pytest.raises(ValueError, match="only one group"):
        table({"a": [1, 2], "p": [1, 1]}, group="p")


@pytest.mark.parametrize("method", ["standard", "robust", "minmax"])
def test_a_constant_column_stays_near_zero(method, rng):
    values = np.column_stack([np.full(30, 0.1), np.full(30, 1e9), rng.normal(size=30), np.repeat([0.0, 1.0], [29, 1])])
    scaler = data.Scaler.fit(values, method)
    assert not scaler.apply(values)[:, :2].any()
    assert np.abs(scaler.apply(values * (1 + 1e-12))[:, :2]).max() < 1e-6
    assert scaler.apply(values)[:, 3].any()  # mostly constant is not constant
    assert_allclose(scaler.inverse(scaler.apply(values)), values, rtol=1e-6, atol=1e-6)
