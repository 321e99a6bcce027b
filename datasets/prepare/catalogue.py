"""The datasets that can be prepared: their archives, mirrors, checksums and sizes.

Checksums are those of torchvision's `datasets` (VOC, Imagenette, CIFAR-10, Places365, ImageNet)
and, for ADE20K, of the archive that the SceneParsing benchmark links to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from datasets.kinds import Kind


@dataclass(frozen=True)
class Archive:
    """A file to download.

    Attributes:
        file_name: Its name, on the mirrors and here.
        checksum: `"md5:…"` or `"sha1:…"`, in pooch's format.
        size_bytes: Approximate size; only the first disk-space check relies on it.
        urls: The mirrors, in order of preference; empty if the user has to provide the file.
    """

    file_name: str
    checksum: str
    size_bytes: int
    urls: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataSet:
    """A dataset as its authors publish it.

    Attributes:
        name: Name on the command line.
        kind: The layout of the result.
        folder: The folder of the result, relative to the data folder.
        archives: Archives by role; `arrange` uses the roles.
        images: Number of training and of test images.
        unpacked_bytes: Approximate size of the result on a disk with blocks of 4 KiB.
        page: The website of the dataset, for information and registration.
    """

    name: str
    kind: Kind
    folder: str
    archives: Mapping[str, Archive]
    images: tuple[int, int]
    unpacked_bytes: int
    page: str


def _voc(year: str, file_name: str, md5: str, size_bytes: int) -> Archive:
    return Archive(
        file_name,
        f"md5:{md5}",
        size_bytes,
        (
            f"https://thor.robots.ox.ac.uk/pascal/VOC/{year}/{file_name}",
            f"http://host.robots.ox.ac.uk/pascal/VOC/{year}/{file_name}",
            f"https://pjreddie.com/media/files/{file_name}",
        ),
    )


def _places(file_name: str, md5: str, size_bytes: int) -> Archive:
    path = f"data.csail.mit.edu/places/places365/{file_name}"
    return Archive(file_name, f"md5:{md5}", size_bytes, (f"http://{path}", f"https://{path}"))


_ADE = "data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip"
_CIFAR = "www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"

_ALL = (
    DataSet(
        name="voc",
        kind="voc",
        folder="VOCdevkit",
        archives={
            "2007 trainval": _voc(
                "voc2007",
                "VOCtrainval_06-Nov-2007.tar",
                "c52e279531787c972589f7e41ab4ae64",
                460_000_000,
            ),
            "2007 test": _voc(
                "voc2007",
                "VOCtest_06-Nov-2007.tar",
                "b6e924de25625d8de591ea690078ad9f",
                451_000_000,
            ),
            "2012 trainval": _voc(
                "voc2012",
                "VOCtrainval_11-May-2012.tar",
                "6cd6e144f989b92b3379bac3b3de84fd",
                2_000_000_000,
            ),
        },
        images=(16_551, 4_952),
        unpacked_bytes=3_100_000_000,
        page="http://host.robots.ox.ac.uk/pascal/VOC/",
    ),
    DataSet(
        name="ade20k",
        kind="ade20k",
        folder="ADEChallengeData2016",
        archives={
            "all": Archive(
                "ADEChallengeData2016.zip",
                "sha1:219e1696abb36c8ba3a3afe7fb2f4b4606a897c7",
                970_000_000,
                (f"http://{_ADE}", f"https://{_ADE}"),
            )
        },
        images=(20_210, 2_000),
        unpacked_bytes=1_100_000_000,
        page="http://sceneparsing.csail.mit.edu/",
    ),
    DataSet(
        name="imagenette",
        kind="imagefolder",
        folder="imagenette2-320",
        archives={
            "all": Archive(
                "imagenette2-320.tgz",
                "md5:3df6f0d01a2c9592104656642f5e78a3",
                342_000_000,
                (
                    # Two addresses of one bucket: networks that block one often allow the other.
                    "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz",
                    "https://fast-ai-imageclas.s3.amazonaws.com/imagenette2-320.tgz",
                ),
            )
        },
        images=(9_469, 3_925),
        unpacked_bytes=380_000_000,
        page="https://github.com/fastai/imagenette",
    ),
    DataSet(
        name="cifar10",
        kind="imagefolder",
        folder="cifar10",
        archives={
            "all": Archive(
                "cifar-10-python.tar.gz",
                "md5:c58f30108f718f92721af3b95e74349a",
                171_000_000,
                (f"https://{_CIFAR}", f"http://{_CIFAR}"),
            )
        },
        images=(50_000, 10_000),
        unpacked_bytes=250_000_000,
        page="https://www.cs.toronto.edu/~kriz/cifar.html",
    ),
    DataSet(
        name="places365",
        kind="imagefolder",
        folder="places365",
        archives={
            "lists": _places(
                "filelist_places365-standard.tar", "35a0585fee1fa656440f3ab298f8479c", 100_000_000
            ),
            "val": _places("val_256.tar", "e27b17d8d44f4af9a78502beb927f808", 530_000_000),
            "train": _places(
                "train_256_places365standard.tar",
                "53ca1c756c3d1e7809517cc47c5561c5",
                26_000_000_000,
            ),
        },
        images=(1_803_460, 36_500),
        unpacked_bytes=30_000_000_000,
        page="http://places2.csail.mit.edu/",
    ),
    DataSet(
        name="imagenet",
        kind="imagefolder",
        folder="imagenet",
        archives={
            "devkit": Archive(
                "ILSVRC2012_devkit_t12.tar.gz", "md5:fa75699e90414af021442c21a62c3abf", 2_570_000
            ),
            "val": Archive(
                "ILSVRC2012_img_val.tar", "md5:29b22e2961454d5413ddabcf34fc5622", 6_740_000_000
            ),
            "train": Archive(
                "ILSVRC2012_img_train.tar", "md5:1d675b47d978889d74fa0da5fadfb00e", 147_900_000_000
            ),
        },
        images=(1_281_167, 50_000),
        unpacked_bytes=158_000_000_000,
        page="https://www.image-net.org/download.php",
    ),
)

SETS: dict[str, DataSet] = {dataset.name: dataset for dataset in _ALL}
