import dataclasses
import os
import shlex

import pytest

from senet.cli.options import read_flags
from senet.cli.train import command
from senet.recipes.fields import read_value
from senet.recipes.presets import PRESETS
from senet.recipes.recipe import Recipe
from senet.recipes.toml import MAX_RECIPE, merge_recipe, read_toml


def test_weights_that_name_their_network_bring_it_with_them(tmp_path):
    weights = str(tmp_path / "run")
    recipe = merge_recipe("finetune", None, {"weights": weights})
    assert (recipe.model, recipe.variant, recipe.size, recipe.epochs) == (None, None, None, 15)
    assert "--model" not in recipe.command("out")
    assert "--weights" in recipe.command("out")
    named = merge_recipe("paper", None, {"weights": weights, "model": "se_resnet20_cifar"})
    assert (named.model, named.size) == ("se_resnet20_cifar", 224)
    assert "--model se_resnet20_cifar" in named.command("out")
    assert merge_recipe("finetune", None, {"weights": "imagenet"}).model == "se_resnet50"
    assert merge_recipe("finetune", None, {"weights": "a.weights.h5"}).model == "se_resnet50"
    assert merge_recipe("quick", None, {"weights": "a.weights.h5"}).model == "se_resnet20_cifar"
    other = Recipe(spec=dict(ratio=8, stochastic_depth=0.1), size=96)
    merged = merge_recipe(None, other, {"weights": weights})
    assert (merged.spec, merged.model, merged.size) == ({"stochastic_depth": 0.1}, None, None)
    assert Recipe.from_json(merged.to_json()) == merged


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model", "se_resnet5", "Did you mean"),
        ("variant", "tf", "Unknown variant 'tf'"),
        ("spec", {"ration": 8}, "Did you mean 'ratio'"),
        ("spec", {"variant": "torch"}, "Unknown field of a network's spec 'variant'"),
        ("spec", {"ratio": 0}, "ratio must be a positive integer"),
        ("spec", 8, "spec must be fields and their values"),
        ("size", 16, "size must be from 32 to 4096; got 16"),
        ("size", "96", "size must be a whole number"),
        ("epochs", 0, "epochs must be from 1"),
        ("epochs", True, "epochs must be a whole number"),
        ("batch_size", 0, "batch_size must be from 1"),
        ("learning_rate", -1.0, "learning_rate must be from 0"),
        ("learning_rate", float("nan"), "learning_rate must be from 0"),
        ("warmup", 1.5, "warmup must be from 0 to 1"),
        ("milestones", (0.5, 2.0), "milestones must be from 0 to 1; got 2.0"),
        ("milestones", (0.5, "x"), "milestones must be a number"),
        ("nesterov", 1, "nesterov must be true or false"),
        ("flip", 2.0, "flip must be from 0 to 1"),
        ("seed", -1, "seed must be from 0"),
        ("crop", "random", "crop must be one of resized, shift, centre"),
        ("precision", "float8", "precision must be one of"),
        ("test", 0.9, "none are left to train on"),
        ("fraction", 0, "must be above 0"),
    ],
)
def test_values_outside_their_range_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**{field: value})


def test_every_field_says_what_it_is():
    assert all(field.metadata["help"] for field in dataclasses.fields(Recipe))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_its_file_and_its_command(tmp_path, name):
    recipe = Recipe.preset(name, milestones=(0.25, 0.5), freeze=("stem*",), class_weights=True)
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    assert Recipe.from_json(read_toml(tmp_path / "recipe.toml")) == recipe
    assert Recipe.from_json(recipe.to_json()) == recipe
    words = shlex.split(recipe.command("out"))[2:]
    fields = command.make_context("train", words).params
    given = read_flags({k: v for k, v in fields.items() if k in vars(recipe)})
    assert merge_recipe(None, None, given) == recipe


def test_a_spec_without_something_survives_its_file_and_its_command(tmp_path):
    recipe = Recipe(spec=dict(ratio=None, squeeze="none", se_at=("stage2",)))
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    assert Recipe.from_json(read_toml(tmp_path / "recipe.toml")) == recipe
    words = shlex.split(recipe.command("out"))
    said = [words[i + 1].partition("=") for i, word in enumerate(words) if word == "--spec"]
    again = Recipe.from_json({"spec": {name: read_value(text) for name, _, text in said}})
    assert again == recipe


def test_a_file_starts_from_the_preset_it_names(tmp_path):
    (tmp_path / "a.toml").write_text('preset = "paper"\nepochs = 3\n[spec]\nse_at = ["stage2"]\n')
    recipe = Recipe.from_json(read_toml(tmp_path / "a.toml"))
    assert (recipe.batch_size, recipe.epochs, recipe.spec) == (1024, 3, {"se_at": ("stage2",)})
    (tmp_path / "b.toml").write_text('preset = "modern"\n[spec]\nratio = 8\n')
    spec = Recipe.from_json(read_toml(tmp_path / "b.toml")).spec
    assert spec == {"stochastic_depth": 0.05, "zero_last_norm": True, "ratio": 8}
    assert Recipe.preset("modern", spec={"ratio": 8}).spec == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = ", "cannot be read as TOML"),
        ("epoch = 3", "Did you mean 'epochs'"),
        ("epochs = 'three'", "epochs must be a whole number"),
        ("preset = 'fast'", "Unknown preset 'fast'"),
        ("preset = ['fast']", "Unknown preset"),
        ("milestones = 3", "milestones must be a list of values; got 3"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text, message):
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_toml(tmp_path / "a.toml")
    with pytest.raises(FileNotFoundError, match="no recipe"):
        read_toml(tmp_path / "missing.toml")


def test_what_is_too_large_nested_too_deep_or_no_file_is_no_recipe(tmp_path):
    path = tmp_path / "a.toml"
    for text, message in (
        ("# " + "a" * MAX_RECIPE, "larger than 16,384 bytes"),
        ("a = " + "[" * 10_000, "nested too deep"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=f"cannot be read as TOML: .*{message}"):
            read_toml(path)
    if hasattr(os, "mkfifo"):
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(ValueError, match="It is a pipe, and only regular files are read"):
            read_toml(path)
    assert max(len(Recipe.preset(name).to_toml()) for name in PRESETS) < MAX_RECIPE / 5


def test_the_learning_rate_follows_the_batch():
    assert Recipe.preset("paper", batch_size=32).peak == pytest.approx(0.6 / 32)
    assert Recipe.preset("paper", batch_size=32, accumulate=32).peak == pytest.approx(0.6)
    assert Recipe(batch_size=8, reference_batch=0).peak == 0.1


def test_values_are_read_without_quotes():
    assert [read_value(t) for t in ("8", "0.5", "pre", "true", '["a", "b"]', "'8'")] == [
        *(8, 0.5, "pre", True, ("a", "b"), "8"),
    ]


def test_flags_change_a_preset_and_an_empty_list_clears_one(tmp_path):
    (tmp_path / "r.toml").write_text('preset = "finetune"\nfreeze = ["stem*"]\n')
    words = ["--freeze", "", "--spec", "ratio=8", "--epochs", "2"]
    fields = command.make_context("train", words).params
    given = read_flags({k: v for k, v in fields.items() if k in Recipe.__dataclass_fields__})
    assert given == dict(freeze=(), spec=dict(ratio=8), epochs=2)
    made = merge_recipe(None, tmp_path / "r.toml", given)
    assert (made.freeze, made.layer_decay, made.epochs) == ((), 0.7, 2)


def test_an_unknown_preset_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"Unknown preset 'papers'\. Did you mean 'paper'"):
        merge_recipe("papers", None, {})
    assert merge_recipe(None, None, {}) == Recipe()
