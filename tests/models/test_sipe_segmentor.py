"""The whole model: images in, maps and label map at the image's own size out."""

import copy
import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from mmengine.model import is_model_wrapper
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

K = 3
SIZE = (48, 80)
LABELS = ([1, 0, 1], [0, 1, 0])
Build = Callable[..., nn.Module]
Sample = Callable[..., SegDataSample]


def draw(n: int = 2, size: tuple = SIZE, seed: int = 3) -> Tensor:
    torch.manual_seed(seed)
    return torch.randn(n, 3, *size)


def maps_of(prediction: SegDataSample) -> dict[str, Tensor]:
    """Everything that a prediction holds, by name."""
    localization, present = prediction.localization, prediction.present
    return dict(
        label_map=prediction.pred_sem_seg.data,
        is_cam=localization.is_cam,
        cam=localization.cam,
        seeds=localization.seeds,
        assignment=localization.assignment,
        classes=present.classes,
        scores=present.scores,
        given=present.given,
    )


def same(found: SegDataSample, expected: SegDataSample, atol: float = 0.0) -> None:
    found, expected = maps_of(found), maps_of(expected)
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=atol, msg=lambda text, n=name: f'{n}: {text}')


def double_features(model: nn.Module, images: Tensor) -> Any:
    features = model._forward(images)
    return [(logits.double(), f.double()) for logits, f in zip(features.logits, features.hierarchical, strict=True)]


class TestPredict:
    @pytest.mark.parametrize('mirror', [False, True])
    def test_is_the_reference(self, reference: ModuleType, segmentor: Build, make_sample: Sample, mirror: bool) -> None:
        model, images = segmentor(test_cfg=dict(mirror=mirror)).eval(), draw()
        with torch.no_grad():
            predictions = model.predict(images, [make_sample(label, SIZE) for label in LABELS])
            features, mirrored = double_features(model, images), double_features(model, images.flip(-1))
        for prediction, label, own, other in zip(predictions, LABELS, features, mirrored, strict=True):
            logits, hierarchical = (a + b.flip(-1) if mirror else a for a, b in zip(own, other, strict=True))
            cam, seeds, _, is_cam = reference.inference_maps(logits, hierarchical, label)
            keys = [0] + [k + 1 for k, present in enumerate(label) if present]
            expected = reference.fused_scales([is_cam[keys]], SIZE)
            found = prediction.localization
            torch.testing.assert_close(found.is_cam.double(), expected, rtol=0, atol=1e-5)
            torch.testing.assert_close(
                found.cam.double(), reference.fused_scales([cam[keys[1:]]], SIZE), rtol=0, atol=1e-5
            )
            best, second = expected.topk(2, dim=0).values
            clear = best - second > 1e-5  # where rounding cannot decide
            assert clear.float().mean() > 0.99
            assert torch.equal(
                prediction.pred_sem_seg.data[0][clear], torch.tensor(keys)[expected.argmax(dim=0)][clear]
            )
            for r in range(SIZE[0]):
                for c in range(0, SIZE[1], 7):
                    cell = seeds[:, r // 16, c // 16]
                    assert found.seeds[0, r, c] == (int(cell.argmax()) if cell.any() else 255)
                    cosines = is_cam[keys][:, r // 16, c // 16]
                    best, second = [*cosines.sort(descending=True).values.tolist(), 0.0][:2]
                    if best == 0 or best - second > 1e-5:
                        assert found.assignment[0, r, c] == (keys[int(cosines.argmax())] if best else 255)

    def test_what_a_sample_holds(self, segmentor: Build, make_sample: Sample) -> None:
        height, width = 33, 50  # no multiple of the stride, nor the size of the input
        samples = [make_sample(label, (height, width)) for label in LABELS]
        with torch.no_grad():
            predictions = segmentor().eval().predict(draw(), samples)
        for sample, prediction, label in zip(samples, predictions, LABELS, strict=True):
            assert prediction is sample
            classes = [k + 1 for k, present in enumerate(label) if present]
            n = len(classes)
            found = maps_of(prediction)
            assert {name: tuple(value.shape) for name, value in found.items()} == dict(
                label_map=(1, height, width),
                is_cam=(n + 1, height, width),
                cam=(n, height, width),
                seeds=(1, height, width),
                assignment=(1, height, width),
                classes=(n,),
                scores=(K,),
                given=(),
            )
            assert found['classes'].tolist() == classes
            assert {found[name].dtype for name in ('label_map', 'seeds', 'classes')} == {torch.int64}
            assert {found[name].dtype for name in ('is_cam', 'cam', 'scores')} == {torch.float32}
            assert found['assignment'].dtype == torch.uint8
            assert set(found['assignment'].unique().tolist()) <= {0, *classes, 255}
            assert found['given'].dtype == torch.bool
            for name in ('is_cam', 'cam'):
                assert 0 <= found[name].min() < 0.9 < found[name].max() <= 1
            keys = torch.tensor([0, *classes])
            assert torch.equal(found['label_map'], keys[found['is_cam'].argmax(dim=0, keepdim=True)])
            assert set(found['label_map'].unique().tolist()) <= {0, *classes}
            assert set(found['seeds'].unique().tolist()) <= {0, *classes, 255}

    def test_pixel_won_by_an_absent_class_has_no_seed(self, segmentor: Build, make_sample: Sample) -> None:
        model, image = segmentor().eval(), draw(1)
        with torch.no_grad():
            everything = model.predict(image, [make_sample([1, 1, 1], SIZE)])[0].localization.seeds
            found = model.predict(image, [make_sample([0, 0, 1], SIZE)])[0].localization.seeds
        absent = (everything == 1) | (everything == 2)
        assert absent.any()
        assert torch.equal(found, everything.masked_fill(absent, 255))

    def test_batch_is_as_good_as_one_by_one(self, segmentor: Build, make_sample: Sample) -> None:
        for mirror in (False, True):
            model, images = segmentor(test_cfg=dict(mirror=mirror)).eval(), draw()
            with torch.no_grad():
                together = model.predict(images, [make_sample(label, SIZE) for label in LABELS])
                for index, label in enumerate(LABELS):
                    alone = model.predict(images[index : index + 1], [make_sample(label, SIZE)])[0]
                    same(together[index], alone, 1e-5)

    def test_mirror_of_an_image_gives_the_mirror_of_its_maps(self, segmentor: Build, make_sample: Sample) -> None:
        model, image = segmentor(test_cfg=dict(mirror=True)).eval(), draw(1)
        with torch.no_grad():
            found = maps_of(model.predict(image, [make_sample(LABELS[0], SIZE)])[0])
            mirror = maps_of(model.predict(image.flip(-1), [make_sample(LABELS[0], SIZE)])[0])
            plain = maps_of(segmentor().eval().predict(image, [make_sample(LABELS[0], SIZE)])[0])
        for name in ('is_cam', 'cam'):
            torch.testing.assert_close(mirror[name].flip(-1), found[name], rtol=0, atol=1e-5)
        for name in ('label_map', 'seeds', 'assignment'):
            assert torch.equal(mirror[name].flip(-1), found[name])
        assert not torch.allclose(plain['is_cam'], found['is_cam'], atol=1e-3)
        torch.testing.assert_close(plain['scores'], found['scores'])  # the scores are those of the unmirrored image

    def test_background_only(self, segmentor: Build, make_sample: Sample) -> None:
        with torch.no_grad():
            found = maps_of(segmentor().eval().predict(draw(1), [make_sample([0, 0, 0], SIZE)])[0])
        assert found['cam'].shape == (0, *SIZE)
        assert not found['label_map'].any()
        assert found['classes'].tolist() == []
        assert set(found['seeds'].unique().tolist()) <= {0, 255}
        assert torch.isfinite(found['is_cam']).all()

    def test_dead_image(self, segmentor: Build, make_sample: Sample) -> None:
        model = segmentor().eval()
        for parameter in model.backbone.parameters():
            nn.init.zeros_(parameter)
        with torch.no_grad():
            found = maps_of(model.predict(draw(1), [make_sample([1, 1, 0], SIZE)])[0])
        assert all(torch.isfinite(value).all() for value in found.values())

    def test_number_of_classes_is_checked(self, segmentor: Build, make_sample: Sample) -> None:
        with pytest.raises(ValueError, match=r'num_classes=4, .* has 2 foreground classes: num_classes=3 would fit'):
            segmentor().eval().predict(draw(1), [make_sample([1, 0], SIZE)])


class TestImagesWithoutLabels:
    def test_classifiers_own_scores_decide(self, segmentor: Build, make_sample: Sample) -> None:
        model, images = segmentor().eval(), draw()
        with torch.no_grad():
            probabilities = model._forward(images).scores.sigmoid()
            for threshold in (None, 0.0, float(probabilities.flatten().sort().values[3]), 1.0):
                model.test_cfg = dict() if threshold is None else dict(score_threshold=threshold)
                labels = (probabilities > (0.5 if threshold is None else threshold)).long()
                found = model.predict(images, [make_sample(None, SIZE) for _ in images])
                given = model.predict(images, [make_sample(label, SIZE) for label in labels.tolist()])
                for own, expected, score in zip(found, given, probabilities, strict=True):
                    assert not own.present.given
                    assert expected.present.given
                    torch.testing.assert_close(own.present.scores, score)
                    own.present.given = expected.present.given
                    same(own, expected)

    def test_both_kinds_in_one_batch(self, segmentor: Build, make_sample: Sample) -> None:
        with torch.no_grad():
            found = (
                segmentor(test_cfg=dict(score_threshold=0.0))
                .eval()
                .predict(draw(), [make_sample([0, 1, 0], SIZE), make_sample(None, SIZE)])
            )
        assert [bool(p.present.given) for p in found] == [True, False]
        assert [p.present.classes.tolist() for p in found] == [[2], [1, 2, 3]]

    def test_without_samples_the_input_is_the_image(self, segmentor: Build) -> None:
        with torch.no_grad():
            found = segmentor().eval().predict(draw())
        assert [tuple(p.pred_sem_seg.data.shape) for p in found] == [(1, *SIZE)] * 2

    def test_encode_decode(self, segmentor: Build, make_sample: Sample) -> None:
        model, images = segmentor().eval(), draw()
        with torch.no_grad():
            maps = model.encode_decode(images, [])
            found = model.predict(images)
        assert maps.shape == (2, K + 1, *SIZE)
        for image, prediction in zip(maps, found, strict=True):
            keys = [0, *prediction.present.classes.tolist()]
            absent = [k for k in range(K + 1) if k not in keys]
            expected = image[keys] / (image[keys].amax(dim=(1, 2), keepdim=True) + 1e-5)
            torch.testing.assert_close(prediction.localization.is_cam, expected)
            assert not image[absent].any()


class TestPadding:
    def test_padding_of_the_preprocessor_is_cut_off(self, segmentor: Build, make_sample: Sample) -> None:
        """With ``test_cfg.size_divisor`` the image is the upper left part of the input."""
        model = segmentor(
            data_preprocessor=dict(
                type='ImageLevelDataPreProcessor', mean=[0] * 3, std=[1] * 3, test_cfg=dict(size_divisor=32)
            )
        ).eval()
        height, width = 40, 70
        image = draw(1, (height, width))[0]
        padded = torch.zeros(1, 3, 64, 96)
        padded[0, :, :height, :width] = image
        with torch.no_grad():
            found = model.test_step(dict(inputs=[image], data_samples=[make_sample([1, 0, 1], (height, width))]))[0]
            whole = model.predict(padded, [make_sample([1, 0, 1], (64, 96))])[0]
        found, whole = maps_of(found), maps_of(whole)
        for name in ('is_cam', 'cam'):
            part = whole[name][:, :height, :width]
            part = part / part.amax(dim=(1, 2), keepdim=True)  # each class by its maximum inside the image
            torch.testing.assert_close(found[name], part, rtol=0, atol=1e-3)
        assert torch.equal(found['seeds'], whole['seeds'][:, :height, :width])


class TestLoss:
    def test_is_that_of_the_head_on_the_backbones_maps(self, segmentor: Build, make_sample: Sample) -> None:
        model, images = segmentor().train(), draw()
        samples = [make_sample(label, SIZE, [0, 48, 5, 80]) for label in LABELS]
        losses = model(images, samples, mode='loss')
        expected = model.decode_head.loss(model.backbone(images), samples, SIZE)
        assert set(losses) == {'loss_cls', 'loss_gsc'}
        for name, loss in losses.items():
            torch.testing.assert_close(loss, expected[name])

    def test_everything_learns(self, segmentor: Build, make_sample: Sample) -> None:
        model = segmentor().train()
        losses = model.loss(draw(), [make_sample(label, SIZE, [0, 48, 0, 80]) for label in LABELS])
        sum(losses.values()).backward()
        assert all(p.grad is not None and p.grad.any() for p in model.parameters())

    def test_boxes_and_labels_matter(self, segmentor: Build, make_sample: Sample) -> None:
        model, images = segmentor().train(), draw(1)
        values = {
            tuple(float(v.detach()) for v in model.loss(images, [make_sample(label, SIZE, box)]).values())
            for label, box in (
                ([1, 0, 1], [0, 48, 0, 80]),
                ([1, 0, 0], [0, 48, 0, 80]),
                ([1, 0, 1], [1, 48, 0, 80]),
                ([1, 0, 1], [0, 48, 0, 48]),
            )
        }
        assert len(values) == 4

    @pytest.mark.parametrize('present', [0, 1])
    def test_background_only_batch_and_images_with_all_classes(
        self, segmentor: Build, make_sample: Sample, present: int
    ) -> None:
        model = segmentor().train()
        losses = model.loss(draw(), [make_sample([present] * K, SIZE, [0, 48, 0, 80])] * 2)
        sum(losses.values()).backward()
        assert all(torch.isfinite(loss) for loss in losses.values())
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())

    def test_training_step(self, segmentor: Build, make_sample: Sample) -> None:
        """As the training loop does it: lists of uint8 images through the preprocessor, an optimiser wrapper."""
        model = segmentor(
            data_preprocessor=dict(type='ImageLevelDataPreProcessor', mean=[120.0] * 3, std=[60.0] * 3, size=SIZE)
        ).train()
        wrapper = build_optim_wrapper(model, dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)))
        torch.manual_seed(0)
        images = [torch.randint(256, (3, *SIZE), dtype=torch.uint8) for _ in LABELS]
        logged = [
            model.train_step(
                dict(inputs=images, data_samples=[make_sample(label, SIZE, [0, 48, 0, 80]) for label in LABELS]),
                wrapper,
            )
            for _ in range(20)
        ]
        assert set(logged[0]) == {'loss', 'loss_cls', 'loss_gsc'}
        assert logged[-1]['loss'].item() < logged[0]['loss'].item()

    def test_wrong_in_channels_say_what_would_fit(self, segmentor: Build, make_sample: Sample) -> None:
        model = segmentor(in_channels=[4, 6, 8, 12])
        with pytest.raises(ValueError, match=r'in_channels=\(4, 6, 8, 10\) would fit'):
            model.loss(draw(1), [make_sample(LABELS[0], SIZE, [0, 48, 0, 80])])


class TestModes:
    def test_predict_does_not_depend_on_training_mode_without_normalisation(
        self, segmentor: Build, make_sample: Sample
    ) -> None:
        model, image = segmentor(), draw(1)
        with torch.no_grad():
            training = model.train().predict(image, [make_sample(LABELS[0], SIZE)])[0]
            assert model.training
            same(model.eval().predict(image, [make_sample(LABELS[0], SIZE)])[0], training, atol=1e-5)
            assert not model.training

    def test_frozen_stages_and_stored_statistics(self, make_sample: Sample) -> None:
        """The published setting on a small ResNet: which parameters learn, and that statistics stay."""
        model = resnet().train()
        before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
        losses = model.loss(draw(), [make_sample(label, SIZE, [0, 48, 0, 80]) for label in LABELS])
        sum(losses.values()).backward()
        after = model.backbone.state_dict()
        assert all(torch.equal(value, before[name]) for name, value in after.items())
        learning = {name.split('.')[1] for name, p in model.named_parameters() if p.grad is not None}
        assert learning == {'layer3', 'layer4', 'classifier', 'side_projections'}

    def test_tensor_mode_gives_the_heads_features(self, segmentor: Build) -> None:
        model, images = segmentor().eval(), draw()
        features = model(images, mode='tensor')
        expected = model.decode_head(model.extract_feat(images))
        assert all(torch.equal(a, b) for a, b in zip(features, expected, strict=True))


@functools.cache
def resnet() -> nn.Module:
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='SIPESegmentor',
            backbone=dict(
                type='ResNet',
                depth=18,
                base_channels=8,
                strides=(1, 2, 2, 1),
                dilations=(1, 1, 1, 1),
                norm_cfg=dict(type='BN', requires_grad=True),
                norm_eval=True,
                frozen_stages=2,
            ),
            decode_head=dict(
                type='SIPEHead',
                in_channels=[8, 16, 32, 64],
                side_channels=[4] * 4,
                num_classes=K + 1,
                loss_gsc=dict(type='GSCLoss'),
            ),
        )
    )


class TestAnyPyramid:
    @pytest.mark.parametrize(
        ('channels', 'strides', 'grid_index', 'grid'),
        [
            ((5,), (16,), -1, (3, 5)),
            ((4, 4, 4, 4), (16, 16, 16, 16), -2, (3, 5)),
            ((4, 6, 8, 10), (4, 8, 16, 32), 2, (3, 5)),  # the last map is smaller than the grid
            ((4, 6, 8, 10), (4, 8, 16, 32), -1, (2, 3)),
            ((4, 6), (4, 8), 0, (12, 20)),
        ],
    )
    def test_trains_and_predicts(
        self, segmentor: Build, make_sample: Sample, channels: tuple, strides: tuple, grid_index: int, grid: tuple
    ) -> None:
        model = segmentor(channels=channels, strides=strides, grid_index=grid_index).train()
        losses = model.loss(draw(), [make_sample(label, SIZE, [0, 48, 0, 80]) for label in LABELS])
        sum(losses.values()).backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
        with torch.no_grad():
            assert model._forward(draw()).hierarchical.shape == (2, 3 * len(channels), *grid)
            found = model.eval().predict(draw(1), [make_sample([1, 0, 1], SIZE)])[0]
        assert found.localization.is_cam.shape == (3, *SIZE)

    def test_neck(self, make_sample: Sample) -> None:
        torch.manual_seed(0)
        model = MODELS.build(
            dict(
                type='SIPESegmentor',
                backbone=dict(type='TinyPyramid'),
                neck=dict(type='FPN', in_channels=[4, 6, 8, 10], out_channels=5, num_outs=4),
                decode_head=dict(
                    type='SIPEHead', in_channels=[5] * 4, side_channels=[3] * 4, num_classes=K + 1, loss_gsc=None
                ),
            )
        )
        images = draw(1, (64, 64))
        assert model.with_neck
        expected = model.decode_head(model.neck(model.backbone(images)))
        assert all(torch.equal(a, b) for a, b in zip(model._forward(images), expected, strict=True))


class TestMixedPrecision:
    def test_bfloat16_on_the_cpu(self, segmentor: Build, make_sample: Sample) -> None:
        model = segmentor(test_cfg=dict(mirror=True)).train()
        plain = model.loss(draw(), [make_sample(label, SIZE, [0, 48, 0, 80]) for label in LABELS])
        with torch.autocast('cpu', dtype=torch.bfloat16):
            assert model.extract_feat(draw())[-1].dtype == torch.bfloat16
            losses = model.loss(draw(), [make_sample(label, SIZE, [0, 48, 0, 80]) for label in LABELS])
            found = model.eval().predict(draw(1), [make_sample(LABELS[0], SIZE)])[0]
        for name, loss in losses.items():
            assert loss.dtype == torch.float32
            assert float(loss.detach()) == pytest.approx(float(plain[name].detach()), abs=0.05)
        sum(losses.values()).backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())
        assert {found.localization.is_cam.dtype, found.localization.cam.dtype, found.present.scores.dtype} == {
            torch.float32
        }
        assert all(torch.isfinite(value).all() for value in maps_of(found).values())


class TestSettings:
    def test_what_mmseg_reads_of_a_segmentor(self, segmentor: Build) -> None:
        model = segmentor(test_cfg=dict(mirror=True))
        assert (model.num_classes, model.out_channels, model.align_corners) == (K + 1, K + 1, False)
        assert model.with_decode_head
        assert not model.with_neck
        assert not is_model_wrapper(model)

    def test_pretrained_is_the_backbones_checkpoint(self, segmentor: Build, tmp_path: Any) -> None:
        config = dict(type='ResNet', depth=18, base_channels=8, init_cfg=dict(type='Kaiming', layer='Conv2d'))
        head = dict(type='SIPEHead', in_channels=[8, 16, 32, 64], num_classes=K + 1)
        path = tmp_path / 'weights.pth'
        torch.save({'state_dict': resnet().backbone.state_dict()}, path)
        model = MODELS.build(dict(type='SIPESegmentor', backbone=config, decode_head=head, pretrained=str(path)))
        model.init_weights()
        assert torch.equal(model.backbone.conv1.weight, resnet().backbone.conv1.weight)
        assert config['init_cfg'] == dict(type='Kaiming', layer='Conv2d')  # the caller's config is left alone

    def test_misspelt_test_cfg(self, segmentor: Build) -> None:
        with pytest.raises(ValueError, match=r'model\.test_cfg has no miror; there are mirror, score_threshold'):
            segmentor(test_cfg=dict(miror=True))

    def test_channels_last_changes_nothing_but_the_layout(self, make_sample: Sample) -> None:
        plain = copy.deepcopy(resnet()).train()
        config = dict(
            type='SIPESegmentor',
            backbone=dict(
                type='ResNet', depth=18, base_channels=8, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 1), norm_eval=True
            ),
            decode_head=dict(type='SIPEHead', in_channels=[8, 16, 32, 64], side_channels=[4] * 4, num_classes=K + 1),
            channels_last=True,
        )
        model = MODELS.build(config).train()
        model.load_state_dict(plain.state_dict())
        layout = dict(memory_format=torch.channels_last)
        with torch.no_grad():
            assert model.extract_feat(draw())[0].is_contiguous(**layout)
            assert not plain.extract_feat(draw())[0].is_contiguous(**layout)
            expected = plain.eval().decode_head(plain.backbone(draw()))
            for each in (model.eval(), plain):  # in evaluation, both are
                assert each.extract_feat(draw())[0].is_contiguous(**layout)
                for a, b in zip(each._forward(draw()), expected, strict=True):
                    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
