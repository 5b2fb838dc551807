"""Fusion over scales and mirrors as MMEngine's test loop calls it."""

from collections.abc import Callable, Sequence
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import BaseDataElement
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

SIZE = (48, 80)
LABELS = [1, 0, 1]
Build = Callable[..., nn.Module]
Sample = Callable[..., SegDataSample]
PREPROCESSOR = dict(type='ImageLevelDataPreProcessor', mean=[10.0, 20.0, 30.0], std=[50.0, 60.0, 70.0])


@pytest.fixture
def module(segmentor: Build) -> nn.Module:
    return segmentor(data_preprocessor=PREPROCESSOR).eval()


def draw(size: tuple = SIZE, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return torch.randint(256, (3, *size)).float()


def resized(image: Tensor, scale: float) -> Tensor:
    """Stands for the pipeline's resize."""
    return image if scale == 1 else F.interpolate(image[None], scale_factor=scale, mode='bilinear')[0]


def laid_out(
    images: Sequence[Tensor], make_sample: Sample, scales: Sequence[float], labels: Sequence[list | None]
) -> dict[str, list]:
    """A batch as ``TestTimeAug`` and the collate function leave it: one list of images a scale."""
    sizes = [tuple(image.shape[-2:]) for image in images]
    return dict(
        inputs=[[resized(image, scale) for image in images] for scale in scales],
        data_samples=[[make_sample(label, size) for label, size in zip(labels, sizes, strict=True)] for _ in scales],
    )


def fuse(module: nn.Module, data: dict[str, list], **config: bool) -> list[SegDataSample]:
    with torch.no_grad():
        return MODELS.build(dict(type='MultiScaleCAM', module=module, **config)).test_step(data)


def same(found: SegDataSample, expected: SegDataSample, atol: float = 0.0) -> None:
    def values(sample: BaseDataElement) -> dict[str, Tensor]:
        return dict(
            label_map=sample.pred_sem_seg.data,
            **{name: sample.localization.get(name) for name in ('is_cam', 'cam', 'seeds')},
            **{name: sample.present.get(name) for name in ('classes', 'scores', 'given')},
        )

    expected = values(expected)
    for name, value in values(found).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=atol, msg=lambda text, n=name: f'{n}: {text}')


@pytest.mark.parametrize('mirror', [True, False])
@pytest.mark.parametrize('labels', [LABELS, None])
def test_one_scale_is_the_segmentors_own_prediction(
    module: nn.Module, make_sample: Sample, mirror: bool, labels: list | None
) -> None:
    found = fuse(module, laid_out([draw()], make_sample, [1.0], [labels]), mirror=mirror)
    module.test_cfg = dict(mirror=mirror)
    with torch.no_grad():
        expected = module.test_step(dict(inputs=[draw()], data_samples=[make_sample(labels, SIZE)]))
    same(found[0], expected[0])


def test_mirror_is_the_default(module: nn.Module, make_sample: Sample) -> None:
    data = laid_out([draw()], make_sample, [1.0], [LABELS])
    maps = {
        name: fuse(module, data, **config)[0].localization.is_cam
        for name, config in {'default': {}, 'on': dict(mirror=True), 'off': dict(mirror=False)}.items()
    }
    assert torch.equal(maps['default'], maps['on'])
    assert not torch.allclose(maps['on'], maps['off'], atol=1e-3)


@pytest.mark.parametrize('mirror', [True, False])
def test_scales_are_fused_as_in_the_reference(
    reference: ModuleType, module: nn.Module, make_sample: Sample, mirror: bool
) -> None:
    scales, image = (1.0, 0.5, 1.5), draw()
    found = fuse(module, laid_out([image], make_sample, scales, [LABELS]), mirror=mirror)[0]
    mean, std = (torch.tensor(PREPROCESSOR[name]).view(3, 1, 1) for name in ('mean', 'std'))
    cams, is_cams, keys = [], [], [0, 1, 3]
    for scale in scales:
        normalised = (resized(image, scale) - mean) / std
        with torch.no_grad():
            own, other = (module._forward(x[None]) for x in (normalised, normalised.flip(-1)))
        logits, hierarchical = (
            (getattr(own, name) + getattr(other, name).flip(-1) if mirror else getattr(own, name))[0].double()
            for name in ('logits', 'hierarchical')
        )
        cam, _, _, is_cam = reference.inference_maps(logits, hierarchical, LABELS)
        cams.append(cam[keys[1:]])
        is_cams.append(is_cam[keys])
    expected = reference.fused_scales(is_cams, SIZE)
    torch.testing.assert_close(found.localization.is_cam.double(), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.localization.cam.double(), reference.fused_scales(cams, SIZE), rtol=0, atol=1e-5)
    best, second = expected.topk(2, dim=0).values
    clear = best - second > 1e-5  # where rounding cannot decide
    assert clear.float().mean() > 0.99
    assert torch.equal(found.pred_sem_seg.data[0][clear], torch.tensor(keys)[expected.argmax(dim=0)][clear])


@pytest.mark.parametrize('labels', [LABELS, None])
def test_order_of_scales_does_not_matter(module: nn.Module, make_sample: Sample, labels: list | None) -> None:
    first, *others = (
        fuse(module, laid_out([draw()], make_sample, scales, [labels]))[0]
        for scales in ((1.0, 0.5, 2.0), (2.0, 1.0, 0.5), (0.5, 2.0, 1.0))
    )
    for other in others:
        same(other, first, 1e-5)


@pytest.mark.parametrize(('scales', 'nearest'), [((2.0, 1.0, 0.5), 1.0), ((2.0, 0.5, 1.5), 1.5), ((0.5, 4.0), 0.5)])
def test_scores_seeds_and_own_labels_are_those_of_the_scale_nearest_1(
    module: nn.Module, make_sample: Sample, scales: tuple, nearest: float
) -> None:
    # A threshold between the scores of the scales, so that each scale by itself would find other classes.
    scores = {
        scale: fuse(module, laid_out([draw()], make_sample, [scale], [None]))[0].present.scores for scale in scales
    }
    ranked = torch.cat(list(scores.values())).sort().values
    for threshold in ((ranked[1:] + ranked[:-1]) / 2).tolist():
        module.test_cfg = dict(score_threshold=threshold)
        found = fuse(module, laid_out([draw()], make_sample, scales, [None]))[0]
        assert torch.equal(found.present.scores, scores[nearest])
        assert found.present.classes.tolist() == (1 + (scores[nearest] > threshold).nonzero()[:, 0]).tolist()
        assert not found.present.given
        alone = fuse(module, laid_out([draw()], make_sample, [nearest], [None]))[0]
        assert torch.equal(found.localization.seeds, alone.localization.seeds)
        assert len(found.localization.is_cam) == len(found.present.classes) + 1


def test_batch_is_as_good_as_one_by_one(module: nn.Module, make_sample: Sample) -> None:
    images, labels, scales = [draw(seed=0), draw(seed=1)], [LABELS, [0, 1, 0]], (1.0, 0.5, 1.5)
    together = fuse(module, laid_out(images, make_sample, scales, labels))
    for found, image, label in zip(together, images, labels, strict=True):
        same(found, fuse(module, laid_out([image], make_sample, scales, [label]))[0], 1e-5)


def test_flip_in_the_pipeline_is_refused(module: nn.Module, make_sample: Sample) -> None:
    data = laid_out([draw()], make_sample, [1.0, 1.0], [LABELS])
    data['data_samples'][1][0].set_metainfo(dict(flip=True))
    with pytest.raises(ValueError, match=r'tta_pipeline flips images: take the flip out, MultiScaleCAM\(mirror=True\)'):
        fuse(module, data)
    data['data_samples'][1][0].set_metainfo(dict(flip=False))
    assert fuse(module, data)


def test_there_is_nothing_to_merge(module: nn.Module) -> None:
    with pytest.raises(TypeError, match='fuses maps in test_step'):
        MODELS.build(dict(type='MultiScaleCAM', module=module)).merge_preds([])


def test_is_built_from_configs_as_the_test_tool_does(make_sample: Sample) -> None:
    model = MODELS.build(
        dict(
            type='MultiScaleCAM',
            module=dict(
                type='SIPESegmentor',
                backbone=dict(type='TinyPyramid'),
                decode_head=dict(type='SIPEHead', in_channels=[4, 6, 8, 10], num_classes=4),
                data_preprocessor=PREPROCESSOR,
            ),
        )
    ).eval()
    with torch.no_grad():
        found = model.test_step(laid_out([draw()], make_sample, [1.0], [LABELS]))
    assert found[0].pred_sem_seg.data.shape == (1, *SIZE)
