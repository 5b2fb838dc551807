"""What the published implementation computed, held against the registered model built from the shipped configs.

``--parity-dir DIR`` takes another folder of files of the same form (other sizes, seeds and class counts).
"""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS, PARAM_SCHEDULERS, TRANSFORMS
from torch import Tensor

from sipe_mmseg.models.checkpoint_conversion import convert_published_state
from sipe_mmseg.models.prototypes import normalize_by_max, validity_maps

CONFIGS = Path(__file__).parents[2] / 'configs' / 'sipe'
CONFIG_OF_CLASSES = {20: 'sipe_r50_1xb16-5e_voc12aug-512x512.py', 80: 'sipe_r50_1xb16-5e_coco14-512x512.py'}
Reference = dict[str, np.ndarray]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    folder = metafunc.config.getoption('--parity-dir')
    for fixture, pattern in (('train_file', 'train_*.npz'), ('inference_file', 'inference_*.npz')):
        if fixture in metafunc.fixturenames:
            files = sorted(folder.glob(pattern))
            assert files, f'{folder} holds no {pattern}'
            metafunc.parametrize(fixture, files, ids=lambda path: path.stem, scope='module')


# --- The reference's weights, drawn from the CRC-32 of each tensor's name -------------------------------------------


def draw_encoder(names: list[str], shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """Torchvision-named ResNet weights: He-normal convolutions, BatchNorms with a gain by their place in the block."""
    last_block = {'layer1': 2, 'layer2': 3, 'layer3': 5, 'layer4': 2}
    state = {}
    for name in names:
        rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
        shape = shapes[name]
        noise = rng.standard_normal(shape)
        module, leaf = name.rsplit('.', 1)
        if len(shape) == 4:
            value = noise * np.sqrt(2 / np.prod(shape[1:]))
        else:
            gain, shift = 1.0, 0.0
            if module.endswith('downsample.1'):
                gain = 0.7
            elif module.endswith('bn3'):
                gain = 0.5
                layer, block = module.split('.')[:2]
                shift = 0.75 if int(block) == last_block[layer] else 0.0
            value = {
                'weight': gain * (1 + 0.1 * noise),
                'bias': 0.1 * noise - shift,
                'running_mean': 0.1 * noise,
                'running_var': 1 + 0.1 * np.abs(noise),
            }[leaf]
        state[name] = torch.from_numpy(value.astype(np.float32))
    return state


def draw_side(index: int, shape: tuple[int, ...], seed: int) -> Tensor:
    rng = np.random.default_rng([zlib.crc32(f'side{index}.weight'.encode()), seed])
    return torch.from_numpy((rng.standard_normal(shape) * np.sqrt(2 / shape[1])).astype(np.float32))


def published_checkpoint(model: torch.nn.Module, reference: Reference) -> dict[str, dict[str, Tensor]]:
    """The reference's network in the form of a published checkpoint, every encoder tensor under two names."""
    seed = int(reference['weights_seed'])
    shapes = {name: tuple(tensor.shape) for name, tensor in model.backbone.state_dict().items()}
    encoder = draw_encoder([name for name in shapes if 'num_batches' not in name], shapes, seed)
    net = {f'resnet50.{name}': tensor for name, tensor in encoder.items()}
    net |= {f'backbone.0.{name}': tensor for name, tensor in encoder.items()}
    for index, side in enumerate(model.decode_head.side_projections, start=1):
        net[f'side{index}.weight'] = draw_side(index, tuple(side.weight.shape), seed)
    net['classifier.weight'] = torch.from_numpy(reference['classifier_weight'])[:, :, None, None]
    return {'net': net}


# --- The registered model --------------------------------------------------------------------------------------------


def build(reference: Reference, num_classes: int, **changes: Any) -> tuple[torch.nn.Module, Config]:
    config = Config.fromfile(CONFIGS / CONFIG_OF_CLASSES[num_classes])
    config.merge_from_dict(changes)
    model = MODELS.build(config.model)
    missing, unexpected = model.load_state_dict(convert_published_state(published_checkpoint(model, reference)), False)
    assert not unexpected
    assert all(name.endswith('num_batches_tracked') for name in missing)
    return model.train(), config


def samples_of(reference: Reference) -> dict[str, list]:
    """The crops as the loader leaves them: BGR uint8, labels and boxes as data."""
    pack = TRANSFORMS.build(dict(type='PackImageLevelInputs'))
    batch = [
        pack(
            dict(
                img=np.ascontiguousarray(image[..., ::-1]),
                valid_box=box,
                image_labels=label.nonzero()[0],
                num_classes=len(label) + 1,
                img_shape=image.shape[:2],
                ori_shape=image.shape[:2],
            )
        )
        for image, box, label in zip(reference['image'], reference['box'], reference['label'], strict=True)
    ]
    return {key: [sample[key] for sample in batch] for key in ('inputs', 'data_samples')}


def load(path: Path) -> Reference:
    with np.load(path, allow_pickle=False) as data:
        return {key: data[key] for key in data.files}


@pytest.fixture(scope='module')
def reference(train_file: Path) -> Reference:
    return load(train_file)


@pytest.fixture(scope='module')
def model(reference: Reference) -> torch.nn.Module:
    side = reference['image'].shape[1]
    return build(reference, reference['label'].shape[1], **{'model.data_preprocessor.size': (side, side)})[0]


@pytest.fixture(scope='module')
def forward(model: torch.nn.Module, reference: Reference) -> dict[str, Any]:
    """Forward and backward of the training path."""
    batch = model.data_preprocessor(samples_of(reference), True)
    features = model.decode_head(model.extract_feat(batch['inputs']))
    labels = model.decode_head.stack_labels(batch['data_samples'])
    boxes = torch.stack([sample.valid_box for sample in batch['data_samples']])
    valid = validity_maps(labels, boxes, batch['inputs'].shape[-2:], features.logits.shape[-2:])
    maps = model.decode_head.localize(features, valid)
    model.zero_grad()
    losses = model(**batch, mode='loss')
    sum(losses.values()).backward()
    return dict(features=features, maps=maps, valid=valid, losses=losses, inputs=batch['inputs'])


def close(found: Tensor, expected: np.ndarray, atol: float) -> None:
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=0, atol=atol)


def test_outside_the_box_is_zero_after_normalising(forward: dict, reference: Reference) -> None:
    for image, (top, bottom, left, right), found in zip(
        reference['image'], reference['box'], forward['inputs'], strict=True
    ):
        expected = np.zeros(image.shape, np.float32)
        mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        expected[top:bottom, left:right] = ((image / 255 - mean) / std)[top:bottom, left:right]
        close(found.permute(1, 2, 0), expected, 1e-5)


def test_classification_scores(forward: dict, reference: Reference) -> None:
    close(forward['features'].scores, reference['score'], 1e-4)


def test_general_cam(forward: dict, reference: Reference) -> None:
    close(forward['maps'].cam, reference['cam'], 1e-4)


def test_seeds_are_equal(forward: dict, reference: Reference) -> None:
    np.testing.assert_array_equal(forward['maps'].seeds.numpy(), reference['seeds'])


def test_prototypes(forward: dict, reference: Reference) -> None:
    found = forward['maps'].prototypes
    every = found.shape[2] // reference['prototypes'].shape[2]
    close(found[:, :, ::every], reference['prototypes'], 1e-4)


def test_is_cam(forward: dict, reference: Reference) -> None:
    close(forward['maps'].is_cam, reference['is_cam'], 1e-4)
    close(normalize_by_max(forward['maps'].is_cam), reference['is_cam_normalized'], 1e-4)


def test_losses(forward: dict, reference: Reference) -> None:
    for name in ('loss_cls', 'loss_gsc'):
        assert float(forward['losses'][name].detach()) == pytest.approx(float(reference[name]), abs=1e-5)


def test_gradients(model: torch.nn.Module, forward: dict, reference: Reference) -> None:
    expected = dict(zip(reference['grad_names'].tolist(), reference['grad_norms'].tolist(), strict=True))
    found = {published_name(name): float(p.grad.norm()) for name, p in model.named_parameters() if p.grad is not None}
    assert set(found) == set(expected)
    for name, norm in found.items():
        assert norm == pytest.approx(expected[name], rel=1e-3), name
    total = np.sqrt(sum(norm**2 for norm in found.values()))
    assert total == pytest.approx(float(reference['grad_total_norm']), rel=1e-3)


def published_name(name: str) -> str:
    if name.startswith('backbone.'):
        return 'resnet50.' + name.removeprefix('backbone.')
    if name.startswith('decode_head.side_projections.'):
        return f'side{int(name.split(".")[2]) + 1}.weight'
    return name.removeprefix('decode_head.')


def test_seeds_tell_the_papers_background_weight_from_the_codes(forward: dict, reference: Reference) -> None:
    if reference['label'].shape[1] != 20:
        pytest.skip('the two variants give the same seeds on the COCO file')
    other = build(reference, 20, **{'model.decode_head.alpha_on': 'map'})[0].decode_head
    seeds = other.localize(forward['features'], forward['valid']).seeds
    different = int((seeds != forward['maps'].seeds).any(dim=1).sum())
    assert 0 < different < seeds[:, 0].numel() / 10


def test_three_optimiser_steps(train_file: Path, reference: Reference) -> None:
    if 'step_losses' not in reference:
        pytest.skip(f'{train_file.name} records no optimiser steps')
    side = reference['image'].shape[1]
    model, config = build(reference, reference['label'].shape[1], **{'model.data_preprocessor.size': (side, side)})
    config.optim_wrapper.optimizer.lr = float(reference['step_base_lr'])
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    scheduler_config = dict(config.param_scheduler[0], end=1)
    scheduler_config.pop('convert_to_iter_based')
    scheduler = PARAM_SCHEDULERS.get(scheduler_config.pop('type')).build_iter_from_epoch(
        optimizer=wrapper, epoch_length=int(reference['step_max_iters']), **scheduler_config
    )
    losses, norms = [], []
    for step in range(4):
        batch = model.data_preprocessor(samples_of(reference), True)
        loss = model(**batch, mode='loss')
        losses.append([float(loss[name].detach()) for name in ('loss_cls', 'loss_gsc')])
        if step < 3:
            wrapper.update_params(sum(loss.values()))
            norms.append(wrapper.message_hub.get_scalar('train/grad_norm').current())
            scheduler.step()
    np.testing.assert_allclose(losses, reference['step_losses'], rtol=0, atol=1e-3)
    np.testing.assert_allclose(norms, reference['step_grad_norms'], rtol=1e-3)
    head, backbone = model.decode_head, dict(model.backbone.named_parameters())
    close(head.classifier.weight[:, ::16, 0, 0], reference['step_classifier_weight'], 1e-4)
    close(head.side_projections[3].weight[::8, ::64, 0, 0], reference['step_side4_weight'], 1e-4)
    close(head.side_projections[0].weight[::8, ::8, 0, 0], reference['step_side1_weight'], 1e-4)
    close(backbone['layer4.2.conv2.weight'][::32, ::32], reference['step_layer4_conv'], 1e-4)
    close(backbone['layer3.0.bn1.weight'], reference['step_layer3_bn'], 1e-4)


# --- Inference -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def inference(inference_file: Path) -> tuple[Reference, Callable[[int], tuple[Any, list]]]:
    reference = load(inference_file)
    num_classes = reference['classifier_weight'].shape[0]
    module, config = build(reference, num_classes)
    tta = MODELS.build(dict(config.tta_model, module=module.eval()))
    seen: list[tuple] = []
    localize = module.localize
    module.localize = lambda *args: seen.append((args[0].shape, localize(*args))) or seen[-1][1]
    # The config's own pipeline, from the image on: there is no file to load and no mask.
    transforms = [t for t in config.tta_pipeline[1].transforms if t[0].type != 'LoadAnnotations']
    augment = TRANSFORMS.build(dict(type='TestTimeAug', transforms=transforms))

    def run(index: int) -> tuple[Any, list]:
        seen.clear()
        image = reference[f'image{index}']
        sample = augment(
            dict(
                img=np.ascontiguousarray(image[..., ::-1]),
                img_shape=image.shape[:2],
                ori_shape=image.shape[:2],
                image_labels=reference[f'label{index}'].nonzero()[0],
                num_classes=num_classes + 1,
            )
        )
        data = {key: [[value] for value in values] for key, values in sample.items()}
        with torch.no_grad():
            return tta.test_step(data)[0], list(seen)

    return reference, run


@pytest.mark.parametrize('index', [0, 1])
def test_inference(inference: tuple, index: int) -> None:
    reference, run = inference
    prediction, seen = run(index)
    keys = reference[f'keys{index}']
    height, width = reference[f'image{index}'].shape[:2]
    scales = [key.rsplit('scale', 1)[1] for key in reference if key.startswith(f'is_cam{index}_scale')]
    assert len(seen) == len(scales) == 4
    by_shape = {tuple(shape[-2:]): maps[0] for shape, maps in seen}
    for scale in scales:
        size = tuple(int(np.round(side * float(scale))) for side in (height, width))
        maps = by_shape[size]
        close(maps.is_cam, reference[f'is_cam{index}_scale{scale}'], 2e-4)
        close(maps.cam, reference[f'cam{index}_scale{scale}'][1:], 2e-4)
    np.testing.assert_array_equal(prediction.present.classes.numpy(), keys[1:])
    close(prediction.localization.is_cam, reference[f'is_cam{index}'], 2e-4)
    different = prediction.pred_sem_seg.data[0].numpy() != reference[f'label_map{index}']
    assert different.mean() <= 0.001
