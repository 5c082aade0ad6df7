import csv
import json
import re
import urllib.parse

import pytest

from senet.evaluation import wilson_interval
from senet.foreign import MAX_NUMBER
from senet.runs.comparison import Comparison, read_runs
from senet.runs.reading import read_run

HOSTILE = "<script>\x1b[31m\n$a$"


def make_run(folder, *, epochs=3, finished=True, digest="1f", result=None, config=None, **recipe):
    """A run folder as `senet train` leaves it."""
    folder.mkdir(parents=True)
    recipe = (
        dict(model="se_resnet10", data="/data/photos", epochs=epochs, learning_rate=0.1) | recipe
    )
    about = dict(
        recipe=recipe,
        parameters=1234567,
        split_sha256=digest,
        backend="tensorflow 2.21.0",
        versions=dict(keras="3.15.1", numpy="2.4.6"),
        machine=dict(processor="Z80", cores=1),
    )
    (folder / "run.json").write_text(json.dumps(about | (config or {})))
    with open(folder / "metrics.csv", "w", newline="") as file:
        rows = [
            dict(
                epoch=e, val_loss=1.0 / e, val_accuracy=accuracy, seconds=10, images_per_second=rate
            )
            for e, accuracy, rate in zip((1, 2, 3), (0.5, 0.75, 0.625), (10, 90, 80), strict=True)
        ]
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    if finished:
        scores = dict(split="test", images=80, top1=0.75, interrupted=None, baseline=0.125)
        scores |= result or {}
        (folder / "result.json").write_text(json.dumps(scores))
    return folder


def cells(comparison, name):
    """The row of a run by heading."""
    headings, *rows = comparison.table
    (row,) = [row for row in rows if row[0] == name]
    return dict(zip(headings, row, strict=True))


def test_a_run_is_a_row_of_its_numbers(tmp_path):
    records, errors = read_runs([make_run(tmp_path / "a")])
    assert errors == []
    low, high = wilson_interval(0.75, 80)
    assert cells(Comparison(records), "a") == {
        **{"run": "a", "network": "se_resnet10", "data": "photos", "epochs": "3"},
        **{"parameters": "1,234,567", "best validation": "75.0 % (epoch 2)", "last": "62.5 %"},
        "top-1 on held-out images": "75.00 % of 80 test",
        "95 % interval": f"{100 * low:.1f} to {100 * high:.1f} %",
        "baseline": "12.5 %",
        **{"time": "30 s", "images/s": "80.0"},
    }
    summary = records[0].summary()
    assert summary["top1_interval"] == (low, high)
    assert (summary["best_epoch"], summary["val_accuracy"]) == (2, 0.625)


def test_the_time_of_a_finished_run_is_the_one_that_its_report_shows(tmp_path):
    folders = [
        make_run(tmp_path / "done", result=dict(seconds=3661.4)),
        make_run(tmp_path / "damaged", result=dict(seconds="long")),
        make_run(tmp_path / "going", finished=False),
    ]
    comparison = Comparison(read_runs(folders)[0])
    times = [cells(comparison, name)["time"] for name in ("done", "damaged", "going")]
    assert times == ["1 h 01 min", "30 s", "30 s"]
    assert comparison.to_json()["runs"][0]["seconds"] == 3661.4


def test_an_unfinished_and_an_interrupted_run_are_shown_as_such(tmp_path):
    folders = [
        make_run(tmp_path / "going", epochs=30, finished=False),
        make_run(tmp_path / "cut", epochs=30, result=dict(interrupted="SIGINT")),
        make_run(tmp_path / "begun", finished=False),
    ]
    (folders[2] / "metrics.csv").unlink()
    comparison = Comparison(read_runs(folders)[0])
    assert cells(comparison, "going")["top-1 on held-out images"] == "unfinished"
    assert cells(comparison, "going")["epochs"] == "3 of 30"
    assert cells(comparison, "cut")["top-1 on held-out images"].endswith("test, interrupted")
    begun = cells(comparison, "begun")
    assert (begun["epochs"], begun["last"], begun["time"]) == ("0 of 3", "-", "-")
    assert [run["finished"] for run in comparison.to_json()["runs"]] == [False, True, False]
    comparison.write(tmp_path / "out")


def test_only_what_differs_is_listed(tmp_path):
    folders = [
        make_run(tmp_path / "a"),
        make_run(tmp_path / "b", learning_rate=0.2, config=dict(backend="jax 0.10.2")),
        make_run(tmp_path / "c", crop="shift"),
    ]
    comparison = Comparison(read_runs(folders)[0])
    assert comparison.differences == dict(
        recipe=dict(learning_rate=[0.1, 0.2, 0.1], crop=[None, None, "shift"]),
        versions=dict(backend=["tensorflow 2.21.0", "jax 0.10.2", "tensorflow 2.21.0"]),
    )
    lines = str(comparison).splitlines()
    assert "learning_rate  0.1  0.2  0.1" in lines
    assert "crop           -    -    shift" in lines
    same = Comparison(read_runs([*folders[:1], make_run(tmp_path / "d")])[0])
    assert "no difference in recipe, versions and machine" in str(same)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (dict(), []),
        (dict(digest="2f"), ["do not hold out the same images", "compared: a; b."]),
        (dict(digest="2f", finished=False), ["do not hold out the same images"]),
        (dict(digest=None), ["not recorded which images were held out in b."]),
        (dict(result=dict(images=79)), ["a on 80 test images; b on 79 test images"]),
        (dict(result=dict(split="validation")), ["b on 80 validation images"]),
    ],
)
def test_runs_that_were_not_scored_on_the_same_images_are_warned_about(tmp_path, given, expected):
    folders = [make_run(tmp_path / "a"), make_run(tmp_path / "b", **given)]
    comparison = Comparison(read_runs(folders)[0])
    assert len(comparison.warnings) == bool(expected)
    for part in expected:
        assert part in comparison.warnings[0]
    assert comparison.to_json()["same_images"] == (not expected)


def test_runs_of_the_same_name_are_told_apart_and_one_given_twice_counts_once(tmp_path):
    folders = [make_run(tmp_path / name / "run") for name in ("x", "y", "z" * 90 + "1")]
    records, _ = read_runs([*folders[:2], tmp_path / "y" / ".." / "x" / "run"])
    assert [record.name for record in records] == ["x/run", "y/run"]
    folders.append(make_run(tmp_path / ("z" * 90 + "2") / "run"))
    records, _ = read_runs(folders)
    assert len({record.name for record in records}) == 4
    assert max(len(record.name) for record in records) < 70


DAMAGE = {
    "no json": ("run.json", b"{", "run.json' is damaged: Expecting"),
    "no record": ("run.json", b"[]", "run.json' is damaged: it holds no record"),
    "no recipe": ("run.json", b"{}", "run.json' is damaged: it has no recipe"),
    "no text": ("run.json", b"\xff\xfe\x00", "run.json' is damaged: it is no text"),
    "deep": ("run.json", b"[" * 100_000, "nested too deeply"),
    "a long number": ("run.json", b"9" * 5000, "run.json"),
    "no score": ("result.json", b"{}", "result.json' is damaged: it has no top1"),
    "above one": ("result.json", b'{"top1": 97.2, "images": 8}', "it has no top1 from 0 to 1"),
    "undefined": ("result.json", b'{"top1": NaN, "images": 8}', "it has no top1"),
    "true": ("result.json", b'{"top1": 0.5, "images": true}', "it has no top1"),
    "no image": ("result.json", b'{"top1": 0.5, "images": 0}', "it has no top1"),
    "no table": ("metrics.csv", b"<html>\n<p>\n", "metrics.csv' is damaged: row 1 is no epoch"),
    "quotes": ("metrics.csv", b'epoch,"loss\n1,"2"3', "metrics.csv' is damaged"),
    "too large": ("metrics.csv", b"0" * (2**24 + 1), "metrics.csv' is no file of up to"),
}


@pytest.mark.parametrize(("file", "content", "message"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_named_in_one_line_and_the_other_runs_are_read(
    tmp_path, file, content, message
):
    good, bad = make_run(tmp_path / "good"), make_run(tmp_path / "bad")
    (bad / file).write_bytes(content)
    records, errors = read_runs([bad, good, tmp_path / "missing"])
    assert [record.name for record in records] == ["good"]
    assert message in errors[0]
    assert "missing' is no run folder" in errors[1]
    assert all(len(error.splitlines()) == 1 for error in errors)


@pytest.mark.parametrize(
    "cell",
    ["nan", "inf", "", "1e999", "text", "-1e300", "9" * 400, str(MAX_NUMBER), "1" + "0" * 200],
)
def test_numbers_of_no_sensible_size_are_left_out(tmp_path, cell):
    run = make_run(tmp_path / "a")
    rows = (run / "metrics.csv").read_text().splitlines()
    rows[2] = f"2,{cell},{cell},{cell},{cell}"
    (run / "metrics.csv").write_text("\n".join(rows))
    comparison = Comparison([read_run(run, "a")])
    assert cells(comparison, "a")["best validation"] == "62.5 % (epoch 3)"
    assert cells(comparison, "a")["time"] == "20 s"
    comparison.write(tmp_path / "out")


def test_values_of_any_kind_in_a_recipe_become_cells(tmp_path):
    deep = json.loads("[" * 500 + "]" * 500)
    odd = dict(model=[1, {"a": 2}], data=None, epochs="many", size=True, crop=deep, flip=10**400)
    records, errors = read_runs(
        [
            make_run(tmp_path / "a", **odd),
            make_run(tmp_path / "b", config=dict(versions=3, machine=[], parameters="many")),
        ]
    )
    assert errors == []
    comparison = Comparison(records)
    assert cells(comparison, "a")["epochs"] == "3 of many"
    assert cells(comparison, "b")["parameters"] == "-"
    assert "odd" not in str(comparison)
    json.loads(json.dumps(comparison.to_json(), allow_nan=False))
    comparison.write(tmp_path / "out")


def test_foreign_text_is_text_on_the_terminal_and_on_the_page(tmp_path):
    run = make_run(tmp_path / "<script>", model=HOSTILE, data=f"/{HOSTILE}", **{HOSTILE: 1})
    other = make_run(tmp_path / "b", result=dict(split=HOSTILE), config=dict(backend=HOSTILE))
    comparison = Comparison(read_runs([run, other])[0])
    for text in (str(comparison), *comparison.warnings):
        assert "\x1b" not in text
    assert "<script>?[31m?$a$" in str(comparison)
    *_, page = comparison.write(tmp_path / "out")
    assert "<script" not in page.read_text()
    assert "&lt;script&gt;" in page.read_text()


def test_a_score_on_images_that_may_have_been_trained_on_is_said(tmp_path):
    folders = [
        make_run(tmp_path / name, result=dict(trained_on=0, trained_on_complete=complete))
        for name, complete in (("a", True), ("b", False), ("c", "no"))
    ]
    comparison = Comparison(read_runs(folders)[0])
    (found,) = comparison.warnings
    assert found.startswith("Not every image that b was trained on is noted:")
    summary = comparison.to_json()
    assert summary["same_images"] is True
    assert [run["trained_on_complete"] for run in summary["runs"]] == [True, False, None]


def test_a_run_without_a_score_has_a_row_that_says_why(tmp_path):
    unscored = dict(images=0, top1=None, trained_on=80)
    comparison = Comparison(read_runs([make_run(tmp_path / "a", result=unscored)])[0])
    row = cells(comparison, "a")
    assert row["top-1 on held-out images"] == "no score: all test images were trained on"
    assert row["95 % interval"] == "-"
    for wrong in (dict(images=0), dict(top1=None), dict(images=None, top1=None)):
        folder = make_run(tmp_path / f"b{len(list(tmp_path.iterdir()))}", result=wrong)
        assert "no top1 from 0 to 1" in read_runs([folder])[1][0]


def test_the_page_has_table_warnings_curves_and_differences_and_needs_no_other_file(tmp_path):
    folders = [make_run(tmp_path / "a"), make_run(tmp_path / "b", digest="2f", size=64)]
    comparison = Comparison(read_runs(folders)[0])
    paths = comparison.write(tmp_path / "new" / "out")
    assert [path.name for path in paths] == ["compare.svg", "compare.png", "compare.html"]
    page = paths[2].read_text()
    for row in comparison.table:
        for cell in row:
            assert f">{cell}</t" in page
    assert "<td>size</td><td>-</td><td>64</td>" in page
    assert comparison.warnings[0] in page
    assert page.count("src=") == page.count('src="data:image/svg+xml;base64,') == 1
    assert str(tmp_path) not in page  # paths are seen from the page
    assert "<code>../../a</code>" in page


def test_the_page_leads_to_the_reports_that_are_there(tmp_path):
    folders = [make_run(tmp_path / name) for name in ("a b", "javascript:c")]
    (folders[0] / "report.html").write_text("the report")
    *_, page = Comparison(read_runs(folders)[0]).write(tmp_path / "out")
    text = page.read_text()
    (address,) = re.findall('href="([^"]*)"', text)
    assert address == "../a%20b/report.html"
    assert (page.parent / urllib.parse.unquote(address)).read_text() == "the report"
    assert "<code>../javascript:c</code>" in text
