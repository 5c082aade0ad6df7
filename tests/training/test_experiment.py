import csv
import dataclasses
import json
import shutil

import pytest
from PIL import Image

from senet.recipes.arms import arms_of
from senet.recipes.recipe import Recipe
from senet.training import experiment as room
from senet.training.experiment import experiment, read, summarise, table

TINY = dict(model="se_resnet20_cifar", size=32, batch_size=8, epochs=1, reference_batch=0)


def rows(**scores):
    return [
        dict(arm=arm, seed=seed, top1=score)
        for arm, given in scores.items()
        for seed, score in enumerate(given)
    ]


def test_differences_are_paired_by_seed():
    plain, se = summarise(rows(plain=(0.70, 0.80, 0.90), se=(0.71, 0.82, 0.93)))
    assert "difference" not in plain
    assert (plain["mean"], plain["deviation"]) == pytest.approx((0.8, 0.1))
    assert se["difference"] == pytest.approx(0.02)
    # 0.01, 0.02, 0.03: standard error 0.01 / sqrt(3), and t of 2 degrees at 97.5 % is 4.3027
    reach = 4.302653 * 0.01 / 3**0.5
    assert (se["low"], se["high"]) == pytest.approx((0.02 - reach, 0.02 + reach), rel=1e-5)


def test_an_experiment_without_scores_says_so(tmp_path, photos):
    for split in ("train", "validation", "test"):
        shutil.copytree(photos, tmp_path / "data" / split)
    recipe = Recipe(data=str(tmp_path / "data"), **TINY, spec={"n_blocks": (1, 1, 1)})
    with pytest.raises(ValueError, match="Every test image of plain, seed 0, was trained on"):
        experiment(arms_of(recipe), tmp_path / "out", seeds=(0, 1))
    again = arms_of(dataclasses.replace(recipe, data=str(photos)))
    assert experiment(again, tmp_path / "again", seeds=(0, 1))["baseline"] == 0.5


def test_a_run_of_before_the_baseline_counts_in_an_experiment(tmp_path, photos):
    recipe = Recipe(data=str(photos), **TINY, spec={"n_blocks": (1, 1, 1)})
    experiment(arms_of(recipe), tmp_path / "out", seeds=(0, 1))
    for path in (tmp_path / "out" / "runs").glob("*/result.json"):
        result = json.loads(path.read_text())
        del result["baseline"]
        path.write_text(json.dumps(result))
    assert experiment(arms_of(recipe), tmp_path / "out", seeds=(0, 1))["baseline"] is None


def test_what_makes_the_scores_of_an_experiment_doubtful_is_said():
    def row(arm, seed, images, complete):
        return dict(arm=arm, seed=seed, images=images, trained_on_complete=complete)

    fair = [row(arm, seed, 10, True) for arm in ("a", "b") for seed in (0, 1)]
    assert room.list_warnings(fair) == []
    assert room.list_warnings([{**r, "trained_on_complete": None} for r in fair]) == []
    (found,) = room.list_warnings([*fair[:3], row("b", 1, 9, True)])
    assert "With seed 1 the arms were not scored on the same images (a on 10, b on 9)" in found
    (found,) = room.list_warnings([*fair[:2], row("b", 0, 10, False), row("b", 1, 10, False)])
    assert found.startswith("Not every image that b was trained on is noted")
    summary = dict(arms=summarise(rows(a=(0.5, 0.6), b=(0.5, 0.7))), warnings=[found])
    assert table(summary).endswith(f"\nWarning: {found}")


def test_an_experiment_trains_every_arm_with_every_seed_once(tmp_path, photos, monkeypatch, capsys):
    recipe = Recipe(data=str(photos), **TINY, spec={"n_blocks": (1, 1, 1)})
    arms, folder = arms_of(recipe), tmp_path / "out"
    real, stop = room.train, []

    def train(recipe, where, **options):
        if len(stop) == 3:
            stop.append("stopped")
            raise KeyboardInterrupt
        stop.append(where.name)
        return real(recipe, where, **options)

    monkeypatch.setattr(room, "train", train)
    with pytest.raises(KeyboardInterrupt):
        experiment(arms, folder, seeds=(0, 1))
    summary = experiment(arms, folder, seeds=(0, 1))
    assert stop == ["plain-seed0", "se-seed0", "plain-seed1", "stopped", "se-seed1"]
    assert read(folder) == json.loads(json.dumps(summary))
    with open(folder / "results.csv", newline="") as file:
        found = list(csv.DictReader(file))
    assert [(row["arm"], row["seed"]) for row in found] == [
        *(("plain", "0"), ("se", "0"), ("plain", "1"), ("se", "1")),
    ]
    assert [arm["arm"] for arm in summary["arms"]] == ["plain", "se"]
    assert [float(row["top1"]) for row in found[::2]] == summary["arms"][0]["top1"]
    with Image.open(folder / "results.png") as picture:
        assert min(picture.size) > 300
    assert table(summary).count("\n") == 3
    assert "run 4 of 4: se, seed 1" in capsys.readouterr().err
    with pytest.raises(ValueError, match="name none of them twice"):
        experiment(arms, folder, seeds=(0, 0))
    with pytest.raises(ValueError, match="two arms and two seeds"):
        experiment(arms, folder, seeds=(0,))
    other = arms_of(dataclasses.replace(recipe, mixup=0.1))
    with pytest.raises(ValueError, match="another experiment: it differs in mixup"):
        experiment(other, folder, seeds=(0, 1))
