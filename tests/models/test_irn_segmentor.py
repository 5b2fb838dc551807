"""IRN's segmentor: the frozen encoder, and the way from image and IS-CAM to a label map, against a slow one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import LabelData, PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

HEAD: dict[str, Any] = dict(
    type='IRNHead',
    in_channels=[4, 6, 8, 10],
    strides=[4, 8, 16, 16],
    boundary_channels=4,
    boundary_groups=2,
    displacement_channels=[4, 6, 6, 6],
    displacement_groups=[2, 2, 2, 2],
    joint_channels=4,
    joint_groups=2,
    num_classes=5,
    loss_affinity=dict(type='AffinityLoss', radius=3),
    loss_displacement=dict(type='DisplacementLoss', radius=3),
)
SETTINGS = dict(min_size=48, exp_times=3)


def build(backbone: dict | None = None, **changes: Any) -> nn.Module:
    torch.manual_seed(5)
    model = MODELS.build(
        dict(type='IRNSegmentor', backbone=backbone or dict(type='TinyPyramid'), decode_head=HEAD)
        | dict(test_cfg=SETTINGS)
        | changes
    )
    nn.init.normal_(model.decode_head.boundary_output.weight)  # so that there are boundaries of all strengths
    return model


def draw_image(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(3, height, width, generator=torch.Generator().manual_seed(seed))


def make_sample(
    size: Sequence[int], classes: Sequence[int], labels: Sequence[int] | None = None, **meta: Any
) -> SegDataSample:
    grid = [-(-side // 4) for side in size]
    is_cam = torch.rand(len(classes) + 1, *grid, generator=torch.Generator().manual_seed(len(classes)))
    sample = SegDataSample(metainfo=dict(img_path='image.jpg', ori_shape=tuple(size), **meta))
    sample.set_data(dict(cam=LabelData(classes=torch.tensor(classes, dtype=torch.int64), is_cam=is_cam)))
    if labels is not None:
        sample.set_data(dict(image_labels=LabelData(multi_hot=torch.tensor(labels, dtype=torch.float32))))
    return sample


def boundary_by_hand(model: nn.Module, image: Tensor, padded: tuple[int, int]) -> Tensor:
    """Image and mirror one after the other, each on its own canvas of zeros."""
    height, width = image.shape[1:]
    rows, columns = -(-height // 4), -(-width // 4)
    logits = []
    for mirror in (False, True):
        canvas = torch.zeros(1, 3, *padded)
        canvas[0, :, :height, :width] = image.flip(2) if mirror else image
        found = model.decode_head.boundary(model.backbone(canvas))[0, 0, :rows, :columns]
        logits.append(found.flip(1) if mirror else found)
    return 1 / (1 + torch.exp(-(logits[0] + logits[1]) / 2))


def walk_by_hand(x: np.ndarray, boundary: np.ndarray, radius: int, beta: float, steps: int) -> np.ndarray:
    """x T^steps with the dense matrix."""
    height, width = boundary.shape
    cells = [(y, x) for y in range(height) for x in range(width)]
    matrix = np.zeros((len(cells), len(cells)))
    for a, (ya, xa) in enumerate(cells):
        for b, (yb, xb) in enumerate(cells):
            dy, dx = yb - ya, xb - xa
            if dy * dy + dx * dx >= radius * radius:
                continue
            box = [
                (y, x)
                for y in range(min(ya, yb), max(ya, yb) + 1)
                for x in range(min(xa, xb), max(xa, xb) + 1)
                if a == b or (dy * (x - xa) - dx * (y - ya)) ** 2 / (dy * dy + dx * dx) < 1
            ]
            matrix[a, b] = 1 if a == b else (1 - max(boundary[cell] for cell in box)) ** beta
    matrix /= matrix.sum(axis=0)
    flat = (x * (1 - boundary)).reshape(len(x), -1)
    for _ in range(steps):
        flat = flat @ matrix
    return flat.reshape(x.shape)


@pytest.mark.parametrize(
    ('size', 'padded'),
    [((40, 48), (48, 48)), ((48, 33), (48, 48)), ((49, 31), (64, 48)), ((70, 97), (80, 112)), ((64, 64), (64, 64))],
)
def test_boundary_is_fused_with_the_mirrors_before_the_sigmoid(size: tuple[int, int], padded: tuple[int, int]) -> None:
    """Padded at right and bottom to 48, or beyond that to a multiple of 16; never cropped."""
    model = build().eval()
    image = draw_image(*size)
    with torch.no_grad():
        found = model.boundary(image)
        torch.testing.assert_close(found, boundary_by_hand(model, image, padded))
    assert found.shape == (-(-size[0] // 4), -(-size[1] // 4))
    assert found.std() > 0.05


@pytest.mark.parametrize('classes', [[2], [1, 4], []])
def test_prediction_step_by_step(classes: list[int]) -> None:
    model = build().eval()
    size = (41, 34)
    image, sample = draw_image(*size), make_sample(size, classes)
    with torch.no_grad():
        (found,) = model.predict(image[None], [sample])
        boundary = boundary_by_hand(model, image, (48, 48)).double().numpy()
    is_cam = sample.cam.is_cam.double().numpy()
    walked = torch.from_numpy(walk_by_hand(is_cam**1.5, boundary, radius=5, beta=10, steps=2**3))
    pixels = F.interpolate(walked[None], scale_factor=4, mode='bilinear', align_corners=False)[
        0, :, : size[0], : size[1]
    ]
    expected = (pixels / pixels.max()).float()
    torch.testing.assert_close(found.refined.scores, expected, rtol=0, atol=1e-4)
    assert float(found.refined.scores.max()) == 1
    best = found.refined.scores.argmax(dim=0)
    assert found.pred_sem_seg.data.dtype == torch.int64
    assert found.pred_sem_seg.data[0].tolist() == torch.tensor([0, *classes])[best].tolist()
    assert set(found.pred_sem_seg.data.unique().tolist()) == {0, *classes}
    torch.testing.assert_close(found.boundary.data[0].double(), torch.from_numpy(boundary), rtol=0, atol=1e-5)


@pytest.mark.parametrize('classes', [[2], [1, 4], []])
def test_threshold_in_place_of_a_walking_background(classes: list[int]) -> None:
    """Class by class: weakened where background is strong, walked alone, compared with a share of the largest value."""
    threshold = 0.4
    model = build(test_cfg=SETTINGS | dict(background_threshold=threshold)).eval()
    size = (41, 34)
    image, sample = draw_image(*size), make_sample(size, classes)
    with torch.no_grad():
        (found,) = model.predict(image[None], [sample])
        boundary = boundary_by_hand(model, image, (48, 48)).double().numpy()
    background, *others = sample.cam.is_cam.double().numpy()
    pixels = [torch.full((1, *size), 0.0).double()]
    for is_cam in others:
        walked = walk_by_hand((is_cam * (1 - background))[None] ** 1.5, boundary, radius=5, beta=10, steps=2**3)
        enlarged = F.interpolate(torch.from_numpy(walked)[None], scale_factor=4, mode='bilinear', align_corners=False)
        pixels.append(enlarged[0, :, : size[0], : size[1]])
    expected = torch.cat(pixels)
    if classes:
        expected /= expected.max()
    expected[0] = threshold
    torch.testing.assert_close(found.refined.scores, expected.float(), rtol=0, atol=1e-4)
    keys = torch.tensor([0, *classes])
    assert torch.equal(found.pred_sem_seg.data[0], keys[found.refined.scores.argmax(dim=0)])
    assert set(found.pred_sem_seg.data.unique().tolist()) == {0, *classes}


def test_true_boundaries_are_where_the_masks_cells_differ() -> None:
    model = build(test_cfg=SETTINGS | dict(true_boundaries=True)).eval()
    sample = make_sample((41, 34), [2])
    mask = torch.zeros(1, 41, 34, dtype=torch.uint8)
    mask[0, 10:30, 8:] = 2
    mask[0, 30:, 20:] = 255
    sample.gt_sem_seg = PixelData(data=mask)
    with torch.no_grad():
        (found,) = model.predict(draw_image(41, 34)[None], [sample])
    cells = mask[0, ::4, ::4].tolist()
    assert (len(cells), len(cells[0])) == (11, 9)
    for y, row in enumerate(cells):
        for x, value in enumerate(row):
            around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            near = [cells[r][c] for r, c in around if 0 <= r < 11 and 0 <= c < 9]
            assert float(found.boundary.data[0, y, x]) == pytest.approx(0.98 if set(near) != {value} else 0)


def test_true_boundaries_need_a_mask() -> None:
    model = build(test_cfg=SETTINGS | dict(true_boundaries=True)).eval()
    with pytest.raises(ValueError, match=r'has no mask: model\.test_cfg\.true_boundaries needs one'):
        model.predict(draw_image(40, 48)[None], [make_sample((40, 48), [2])])


def test_with_a_threshold_a_class_without_is_cam_is_background() -> None:
    model = build(test_cfg=SETTINGS | dict(background_threshold=0.1)).eval()
    sample = make_sample((40, 48), [2])
    sample.cam.is_cam[1:] = 0
    with torch.no_grad():
        (found,) = model.predict(draw_image(40, 48)[None], [sample])
    assert found.pred_sem_seg.data.unique().tolist() == [0]


def test_maps_of_another_stride_are_resized_before_the_power() -> None:
    model = build().eval()
    sample = make_sample((40, 48), [3])
    stride_8 = sample.cam.is_cam[:, ::2, ::2]
    resized = F.interpolate(stride_8[None], size=(10, 12), mode='bilinear', align_corners=False)[0]
    image = draw_image(40, 48)
    scores = []
    for is_cam in (stride_8, resized):
        sample.cam.is_cam = is_cam
        with torch.no_grad():
            scores.append(model.predict(image[None], [sample])[0].refined.scores)
    torch.testing.assert_close(scores[0], scores[1])


def test_a_batch_is_its_images_one_by_one_and_padding_is_cut_off() -> None:
    model = build(data_preprocessor=dict(type='ImageLevelDataPreProcessor', test_cfg=dict(size_divisor=32))).eval()
    images, samples = [draw_image(40, 60), draw_image(40, 60, seed=1)], [((40, 60), [1]), ((40, 60), [2, 3])]
    with torch.no_grad():
        alone = [
            model.predict(image[None], [make_sample(*each)])[0] for image, each in zip(images, samples, strict=True)
        ]
        data = model.data_preprocessor(
            dict(inputs=[image.clone() for image in images], data_samples=[make_sample(*each) for each in samples])
        )
        assert data['inputs'].shape[-2:] == (64, 64)
        together = model.predict(data['inputs'], data['data_samples'])
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one.refined.scores, other.refined.scores)
        assert torch.equal(one.pred_sem_seg.data, other.pred_sem_seg.data)


def test_settings_of_the_walk_reach_it() -> None:
    image = draw_image(40, 48)

    def scores(**settings: Any) -> Tensor:
        model = build(test_cfg=SETTINGS | settings).eval()
        with torch.no_grad():
            return model.predict(image[None], [make_sample((40, 48), [2])])[0].refined.scores

    published = scores(radius=5, beta=10.0, cam_power=1.5, size_divisor=16)
    assert torch.equal(published, scores())
    for changes in (dict(radius=3), dict(beta=2.0), dict(cam_power=1.0), dict(exp_times=1), dict(min_size=64)):
        assert (scores(**changes) - published).abs().max() > 1e-3, changes


def test_published_settings_are_the_default() -> None:
    model = build(test_cfg=None).eval()
    seen = []
    model.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape)))
    with torch.no_grad():
        model.boundary(draw_image(40, 520))
    assert seen == [(2, 3, 512, 528)]


RESNET = dict(type='ResNetWithStem', depth=18, base_channels=4, stem_channels=4, strides=(1, 2, 2, 1))
RESNET |= dict(dilations=(1, 1, 1, 1), norm_eval=False)
FIVE_MAPS = dict(
    HEAD,
    in_channels=[4, 4, 8, 16, 32],
    strides=[4, 4, 8, 16, 16],
    displacement_channels=[4] * 5,
    displacement_groups=[2] * 5,
)


class TestFrozenBackbone:
    def step(self, model: nn.Module) -> list[str]:
        """Names of what one training step changed."""
        before = {name: value.clone() for name, value in model.state_dict().items()}
        sample = SegDataSample()
        sample.gt_sem_seg = PixelData(data=torch.arange(5).repeat_interleave(13)[:64].expand(1, 64, 64))
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        sum(model.train()(draw_image(64, 64)[None], [sample], mode='loss').values()).backward()
        optimizer.step()
        return [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]

    def test_only_the_branches_learn(self) -> None:
        model = build(RESNET, decode_head=FIVE_MAPS)
        changed = self.step(model)
        learnt = [f'decode_head.{name}' for name, _ in model.decode_head.named_parameters()]
        assert sorted(changed) == sorted(learnt)
        assert not any(parameter.requires_grad for parameter in model.backbone.parameters())
        norms = [module.training for module in model.backbone.modules() if isinstance(module, nn.BatchNorm2d)]
        assert norms
        assert not any(norms)

    def test_unless_the_config_thaws_it(self) -> None:
        changed = self.step(build(RESNET, decode_head=FIVE_MAPS, freeze_backbone=False))
        assert any(name.startswith('backbone.layer4') for name in changed)
        assert any(name.endswith('running_mean') for name in changed)

    def test_losses_are_those_of_the_head_under_mmsegs_prefix(self) -> None:
        model = build()
        sample = SegDataSample()
        sample.gt_sem_seg = PixelData(data=torch.zeros(1, 64, 64, dtype=torch.int64))
        image = draw_image(64, 64)[None]
        expected = model.decode_head.loss(model.extract_feat(image), [sample])
        found = model.loss(image, [sample])
        assert found == {f'decode.{name}': loss for name, loss in expected.items()}


class TestErrors:
    def test_no_cam(self) -> None:
        sample = SegDataSample(metainfo=dict(img_path='JPEGImages/7.jpg'))
        with pytest.raises(ValueError, match=r'JPEGImages/7\.jpg comes without IS-CAM, .* LoadCAM .*generate_labels'):
            build().predict(draw_image(40, 48)[None], [sample])

    def test_no_samples(self) -> None:
        with pytest.raises(ValueError, match='comes without IS-CAM'):
            build().predict(draw_image(40, 48)[None])

    def test_cam_of_other_classes_than_the_labels(self) -> None:
        sample = make_sample((40, 48), [2], labels=[0, 1, 1, 0])
        with pytest.raises(
            ValueError, match=r'has the classes \[2, 3\] by its image-level labels, .* IS-CAM has \[2\]'
        ):
            build().predict(draw_image(40, 48)[None], [sample])

    def test_unknown_setting(self) -> None:
        with pytest.raises(ValueError, match=r'model\.test_cfg has no betta; there are min_size, .*beta'):
            build(test_cfg=dict(betta=8))

    @pytest.mark.parametrize('threshold', [0, 1.0, -0.2, 25, 'abc'])
    def test_threshold_out_of_range(self, threshold: Any) -> None:
        with pytest.raises(ValueError, match=rf'background_threshold is {threshold!r}: it must be between 0 and 1'):
            build(test_cfg=dict(background_threshold=threshold))

    def test_no_class_scores_without_cam(self) -> None:
        with pytest.raises(TypeError, match='no class scores of its own'):
            build().encode_decode(draw_image(40, 48)[None], [])


def test_labels_that_agree_are_no_problem() -> None:
    model = build().eval()
    with torch.no_grad():
        (found,) = model.predict(draw_image(40, 48)[None], [make_sample((40, 48), [2, 3], labels=[0, 1, 1, 0])])
    assert set(found.pred_sem_seg.data.unique().tolist()) <= {0, 2, 3}


def test_channels_last_changes_nothing_but_the_layout() -> None:
    channels_last = build(channels_last=True).eval()
    plain = build().eval()
    with torch.no_grad():
        torch.testing.assert_close(channels_last.boundary(draw_image(40, 48)), plain.boundary(draw_image(40, 48)))
    assert channels_last.backbone.stages[0].weight.is_contiguous(memory_format=torch.channels_last)
