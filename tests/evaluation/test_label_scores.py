"""Scores of folders of label maps, held against one long list of pixels."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from mmseg.datasets import BaseSegDataset
from PIL import Image

from sipe_mmseg.datasets import ImageLevelDataset
from sipe_mmseg.datasets.cam_files import write_cam
from sipe_mmseg.datasets.label_files import write_label_png
from sipe_mmseg.datasets.palette import voc_palette
from sipe_mmseg.datasets.result_folder import ResultFolder
from sipe_mmseg.evaluation.label_scores import image_confusion, score_labels
from sipe_mmseg.evaluation.labelled_images import LabelledImage

CLASSES = ('background', 'cat', 'dog', 'bird', 'unicorn')  # no unicorn is ever there or claimed
IDS = [f'{index:02}' for index in range(38)] + ['more/a', 'more/b']
SIZE = (17, 19)


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, masks with void, and label maps with unknown pixels."""
    root = tmp_path_factory.mktemp('set')
    rng = np.random.default_rng(0)
    for name in IDS:
        for folder in ('images', 'masks', 'labels'):
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)).save(root / 'images' / f'{name}.png')
        for folder in ('masks', 'labels'):
            pixels = rng.choice([0, 0, 0, 1, 2, 3, 255], SIZE)
            write_label_png(root / folder / f'{name}.png', pixels, voc_palette(5))
    return root


def dataset(root: Path, **options: Any) -> ImageLevelDataset:
    options = {'data_prefix': dict(img_path='images', seg_map_path='masks'), **options}
    return ImageLevelDataset(
        data_root=str(root),
        metainfo=dict(classes=CLASSES),
        test_mode=True,
        on_unlabelled='keep',
        pipeline=[],
        **options,
    )


def pixels(folder: Path) -> np.ndarray:
    return np.concatenate([np.array(Image.open(folder / f'{name}.png')).ravel() for name in IDS])


def copy_of(root: Path, tmp_path: Path) -> Path:
    for name in IDS:
        path = tmp_path / 'copy' / f'{name}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((root / 'labels' / f'{name}.png').read_bytes())
    return tmp_path / 'copy'


@pytest.mark.parametrize('ignore_unknown', [False, True])
def test_figures_are_those_of_one_long_list_of_pixels(root: Path, ignore_unknown: bool) -> None:
    done: list[int] = []
    scores = score_labels(
        dataset(root), root / 'labels', ignore_unknown=ignore_unknown, on_images=done.append, threads=3
    )
    truth, labels = pixels(root / 'masks'), pixels(root / 'labels')
    truth, labels = truth[truth != 255], labels[truth != 255]
    share_unknown = np.mean(labels == 255)
    known = labels != 255
    figures = scores.figures()
    assert sum(done) == figures['num_images'] == len(IDS)
    assert figures['unknown'] == pytest.approx(100 * share_unknown, abs=0.005)
    assert figures['unknown_pixels'] == np.sum(labels == 255)
    right = truth == labels
    assert figures['right_of_known'] == pytest.approx(100 * right[known].mean(), abs=0.005)
    assert figures['right_of_background'] == pytest.approx(100 * right[labels == 0].mean(), abs=0.005)
    assert figures['right_of_foreground'] == pytest.approx(100 * right[known & (labels > 0)].mean(), abs=0.005)
    if ignore_unknown:
        truth, labels = truth[known], labels[known]
    iou, over, under = [], [], []
    for index in range(4):
        union = np.sum((truth == index) | (labels == index))
        iou.append(np.sum((truth == index) & (labels == index)) / union)
        over.append(np.sum((truth != index) & (labels == index)) / union)
        under.append(np.sum((truth == index) & (labels != index)) / union)
    assert figures['IoU'] == {
        **{name: pytest.approx(100 * value, abs=0.005) for name, value in zip(CLASSES[:4], iou, strict=True)},
        'unicorn': None,
    }
    assert figures['mIoU'] == pytest.approx(100 * np.mean(iou), abs=0.005)
    assert figures['FP'] == pytest.approx(100 * np.mean(over[1:]), abs=0.005)
    assert figures['FN'] == pytest.approx(100 * np.mean(under[1:]), abs=0.005)
    assert f'{100 * iou[1]:.2f}' in scores.table() and 'unicorn' in scores.table()
    assert f'mIoU {figures["mIoU"]:.2f} %' in scores.summary()
    assert f'{figures["unknown_pixels"]} pixels, {figures["unknown"]:.2f} % of all' in scores.summary()
    assert ('left out' in scores.summary()) == ignore_unknown


def test_masks_score_full_marks_against_themselves(root: Path) -> None:
    figures = score_labels(dataset(root), root / 'masks').figures()
    assert (figures['mIoU'], figures['FP'], figures['FN'], figures['unknown_pixels']) == (100, 0, 0, 0)


def test_missing_files_are_an_error_not_a_shorter_list(root: Path, tmp_path: Path) -> None:
    folder = copy_of(root, tmp_path)
    (folder / '03.png').unlink()
    (folder / 'more/b.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'2 of 40 images have no \.png file: 03, more/b'):
        score_labels(dataset(root), folder)
    with pytest.raises(FileNotFoundError, match='nowhere: no such folder'):
        score_labels(dataset(root), tmp_path / 'nowhere')


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (lambda path: Image.new('P', (17, 19)).save(path), r'07\.png: has 17x19 pixels .* its image has 19x17'),
        (lambda path: Image.new('RGB', (19, 17)).save(path), r'07\.png: has mode RGB'),
        (lambda path: Image.new('L', (19, 17), 5).save(path), r'07\.png: has the value 5, but there are 5 classes'),
        (lambda path: path.write_bytes(path.read_bytes()[:99]), r'07\.png: not a readable PNG'),
    ],
)
def test_bad_label_maps_are_named(root: Path, tmp_path: Path, damage: Any, message: str) -> None:
    folder = copy_of(root, tmp_path)
    damage(folder / '07.png')
    with pytest.raises(ValueError, match=message):
        score_labels(dataset(root), folder)


def test_data_set_without_masks(root: Path) -> None:
    with pytest.raises(ValueError, match=r'no masks to score against: give it a data_prefix\.seg_map_path'):
        score_labels(dataset(root, data_prefix=dict(img_path='images')), root / 'labels')


def test_an_image_without_a_mask() -> None:
    image = LabelledImage('a', 'images/a.png', np.zeros((2, 2), np.uint8), truth=None, cam=None)
    with pytest.raises(ValueError, match=r'images/a\.png: has no mask to score against'):
        image_confusion(image, 3)


class ThreeClasses(BaseSegDataset):
    METAINFO: ClassVar[dict] = dict(classes=('background', 'cat', 'dog'), palette=[[0] * 3] * 3)


@pytest.mark.parametrize('changes', [dict(reduce_zero_label=True), dict(metainfo=dict(classes=('background', 'dog')))])
def test_data_set_that_changes_the_values_of_its_masks(root: Path, changes: dict) -> None:
    prefix = dict(img_path=str(root / 'images'), seg_map_path=str(root / 'masks'))
    with pytest.raises(ValueError, match='changes the values of its masks'):
        score_labels(ThreeClasses(data_prefix=prefix, img_suffix='.png', pipeline=[], **changes), root / 'labels')


def cam_folder(root: Path) -> ResultFolder:
    """CAM files at stride 1 whose argmax is the label map, unknown pixels background."""
    folder = ResultFolder(root, '.npz')
    folder.start({'checkpoint': 1})
    return folder


def test_cam_files_score_as_their_argmax(root: Path, tmp_path: Path) -> None:
    cams = cam_folder(tmp_path / 'cams')
    for name in IDS:
        labels = np.array(Image.open(root / 'labels' / f'{name}.png'))
        labels[labels == 255] = 0
        classes = np.unique(labels[labels > 0])
        is_cam = np.stack([labels == key for key in (0, *classes)]).astype(np.float32)
        write_cam(cams.path(name), classes, is_cam, SIZE, cams.digest())
        write_label_png(tmp_path / 'labels' / f'{name}.png', labels, voc_palette(5))
    expected = score_labels(dataset(root), tmp_path / 'labels').figures()
    assert score_labels(dataset(root), cams.root, cams=True).figures() == expected
    # A file that was copied here from the folder of another checkpoint.
    write_cam(cams.path('05'), np.array([1]), np.zeros((2, *SIZE)), SIZE, 'digest of another folder')
    with pytest.raises(ValueError, match=r'05\.npz: made with another checkpoint or other settings'):
        score_labels(dataset(root), cams.root, cams=True)
    write_cam(cams.path('05'), np.array([1]), np.zeros((2, 4, 4)), (16, 16), cams.digest())
    with pytest.raises(ValueError, match=r'05\.npz: of an image of \(16, 16\), but its mask has \(17, 19\)'):
        score_labels(dataset(root), cams.root, cams=True)
