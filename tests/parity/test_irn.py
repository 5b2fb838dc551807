"""The published IRN's losses and branches, held against the registered model built from the shipped VOC config.

``--parity-dir DIR`` takes another folder of files of the same form (other sizes, seeds and numbers).
"""

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS, TRANSFORMS
from torch import Tensor

from sipe_mmseg.models.affinity_loss import affinity_loss
from sipe_mmseg.models.displacement_loss import displacement_loss
from sipe_mmseg.models.irn_checkpoint_conversion import convert_published_irn_state
from sipe_mmseg.models.irn_head import IRNFeatures
from sipe_mmseg.refinement.pixel_pairs import half_disc

CONFIG = Path(__file__).parents[2] / 'configs' / 'irn' / 'irn_r50_1xb32-3e_voc12aug-512x512.py'
Reference = dict[str, np.ndarray]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    folder = metafunc.config.getoption('--parity-dir')
    for fixture, pattern in (('loss_file', 'affinity_loss*.npz'), ('branches_file', 'irn_branches*.npz')):
        if fixture in metafunc.fixturenames:
            files = sorted(folder.glob(pattern))
            assert files, f'{folder} holds no {pattern}'
            metafunc.parametrize(fixture, files, ids=lambda path: path.stem, scope='module')


def load(path: Path) -> Reference:
    with np.load(path, allow_pickle=False) as data:
        return {key: data[key] for key in data.files}


# --- The losses -------------------------------------------------------------------------------------------------------


def loss_inputs(reference: Reference) -> tuple[Tensor, Tensor, Tensor, int]:
    names = ('boundary_logits', 'displacement', 'label')
    return *(torch.from_numpy(reference[name]) for name in names), int(reference['radius'])


def test_affinity_loss(loss_file: Path) -> None:
    reference = load(loss_file)
    logits, _, labels, radius = loss_inputs(reference)
    terms = affinity_loss(logits, labels, 21, radius)
    assert float(terms.positive) == pytest.approx(float(reference['loss_pos']), rel=1e-4)
    assert float(terms.negative) == pytest.approx(float(reference['loss_neg']), rel=1e-4)


def test_displacement_loss(loss_file: Path) -> None:
    reference = load(loss_file)
    _, displacement, labels, radius = loss_inputs(reference)
    terms = displacement_loss(displacement, labels, 21, radius)
    assert float(terms.foreground) == pytest.approx(float(reference['loss_disp_fg']), rel=1e-4)
    assert float(terms.background) == pytest.approx(float(reference['loss_disp_bg']), rel=1e-4)


def test_number_of_pairs(loss_file: Path) -> None:
    reference = load(loss_file)
    radius, (height, width) = int(reference['radius']), reference['label'].shape[1:]
    pixels = (height - radius + 1) * (width - 2 * radius + 2)
    assert len(half_disc(radius)) * pixels == int(reference['num_affinities'])


def test_the_sum_of_the_heads_losses_is_the_published_loss(loss_file: Path) -> None:
    reference = load(loss_file)
    logits, displacement, labels, radius = loss_inputs(reference)
    config = Config.fromfile(CONFIG)
    config.model.decode_head.loss_affinity.radius = config.model.decode_head.loss_displacement.radius = radius
    head = MODELS.build(config.model.decode_head)
    losses = head.loss_by_feat(IRNFeatures(logits, displacement), labels)
    assert float(sum(losses.values())) == pytest.approx(float(reference['loss']), rel=1e-4)


# --- The network ------------------------------------------------------------------------------------------------------


def noise(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng([zlib.crc32(name.encode()), seed]).standard_normal(shape)


def draw_branches(seed: int) -> dict[str, np.ndarray]:
    """The branches' weights by their published names, from the CRC-32 of each layer's name."""
    maps, state = (64, 256, 512, 1024, 2048), {}
    layers = [(f'fc_edge{index}', channels, 32) for index, channels in enumerate(maps, 1)]
    layers += [(f'fc_dp{i}', c, w) for i, (c, w) in enumerate(zip(maps, (64, 128, 256, 256, 256), strict=True), 1)]
    layers += [('fc_dp6', 3 * 256, 256), ('fc_dp7', 64 + 128 + 256, 256)]
    convolutions = {f'{name}.0.weight': (width, channels) for name, channels, width in layers}
    convolutions |= {'fc_edge6.weight': (1, 5 * 32), 'fc_dp7.3.weight': (2, 256)}
    for name, (width, channels) in convolutions.items():
        state[name] = noise(name, (width, channels, 1, 1), seed) * np.sqrt(2 / channels)
    for name, _, width in layers:
        gain, shift = 0.1 * noise(f'{name}.1', (2, width), seed)
        state |= {f'{name}.1.weight': 1 + gain, f'{name}.1.bias': shift}
    state['fc_edge6.bias'] = np.array([0.1])
    return state


def draw_encoder(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """The encoder's weights by torchvision's names: He-normal, BatchNorms with a gain by their place in the block."""
    last_block = {'layer1': 2, 'layer2': 3, 'layer3': 5, 'layer4': 2}
    state = {}
    for name, shape in shapes.items():
        drawn, (module, leaf) = noise(name, shape, seed), name.rsplit('.', 1)
        if len(shape) == 4:
            state[name] = drawn * np.sqrt(2 / np.prod(shape[1:]))
            continue
        gain, shift = (0.7 if module.endswith('downsample.1') else 1.0), 0.0
        if module.endswith('bn3'):
            layer, block = module.split('.')[:2]
            gain, shift = 0.5, 0.75 if int(block) == last_block[layer] else 0.0
        state[name] = {
            'weight': gain * (1 + 0.1 * drawn),
            'bias': 0.1 * drawn - shift,
            'running_mean': 0.1 * drawn,
            'running_var': 1 + 0.1 * np.abs(drawn),
        }[leaf]
    return state


@pytest.fixture(scope='module')
def features(branches_file: Path) -> tuple[IRNFeatures, Reference]:
    """Branches' outputs in eval mode, weights loaded in the form of a published checkpoint."""
    reference = load(branches_file)
    config, seed = Config.fromfile(CONFIG), int(reference['weights_seed'])
    config.model.backbone.init_cfg = None
    config.model.data_preprocessor.size = None
    model = MODELS.build(config.model).eval()
    shapes = {name: tuple(tensor.shape) for name, tensor in model.backbone.state_dict().items() if 'num_' not in name}
    encoder = draw_encoder(shapes, seed)
    published = {f'resnet50.{name}': array for name, array in encoder.items()}
    published |= {f'stage1.0.{name}': array for name, array in encoder.items()} | draw_branches(seed)
    published['fc_dp7.4.running_mean'] = published['mean_shift.running_mean'] = reference['mean_displacement']
    tensors = {f'module.{name}': torch.from_numpy(np.float32(array)) for name, array in published.items()}
    missing, unexpected = model.load_state_dict(convert_published_irn_state(tensors), strict=False)
    assert not unexpected
    assert all(name.endswith('num_batches_tracked') for name in missing)
    pack = TRANSFORMS.build(dict(type='PackImageLevelInputs'))
    packed = [pack(dict(img=np.ascontiguousarray(image[..., ::-1]))) for image in reference['image']]
    batch = {key: [sample[key] for sample in packed] for key in packed[0]}
    with torch.no_grad():
        return model(model.data_preprocessor(batch, False)['inputs']), reference


def test_boundary_branch(features: tuple[IRNFeatures, Reference]) -> None:
    found, reference = features
    np.testing.assert_allclose(found.boundary_logits.numpy(), reference['boundary_logits'], rtol=0, atol=1e-3)


def test_displacement_branch_without_its_mean(features: tuple[IRNFeatures, Reference]) -> None:
    found, reference = features
    np.testing.assert_allclose(found.displacement.numpy(), reference['displacement'], rtol=0, atol=1e-3)
