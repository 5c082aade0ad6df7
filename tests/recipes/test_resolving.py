import os
import shutil

import numpy as np
import pytest
from PIL import Image

from senet.data.sources import load_data
from senet.recipes.recipe import Recipe
from senet.recipes.resolving import fill_defaults, locate_paths


def resolved(data, **fields):
    recipe = fill_defaults(Recipe(data=str(data), **fields), load_data(str(data)))
    return recipe.size, recipe.crop, recipe.flip, recipe.jitter


def save_images(root, *size):
    """A folder of ten noisy images of two classes."""
    rng = np.random.default_rng(0)
    for i in range(10):
        path = root / ("cat" if i % 2 else "dog") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype="uint8")).save(path)
    return root


def test_what_a_recipe_leaves_open_follows_the_data(tmp_path):
    assert resolved("digits") == (32, "shift", 0.0, 0.0)
    large = save_images(tmp_path / "large", 80, 100)
    assert resolved(large) == (32, "resized", 0.5, 0.2)
    assert resolved("digits", size=64, crop="centre", flip=0.1, jitter=0.3) == (
        *(64, "centre", 0.1, 0.3),
    )


@pytest.mark.parametrize(
    ("size", "expected"),
    [((64, 64), ("shift", 0.0)), ((40, 48), ("shift", 0.0)), ((64, 65), ("resized", 0.2))],
)
@pytest.mark.parametrize("kind", ["folder", "zip", "arrays"])
def test_crop_and_jitter_follow_the_size_of_the_images_however_they_are_stored(
    tmp_path, kind, size, expected
):
    data = save_images(tmp_path / "images", *size)
    if kind == "zip":
        data = shutil.make_archive(str(data), "zip", data)
    elif kind == "arrays":
        images = np.stack([np.array(Image.open(path)) for path in sorted(data.rglob("*.png"))])
        data = tmp_path / "images.npz"
        np.savez(data, images=images, labels=np.arange(10) % 2)
    assert resolved(data)[1::2] == expected


def test_images_that_cannot_be_read_say_nothing_of_the_size(tmp_path):
    folder = save_images(tmp_path / "images", 32, 32)
    for path in sorted(folder.rglob("*.png"))[::2]:
        path.write_bytes(b"no image")
    assert load_data(str(folder)).small
    for path in folder.rglob("*.png"):
        path.write_bytes(b"no image")
    assert not load_data(str(folder)).small


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
