import pytest

import senet
from senet import machine
from senet.recipes.recipe import Recipe
from senet.training import setup
from senet.training.distribution import Team
from senet.training.memory import require_step_fits
from senet.training.parts import Network
from tests.conftest import make_photos


def test_batches_that_do_not_fit_are_refused_with_those_that_do(monkeypatch):
    model = senet.create("se_resnet20_cifar", classes=10)
    monkeypatch.setattr(machine, "count_memory", lambda: 2**30)
    require_step_fits(model, 256, 1)
    with pytest.raises(senet.CapacityError) as caught:
        require_step_fits(model, 4096, 2)
    text = str(caught.value)
    assert "A step of 4096 images of 32 x 32 pixels takes about 8 GiB, and there are 1 GiB" in text
    assert "--batch-size 256 --accumulate 32" in text
    require_step_fits(model, 256, 32)
    monkeypatch.setattr(machine, "count_memory", lambda: 2**20)
    with pytest.raises(MemoryError, match="Choose a smaller network, or smaller images"):
        require_step_fits(model, 64, 1)


def test_the_recipe_of_the_paper_says_what_it_needs_before_it_reads_images(tmp_path, monkeypatch):
    photos = make_photos(tmp_path / "photos", 700)
    monkeypatch.setattr(machine, "count_memory", lambda: 24 * 2**30)
    monkeypatch.setattr(
        "senet.training.setup.inspect_images", lambda *_: pytest.fail("images were read")
    )
    with pytest.raises(senet.CapacityError, match=r"--batch-size \d+ --accumulate \d+"):
        senet.train(photos, preset="paper", out=tmp_path / "run")
    assert not (tmp_path / "run/run.json").exists()


def test_frozen_layers_and_shared_batches(monkeypatch):
    model = senet.create("se_resnet20_cifar", classes=10)
    monkeypatch.setattr(machine, "count_memory", lambda: 2**30)
    with pytest.raises(senet.CapacityError, match="--batch-size 249 --accumulate 12"):
        require_step_fits(model, 996, 3, devices=3)
    network = Network(model, None)
    frozen = Recipe(batch_size=4096, freeze=("stem*",))
    setup.require_memory(frozen, network, Team())
    setup.require_memory(Recipe(batch_size=4096), network, Team(size=2))
    with pytest.raises(senet.CapacityError):
        setup.require_memory(Recipe(batch_size=4096), network, Team())
