import numpy as np
import pytest

from senet.explanation.findings import check_findings, label_block, split_into_stages
from tests.explanation.blocks import make_block


def test_the_findings_of_the_paper_are_found_where_they_are():
    blocks = [
        *(make_block(f"stage1_block{i}_se_scale", 64, 0.05) for i in (1, 2, 3)),
        *(make_block(f"stage2_block{i}_se_scale", 128, 0.4) for i in (1, 2, 3)),
        make_block("stage3_block1_se_scale", 256, 0.8),
        make_block("stage3_block2_se_scale", 256, 0.7, high=0.8, low=0.1),
    ]
    assert blocks[3].block_specificity == pytest.approx(0.4)
    early, deeper, late = check_findings(blocks)
    assert [f.answer for f in (early, deeper, late)] == ["yes", "yes", "yes"]
    assert "(stage1_block1 to stage1_block3) 5% of what they vary" in early.found
    assert "in the last stage (stage3_block1 to stage3_block2) 75%" in deeper.found
    assert late.found.startswith("90% of the gates of stage3_block2 are at an end")
    assert str(early).startswith("Early gates are class-agnostic. Yes: in the first stage with")
    for finding in (early, deeper, late):
        assert finding.rule
        assert finding.look


def test_the_findings_of_the_paper_are_not_found_where_they_are_not():
    blocks = [make_block(f"b{i}_se_scale", 8 * (i + 1), 0.9 - 0.2 * i, low=0.1) for i in range(4)]
    assert [f.answer for f in check_findings(blocks)] == ["no", "no", "no"]


def test_between_yes_and_no_a_finding_is_partly_there():
    blocks = [make_block(f"b{i}", 8 * (i + 1), 0.3 + 0.02 * i, high=0.3) for i in range(4)]
    assert [f.answer for f in check_findings(blocks)] == ["partly", "partly", "partly"]


def test_two_blocks_are_no_trend():
    early, deeper, _ = check_findings([make_block("a", 8, 0.1), make_block("b", 16, 0.9)])
    assert (early.answer, deeper.answer) == ("yes", "cannot be said")
    assert deeper.found == "2 blocks are too few for a trend."


def test_of_one_class_nothing_is_said_about_classes():
    blocks = [make_block(f"b{i}", 8 * (i + 1), classes=1, high=0.9) for i in range(3)]
    early, deeper, late = check_findings(blocks)
    assert [f.answer for f in (early, deeper, late)] == ["cannot be said", "cannot be said", "yes"]
    assert early.found == "all images are of one class."


def test_few_images_of_each_class_do_not_make_gates_class_specific():
    rng = np.random.default_rng(0)
    blocks = []
    for i in range(3):
        block = make_block(f"b{i}", 8 * (i + 1), classes=10)
        gates, labels = rng.random((15, len(block.largest))), np.arange(15) % 10
        blocks.append(type(block).empty(f"b{i}", (0.0, 1.0), 10, gates.shape[1]))
        blocks[-1].add(gates, labels, np.stack([rng.permutation(labels) for _ in range(5)]))
    assert min(block.block_specificity for block in blocks) > 0.5  # by chance alone
    assert [f.answer for f in check_findings(blocks)[:2]] == ["cannot be said"] * 2
    assert "15 images of 10 classes are too few" in check_findings(blocks)[0].found


def test_what_shuffled_labels_give_is_taken_off():
    block = make_block("a", 8, 0.4)
    away = 0.2 * np.sqrt(0.3)  # 30 % of the variance, with the labels shuffled
    block.shuffled_total = 50 * np.stack([[[0.5 - away] * 8, [0.5 + away] * 8]] * 5)
    np.testing.assert_allclose(block.shuffled_specificity, 0.3)
    assert block.specificity_beyond_chance == pytest.approx((0.4 - 0.3) / 0.7)
    assert check_findings([block])[0].answer == "yes"
    assert "30.0% would if labels were shuffled" in check_findings([block])[0].found


def test_gates_that_hardly_vary_tell_no_classes_apart():
    blocks = [make_block(f"b{i}", 8 * (i + 1), 0.9, spread=0.001) for i in range(3)]
    early, deeper, _ = check_findings(blocks)
    assert early.answer == "yes"
    assert "hardly vary" in early.found
    assert deeper.answer == "no"


def test_a_stage_is_a_run_of_blocks_with_as_many_channels():
    blocks = [make_block(str(i), width) for i, width in enumerate((8, 8, 16, 16, 16, 32))]
    assert [len(stage) for stage in split_into_stages(blocks)] == [2, 3, 1]
    assert [len(stage) for stage in split_into_stages(blocks[:2])] == [1, 1]
    assert label_block("stage2_block3_se_scale") == "stage2_block3"
    assert label_block("mine") == "mine"
