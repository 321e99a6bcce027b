"""The ImageFolder dataset and its pipelines; classification's configs name the transforms."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from cls_train.assemble import CONFIGS
from contract.errors import UserError
from engine import config as configs
from engine.image_folder import ImageFolderDataset, build_pipeline, transforms_of
from engine.runner.seeding import seed_everything


def test_samples_are_in_label_order(image_folder):
    data = ImageFolderDataset(str(image_folder / "val"), [])
    assert data.metainfo == {"classes": ("c0", "c1", "c2")}
    assert len(data) == 12
    for index in (0, 5, 11):
        sample = data[index]
        assert sample["labels"] == index // 4
        path = image_folder / "val" / f"c{index // 4}" / f"{index % 4}.png"
        assert data.get_data_info(index) == {"img_path": str(path), "label": index // 4}
        assert data.classes_in(data.get_data_info(index)) == {index // 4}
        expected = np.asarray(Image.open(path)).transpose(2, 0, 1)
        assert sample["inputs"].dtype == torch.uint8
        np.testing.assert_array_equal(sample["inputs"].numpy(), expected)


def _folders(root, *names):
    for name in names:
        (root / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(root / name / "a.png")
    return root


def test_empty_class_folder(tmp_path):
    root = _folders(tmp_path / "train", "cat", "dog")
    (root / "eel").mkdir()
    with pytest.raises(UserError, match=r"eel.*every class folder of .*train needs an image"):
        ImageFolderDataset(str(root), [])


@pytest.mark.parametrize(("val", "odd"), [(("cat",), "dog"), (("cat", "dog", "eel"), "eel")])
def test_classes_differ_between_splits(tmp_path, val, odd):
    root = _folders(tmp_path / "val", *val)
    with pytest.raises(UserError, match=rf"other class folders .*'{odd}'.*need the same ones"):
        ImageFolderDataset(str(root), [], classes=["cat", "dog"])


def _pipeline(key):
    return transforms_of(configs.load(CONFIGS, "imagenet", (), {}), key)


def test_test_pipeline_crops_centre():
    pixels = np.zeros((300, 500, 3), np.uint8)
    pixels[145:155, 245:255] = 255
    out = build_pipeline(_pipeline("test_pipeline"))(Image.fromarray(pixels))
    assert (tuple(out.shape), out.dtype) == ((3, 224, 224), torch.uint8)
    rows, columns = np.nonzero(out[0].numpy() > 128)
    # The white spot stays in the middle, smaller by 256 / 300.
    assert rows.mean() == pytest.approx(111.5, abs=1)
    assert columns.mean() == pytest.approx(111.5, abs=1)
    assert len(rows) == pytest.approx((10 * 256 / 300) ** 2, rel=0.25)


def test_training_pipeline_is_seeded_float():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8))
    transform = build_pipeline(_pipeline("train_pipeline"))
    outputs = []
    for key in (1, 1, 2):
        seed_everything(key)
        outputs.append(transform(image))
    assert tuple(outputs[0].shape) == (3, 224, 224)
    assert outputs[0].dtype == torch.float32
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    assert outputs[0].max() > 2  # on the scale 0..255


def test_training_pipeline_matches_paper():
    steps = build_pipeline(_pipeline("train_pipeline")).transforms
    crop, flip, jitter = steps[0], steps[1], steps[4].transform.drawn
    assert isinstance(crop, v2.RandomResizedCrop)
    assert (tuple(crop.scale), tuple(crop.ratio)) == ((0.08, 1.0), (3 / 4, 4 / 3))
    assert (tuple(crop.size), flip.p) == ((224, 224), 0.5)
    assert tuple(jitter.brightness) == tuple(jitter.saturation) == pytest.approx((0.6, 1.4))
    assert tuple(jitter.hue) == (-0.2, 0.2)
    assert jitter.contrast is None


def test_test_size_299_keeps_ratio():
    resize, crop = transforms_of(
        configs.load(CONFIGS, "imagenet", ("image_299",), {}), "test_pipeline"
    )
    assert (resize["size"], crop["size"]) == (342, 299)


def test_unknown_transforms_and_arguments():
    with pytest.raises(
        UserError, match="unknown transform 'CentreCrop'; did you mean 'CenterCrop'"
    ):
        build_pipeline([dict(type="CentreCrop", size=4)])
    with pytest.raises(UserError, match=r"the transform CenterCrop: .*sise"):
        build_pipeline([dict(type="CenterCrop", sise=4)])
    with pytest.raises(UserError, match=r"the transform RandomHorizontalFlip: .*floating point"):
        build_pipeline([dict(type="RandomHorizontalFlip", p=3)])
