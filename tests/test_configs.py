"""Every shipped config: its name, what it inherits, that it builds and learns; and the template for own data."""

import ast
import copy
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from mmcv.cnn import fuse_conv_bn
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from mmengine.structures import LabelData, PixelData
from mmseg.models.losses import CrossEntropyLoss
from mmseg.registry import DATASETS, HOOKS, MODELS
from mmseg.structures import SegDataSample
from PIL import Image
from torch import nn

from sipe_mmseg.datasets import shapes
from sipe_mmseg.engine.mmseg_tools import find_mmseg_tool
from sipe_mmseg.models.prototypes import EPS
from sipe_mmseg_cli.check import look_over_config

CONFIGS = Path(__file__).parents[1] / 'configs'
NETWORKS = sorted(path for path in CONFIGS.glob('*/*.py') if path.parent.name not in ('_base_', 'pipelines'))
SHIPPED = [path for path in NETWORKS if path.parent.name == 'sipe']
DOWNSTREAM = [path for path in NETWORKS if path.parent.name in ('deeplabv2', 'deeplabv3plus', 'segformer')]
ALGORITHMS = sorted({path.parent for path in NETWORKS})
BACKBONES_OF_MMPRETRAIN = [path for path in SHIPPED if re.search('_(convnext|swin|deit)-', path.name)]
# Parameters of a stage or layer with its number, by the names of the backbones in use.
STAGE = re.compile(r'backbone\.(?:layer|layers\.|stages\.)(\d+)\.')


def relative(path: Path) -> str:
    return str(path.relative_to(CONFIGS))


def bases(path: Path) -> list[Path]:
    """The files that a config names in ``_base_``."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == '_base_':
            found = ast.literal_eval(node.value)
            return [(path.parent / base).resolve() for base in ([found] if isinstance(found, str) else found)]
    return []


def levels(path: Path) -> int:
    return 1 + max((levels(base) for base in bases(path)), default=0)


def family(path: Path) -> list[Path]:
    """A config and all it inherits from."""
    return [path, *(member for base in bases(path) for member in family(base))]


def build_model(path: Path) -> tuple[Any, Config]:
    """A config's model from random weights, ready for training."""
    torch.manual_seed(0)
    cfg = Config.fromfile(path)
    cfg.model.backbone.init_cfg = None
    cfg.model.data_preprocessor.size = (64, 96)
    return MODELS.build(cfg.model).train(), cfg


def training_batch(num_classes: int) -> dict[str, list]:
    """Two pictures of noise on canvases of 64 x 96, the second one pasted smaller."""
    samples = []
    for classes, box in (([0, 2], [0, 64, 0, 96]), ([1], [8, 60, 10, 90])):
        sample = SegDataSample()
        multi_hot = torch.zeros(num_classes - 1)
        multi_hot[[k for k in classes if k < num_classes - 1]] = 1
        sample.set_data(dict(image_labels=LabelData(multi_hot=multi_hot), valid_box=torch.tensor(box)))
        samples.append(sample)
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 256, (3, 64, 96), generator=generator, dtype=torch.uint8) for _ in samples]
    return dict(inputs=images, data_samples=samples)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize('path', NETWORKS, ids=relative)
def test_name_says_what_is_in_the_file(path: Path) -> None:
    pattern = r'(?P<algorithm>[a-z0-9]+)_(?P<backbone>[a-z0-9-]+)_(?P<gpus>\d+)xb(?P<batch>\d+)'
    name = re.fullmatch(
        pattern + r'-(?P<length>\d+)(?P<unit>[eik])_(?P<dataset>[a-z0-9]+)-(?P<height>\d+)x(?P<width>\d+)\.py',
        path.name,
    )
    assert name, f'{path.name} is not ALGORITHM_BACKBONE_GPUSxbBATCH-SCHEDULE_DATASET-CROP.py'
    cfg = Config.fromfile(path)
    crop = (int(name['height']), int(name['width']))
    pipeline = cfg.train_dataloader.dataset.pipeline
    (crops,) = [step.crop_size for step in pipeline if step.type in ('RandomCropOrPaste', 'RandomCrop')]
    assert name['algorithm'] == path.parent.name
    assert int(name['batch']) == cfg.train_dataloader.batch_size
    length = int(name['length']) * (1000 if name['unit'] == 'k' else 1)
    assert length == (cfg.train_cfg.max_epochs if name['unit'] == 'e' else cfg.train_cfg.max_iters)
    assert crop == tuple(crops) == tuple(cfg.model.data_preprocessor.size)


@pytest.mark.parametrize('folder', ALGORITHMS, ids=lambda folder: folder.name)
def test_metafile_and_readme_list_every_config(folder: Path) -> None:
    models = yaml.safe_load((folder / 'metafile.yaml').read_text())['Models']
    paths = sorted(folder.glob('*.py'))
    assert sorted(model['Config'] for model in models) == [f'configs/{relative(path)}' for path in paths]
    assert all(model['Name'] == Path(model['Config']).stem for model in models)
    readme = (folder / 'README.md').read_text()
    assert [path.stem for path in paths if f'[{path.stem}]({path.name})' not in readme] == []


@pytest.mark.parametrize('folder', ALGORITHMS, ids=lambda folder: folder.name)
def test_results_of_a_metafile_are_those_of_the_pages(folder: Path) -> None:
    readme = (folder / 'README.md').read_text()
    measured = (CONFIGS.parent / 'docs/results.md').read_text()
    for model in yaml.safe_load((folder / 'metafile.yaml').read_text())['Models']:
        for value in model.get('Results', {}).get('Metrics', {}).values():
            rows = [row for row in readme.splitlines() if row.startswith(f'| {model["Name"]},')]
            assert len(rows) == 1 and f'| {value} |' in rows[0]
            assert f' {value} ' in measured.replace('*', '')


@pytest.mark.parametrize('path', NETWORKS, ids=relative)
def test_at_most_three_levels_of_inheritance(path: Path) -> None:
    assert levels(path) <= 3


@pytest.mark.parametrize('path', NETWORKS, ids=relative)
def test_package_is_imported_and_every_path_can_be_set_from_outside(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = ''.join(member.read_text() for member in family(path))
    for number, variable in enumerate(re.findall(r'\{\{\$(\w+):', text)):
        monkeypatch.setenv(variable, f'/elsewhere/{number}')
    cfg = Config.fromfile(path)
    assert 'sipe_mmseg' in cfg.custom_imports.imports
    for loader in filter(None, (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader)):
        assert loader.dataset.data_root.startswith('/elsewhere/')
        assert loader.dataset.get('pseudo_labels', '/elsewhere/').startswith('/elsewhere/')
    init_cfg = cfg.model.backbone.get('init_cfg')
    assert init_cfg is None or init_cfg.checkpoint.startswith('/elsewhere/')


@pytest.mark.parametrize('path', SHIPPED, ids=relative)
def test_one_training_step(path: Path) -> None:
    model, cfg = build_model(path)
    data = model.data_preprocessor(training_batch(model.num_classes), training=True)
    losses = model(**data, mode='loss')
    assert set(losses) == {'loss_cls', 'loss_gsc'}
    assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())
    sum(losses.values()).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    without = [name for name, gradient in gradients.items() if gradient is None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values() if gradient is not None)
    stages = {name: int(match[1]) for name in gradients if (match := STAGE.match(name))}
    last = [gradients[name] for name, number in stages.items() if number == max(stages.values())]
    assert any(gradient.abs().max() > 0 for gradient in last)
    assert gradients['decode_head.classifier.weight'].abs().max() > 0
    assert all(gradients[f'decode_head.side_projections.{i}.weight'].abs().max() > 0 for i in range(4))
    # Several processes wait for the gradient of every parameter unless they are told not to.
    assert bool(without) == cfg.get('model_wrapper_cfg', {}).get('find_unused_parameters', False), without


@pytest.mark.parametrize('path', BACKBONES_OF_MMPRETRAIN, ids=relative)
def test_images_of_any_size_are_padded_to_whole_cells_and_the_padding_is_cut_off(path: Path) -> None:
    model, cfg = build_model(path)
    model.eval()
    divisor = cfg.model.data_preprocessor.test_cfg.size_divisor
    height, width = 70, 45
    padded = [-(-side // divisor) * divisor for side in (height, width)]
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
    sample = SegDataSample(metainfo=dict(ori_shape=(height, width)))
    sample.set_data(dict(image_labels=LabelData(multi_hot=torch.eye(model.num_classes - 1)[3])))
    data = model.data_preprocessor(dict(inputs=[image], data_samples=[sample]), training=False)
    assert list(data['inputs'].shape[-2:]) == padded
    with torch.no_grad():
        for maps in model.extract_feat(data['inputs']):
            assert maps.shape[-2] * padded[1] == maps.shape[-1] * padded[0]  # the same stride along both sides
        (whole,) = model.localize(data['inputs'], [sample.image_labels.multi_hot], mirror=True)
        model.test_cfg = dict(mirror=True)
        (result,) = model.predict(**data)
    assert whole.is_cam.shape[-2:] == torch.Size([side // 16 for side in padded])
    for name in ('is_cam', 'cam'):
        pixels = torch.nn.functional.interpolate(getattr(whole, name)[None], size=padded, mode='bilinear')[0]
        pixels = pixels[:, :height, :width]
        expected = pixels / (pixels.amax(dim=(1, 2), keepdim=True) + EPS)
        torch.testing.assert_close(getattr(result.localization, name), expected)
    rows, columns = torch.arange(height) // 16, torch.arange(width) // 16
    assert torch.equal(result.localization.seeds[0], whole.seeds[rows][:, columns])
    assert set(result.pred_sem_seg.data.unique().tolist()) <= {0, 4}


@pytest.mark.parametrize('path', NETWORKS, ids=relative)
def test_folded_batch_norm_gives_the_same_maps(path: Path) -> None:
    model, cfg = build_model(path)
    assert cfg.default_hooks.fold_batch_norm.type == 'FoldBatchNormHook'
    model.eval()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(std=0.1)
            layer.running_var.uniform_(0.5, 2)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = flat(model._forward(images))
        folded = fuse_conv_bn(copy.deepcopy(model))
        found = flat(folded._forward(images))
    assert not [layer for layer in folded.modules() if isinstance(layer, nn.BatchNorm2d)]
    for maps, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(maps, reference, rtol=1e-4, atol=1e-4 * float(reference.abs().max()))


def flat(value: Any) -> list[torch.Tensor]:
    return [value] if isinstance(value, torch.Tensor) else [each for part in value for each in flat(part)]


# The template for own data --------------------------------------------------------------------------------------------

CUSTOM = CONFIGS / 'sipe' / 'sipe_r50_1xb16-5e_custom-512x512.py'
SMALL: dict[str, Any] = {
    'model.backbone.depth': 18,
    'model.backbone.init_cfg': None,
    'model.decode_head.in_channels': [64, 128, 256, 512],
    'model.data_preprocessor.size': (64, 64),
    'train_dataloader.batch_size': 2,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'train_dataloader.dataset.pipeline.1': dict(type='RandomLongSideResize', min_long=40, max_long=80),
    'train_dataloader.dataset.pipeline.3.crop_size': (64, 64),
    'test_dataloader.num_workers': 0,
    'test_dataloader.persistent_workers': False,
    'train_cfg.max_epochs': 1,
    'train_cfg.val_interval': 1,
}


@pytest.fixture
def custom_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight pictures for training and four for scoring, half of a reddish class, half of a bluish one."""
    root = tmp_path / 'custom'
    rng = np.random.default_rng(0)
    for part, count in (('train', 8), ('val', 4)):
        for folder in ('images', 'masks'):
            (root / folder / part).mkdir(parents=True)
        (root / 'labels').mkdir(exist_ok=True)
        labels = {}
        for number in range(count):
            class_index = 1 + number % 2
            mask = np.zeros((60, 50), dtype=np.uint8)
            mask[10:40, 8:36] = class_index
            image = rng.integers(100, 140, (60, 50, 3), dtype=np.uint8)
            image[mask > 0] = (220, 40, 40) if class_index == 1 else (40, 60, 220)
            Image.fromarray(image).save(root / 'images' / part / f'{number}.png')
            Image.fromarray(mask).save(root / 'masks' / part / f'{number}.png')
            labels[f'{number}.png'] = [('cat', 'dog')[class_index - 1]]
        (root / 'labels' / f'{part}.json').write_text(json.dumps(labels))
    monkeypatch.setenv('CUSTOM_ROOT', str(root))
    monkeypatch.setattr('mmengine.device.utils.DEVICE', 'cpu')
    return root


def edited_template(tmp_path: Path, *edits: tuple[str, str]) -> Path:
    """The template as a user leaves it who edits lines of its data file."""
    shutil.copytree(CONFIGS, tmp_path / 'configs')
    data = tmp_path / 'configs' / '_base_' / 'datasets' / 'custom.py'
    text = data.read_text()
    for before, after in edits:
        assert text.count(f'\n{before}') == 1
        text = text.replace(f'\n{before}', f'\n{after}')
    data.write_text(text)
    return tmp_path / 'configs' / CUSTOM.relative_to(CONFIGS)


def small_runner(config: Path, work_dir: Path) -> Runner:
    cfg = Config.fromfile(config)
    cfg.merge_from_dict(SMALL)
    if cfg.val_dataloader is not None:
        cfg.val_dataloader = cfg.test_dataloader
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = cfg.visualizer.name = f'{work_dir.parent.name}_{work_dir.name}'
    return Runner.from_cfg(cfg)


def test_template_trains_and_scores(custom_root: Path, tmp_path: Path) -> None:
    runner = small_runner(CUSTOM, tmp_path / 'run')
    assert runner.model.num_classes == 3
    runner.train()
    assert (tmp_path / 'run' / 'epoch_1.pth').exists()
    scores = runner.message_hub.get_scalar('val/mIoU').data[0]
    assert len(scores) == 1
    assert 0 <= scores[0] <= 100


def test_template_without_masks_scores_nothing_and_writes_label_maps(custom_root: Path, tmp_path: Path) -> None:
    shutil.rmtree(custom_root / 'masks')
    out = tmp_path / 'maps'
    config = edited_template(
        tmp_path, ("val_masks = 'masks/val'", 'val_masks = None'), ("label_maps = 'work_dirs", f"label_maps = '{out}")
    )
    runner = small_runner(config, tmp_path / 'run')
    runner.train()
    runner.test()
    assert len(list(out.rglob('*.png'))) == 4


def test_template_without_images_for_validation_predicts_those_to_train_on(custom_root: Path, tmp_path: Path) -> None:
    for folder in ('masks', 'images/val', 'labels/val.json'):
        path = custom_root / folder
        path.unlink() if path.is_file() else shutil.rmtree(path)
    edits = [("val_masks = 'masks/val'", 'val_masks = None'), ("val_images = 'images/val'", 'val_images = None')]
    config = edited_template(tmp_path, *edits)
    findings = list(look_over_config(str(config), ['train_dataloader.batch_size=2']))
    assert [str(finding) for finding in findings if finding.state == 'problem'] == []
    assert 'note     val: no data set in the config' in map(str, findings)
    runner = small_runner(config, tmp_path / 'run')
    runner.train()
    dataset = runner.test_dataloader.dataset
    assert [len(dataset), 'image_labels' in dataset.get_data_info(0)] == [8, True]


def test_number_of_classes_follows_from_the_list(tmp_path: Path) -> None:
    config = edited_template(
        tmp_path, ("classes = ('background', 'cat', 'dog')", "classes = ('background', *'abcdefg')")
    )
    cfg = Config.fromfile(config)
    assert cfg.model.decode_head.num_classes == 8
    assert len(cfg.train_dataloader.dataset.metainfo.classes) == 8


@pytest.mark.parametrize('source', ['csv', 'folders'])
def test_other_label_sources_of_the_template(custom_root: Path, tmp_path: Path, source: str) -> None:
    """The lines that the template shows in comments take the place of the JSON."""
    labels = json.loads((custom_root / 'labels' / 'train.json').read_text())
    if source == 'csv':
        lines = ['image,labels', *(f'{image},{";".join(names)}' for image, names in labels.items())]
        (custom_root / 'labels' / 'train.csv').write_text('\n'.join(lines))
    else:
        images = custom_root / 'images' / 'train'
        for image, (name,) in labels.items():
            (images / name).mkdir(exist_ok=True)
            os.replace(images / image, images / name / image)
    text = (CONFIGS / '_base_' / 'datasets' / 'custom.py').read_text()
    (shown,) = re.findall(rf'^#   (train_labels = dict\({source}=\S+\))', text, flags=re.MULTILINE)
    cfg = Config.fromfile(edited_template(tmp_path, ("train_labels = dict(json='labels/train.json')", shown)))
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    found = {
        Path(item['img_path']).name: item['image_labels'].tolist() for item in map(dataset.get_data_info, range(8))
    }
    assert found == {image: [('cat', 'dog').index(name)] for image, (name,) in labels.items()}
    batch = pseudo_collate([dataset[0]])
    assert batch['inputs'][0].shape == (3, 512, 512)


def test_the_built_in_set_has_the_classes_it_is_drawn_with() -> None:
    metainfo = Config.fromfile(CONFIGS / '_base_/datasets/shapes.py').metainfo
    assert tuple(metainfo['classes']) == shapes.CLASSES
    assert [tuple(colour) for colour in metainfo['palette']] == list(shapes.PALETTE)


# Networks that learn from pseudo labels -------------------------------------------------------------------------------


@pytest.mark.parametrize('path', DOWNSTREAM, ids=relative)
def test_one_step_on_pseudo_labels(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All layers get a gradient, and pixels of 255 count neither in the sum nor in the mean."""
    model, cfg = build_model(path)
    assert cfg.train_dataloader.sampler.type == 'SeededSampler'
    assert len(cfg.train_dataloader.dataset.get('metainfo', {}).get('classes', ())) in (0, model.num_classes)
    labels = torch.randint(0, model.num_classes, (1, 64, 96), generator=torch.Generator().manual_seed(1))
    labels[:, 20:] = 255
    batch = training_batch(model.num_classes)
    for sample in batch['data_samples']:
        sample.gt_sem_seg = PixelData(data=labels)
    data = model.data_preprocessor(batch, training=True)
    losses = model(**data, mode='loss')
    assert all(torch.isfinite(losses[name]) for name in losses)
    total = sum(value for name, value in losses.items() if 'loss' in name)
    total.backward()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in trained)
    logits = torch.randn(1, model.num_classes, 64, 96, generator=torch.Generator().manual_seed(2))
    known = torch.nn.functional.cross_entropy(logits[:, :, :20], labels[:, :20])
    for head in [model.decode_head] + ([model.auxiliary_head] if model.with_auxiliary_head else []):
        loss = head.loss_decode(logits, labels, ignore_index=head.ignore_index)
        torch.testing.assert_close(loss, head.loss_decode.loss_weight * known)


@pytest.mark.parametrize(
    'name',
    [
        'deeplabv3plus/deeplabv3plus_r50-d8_4xb4-20k_voc12aug-512x512.py',
        'ocrnet/ocrnet_hr18_4xb4-20k_voc12aug-512x512.py',  # several heads
        'segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py',  # no auxiliary head
        'unet/unet-s5-d16_fcn_4xb4-40k_hrf-256x256.py',
    ],
)
def test_three_lines_of_the_readme_turn_a_config_of_mmseg_to_pseudo_labels(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = (CONFIGS.parent / 'README.md').read_text()
    (recipe,) = re.findall(r"```python\n(_base_ = 'deeplabv3plus_r50-d8.*?)```", readme, flags=re.DOTALL)
    lines = [line for line in recipe.splitlines() if line and not line.startswith(('#', ' ', ')', '_base_'))]
    assert len(lines) == 3
    root = tmp_path / 'voc'
    for folder in ('JPEGImages', 'Annotations', 'labels'):
        (root / folder).mkdir(parents=True)
    Image.new('RGB', (64, 48)).save(root / 'JPEGImages' / 'a.jpg')
    Image.new('L', (64, 48), 2).save(root / 'labels' / 'a.png')
    (root / 'list.txt').write_text('a\n')
    base = find_mmseg_tool('train.py').parents[1] / 'configs' / name
    recipe = re.sub(r"_base_ = '.*'", f'_base_ = {str(base)!r}', recipe)
    recipe = recipe.replace('data/VOCdevkit/VOC2012', str(root)).replace('work_dirs/labels', str(root / 'labels'))
    (tmp_path / 'config.py').write_text(recipe.replace('labels=None', "labels=None, ann_file='list.txt'"))
    cfg = Config.fromfile(tmp_path / 'config.py')
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    sample = dataset[0]['data_samples']
    assert set(sample.gt_sem_seg.data.unique().tolist()) <= {2, 255}
    cfg.model.backbone.init_cfg = cfg.model.pretrained = None
    model = MODELS.build(cfg.model)
    (hook,) = [HOOKS.build(hook) for hook in cfg.custom_hooks]
    hook.before_train(SimpleNamespace(model=model))
    losses = [module for module in model.modules() if isinstance(module, CrossEntropyLoss)]
    assert losses
    assert all(loss.avg_non_ignore for loss in losses)
