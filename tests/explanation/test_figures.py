import numpy as np
from PIL import Image

from senet.explanation.figures import (
    choose_blocks,
    choose_early_and_late,
    choose_two,
    compute_class_curves,
    compute_spread_curves,
    draw_class_curves,
    draw_profile,
    draw_spread_curves,
    list_curves,
)
from senet.explanation.findings import label_block
from senet.explanation.statistics import SHUFFLES, GateStatistics
from tests.explanation.blocks import make_block


def of_paper():
    """The blocks of SE-ResNet-50."""
    return [
        make_block(f"stage{stage}_block{i + 1}_se_scale", width)
        for stage, width, number in ((2, 256, 3), (3, 512, 4), (4, 1024, 6), (5, 2048, 3))
        for i in range(number)
    ]


def test_the_blocks_in_the_pictures_are_those_of_the_paper():
    shown = [label_block(block.name) for block in choose_blocks(of_paper())]
    assert shown == ["stage2_block3", "stage3_block4", "stage4_block6"] + [
        f"stage5_block{i}" for i in (1, 2, 3)
    ]
    two = [label_block(block.name) for block in choose_early_and_late(of_paper())]
    assert two == ["stage2_block3", "stage5_block3"]


def test_all_of_the_last_stage_is_shown_and_of_very_many_blocks_some():
    blocks = [make_block(f"a{i}", 16) for i in range(9)] + [make_block(f"b{i}", 32) for i in "012"]
    assert [block.name for block in choose_blocks(blocks)] == ["a8", "b0", "b1", "b2"]
    deep = [make_block(f"stage{i}_block{j}_se", 16 * i) for i in (1, 2, 3) for j in range(1, 19)]
    shown = [block.name for block in choose_blocks(deep)]
    assert shown[:3] == ["stage1_block18_se", "stage2_block18_se", "stage3_block1_se"]
    assert (len(shown), shown[-1]) == (12, "stage3_block18_se")
    many = [make_block(f"b{i}", 8 * (i + 1)) for i in range(40)]
    assert len(choose_blocks(many)) == 12
    assert (choose_blocks(many)[0], choose_blocks(many)[-1]) == (many[0], many[-1])
    assert choose_blocks(many[:1]) == choose_early_and_late(many[:1]) == many[:1]


def counted(channels, rng):
    gates, labels = rng.random((30, channels)), np.arange(30) % 3
    block = GateStatistics.empty("stage1_block1_se_scale", (0.0, 1.0), 3, channels)
    block.add(gates, labels, np.stack([rng.permutation(labels) for _ in range(SHUFFLES)]))
    return block, gates, labels


def test_the_curves_are_means_and_spreads_of_fifty_channels():
    block, gates, labels = counted(200, np.random.default_rng(0))
    names = {0: "cat", 2: "emu"}
    channels = np.linspace(0, 199, 50).round().astype(int)
    curves = compute_class_curves(block, names)
    assert list(curves) == ["cat", "emu", "all 3 classes"]
    np.testing.assert_array_equal(curves["cat"]["channels"], channels)
    np.testing.assert_allclose(curves["emu"]["mean"], gates[labels == 2].mean(axis=0)[channels])
    np.testing.assert_allclose(curves["all 3 classes"]["mean"], gates.mean(axis=0)[channels])
    within = compute_spread_curves(block, names)
    assert list(within) == ["cat", "emu"]
    np.testing.assert_allclose(within["cat"]["spread"], gates[labels == 0].std(axis=0)[channels])
    plain = list_curves([block], names)[block.name]
    assert plain["channels"] == channels.tolist()
    assert plain["means"]["cat"]["mean"] == curves["cat"]["mean"].tolist()
    assert plain["within"]["emu"]["spread"] == within["emu"]["spread"].tolist()


def test_two_classes_are_the_first_and_the_last_that_are_shown():
    assert choose_two({5: "a", 1: "b", 3: "c"}) == {5: "a", 3: "c"}
    assert choose_two({5: "a"}) == {5: "a"}


def test_pictures_are_drawn_whatever_the_gates_are(tmp_path):
    rng = np.random.default_rng(0)
    block, *_ = counted(20, rng)
    shut = make_block("shut_se_scale", 16, spread=0.0, classes=3)
    names = {0: "cat", 1: "dog"}
    draw_profile([block, shut], tmp_path / "profile.png")
    draw_class_curves([block, shut], names, tmp_path / "classes.png")
    draw_spread_curves([block, shut], names, tmp_path / "within.png")
    for name in ("profile", "classes", "within"):
        assert np.asarray(Image.open(tmp_path / f"{name}.png").convert("L")).std() > 5
