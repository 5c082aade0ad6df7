import os

from senet.data.sources import load_data
from senet.recipes.recipe import Recipe
from senet.recipes.resolving import fill_defaults, locate_paths


def test_what_a_recipe_leaves_open_follows_the_data(photos):
    def resolved(data, **fields):
        recipe = fill_defaults(Recipe(data=data, **fields), load_data(data))
        return recipe.size, recipe.crop, recipe.flip, recipe.jitter

    assert resolved("digits") == (32, "shift", 0.0, 0.0)
    assert resolved(str(photos)) == (32, "resized", 0.5, 0.2)
    assert resolved("digits", size=64, crop="centre", flip=0.1, jitter=0.3) == (
        *(64, "centre", 0.1, 0.3),
    )


def test_a_batch_holds_no_more_images_than_there_are(photos):
    data = load_data(str(photos))
    filled = fill_defaults(Recipe(data=str(photos), batch_size=1000), data)
    assert filled.batch_size == len(data.split("train"))


def test_paths_mean_the_same_from_every_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "a.safetensors").touch()
    here = os.fspath(tmp_path)
    located = locate_paths(Recipe(data="photos", class_map="map.csv", weights="a.safetensors"))
    assert (located.data, located.class_map) == (f"{here}/photos", f"{here}/map.csv")
    assert located.weights == f"{here}/a.safetensors"
    published = locate_paths(Recipe(data="digits", weights="imagenet"))
    assert (published.data, published.weights) == ("digits", "imagenet")
