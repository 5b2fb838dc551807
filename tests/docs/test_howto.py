"""Every config and module on docs/howto.md is loaded and built, and the commands for the built-in set are run."""

import copy
import json
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.structures import LabelData
from mmseg.registry import DATASETS, MODELS, TRANSFORMS
from mmseg.structures import SegDataSample
from PIL import Image

from sipe_mmseg.datasets.cam_files import read_cam, resize_cam, write_cam
from sipe_mmseg.datasets.shapes import ShapesSettings, write_shapes
from sipe_mmseg.engine.pipeline import read_stages
from sipe_mmseg.models.prototypes import normalize_by_max

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / 'docs/howto.md'
CONFIGS = ('regnet', 'small_gpu', 'two_scales', 'squared')


@pytest.fixture
def home(reader_home: Path, page_blocks: Callable, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The reader's folder with all files that the page has him write, and a small built-in set."""
    for block in page_blocks(PAGE):
        if block.language == 'python':
            assert block.file, f'a block of Python names no file, so nothing tests it:\n{block.text}'
            (reader_home / block.file).write_text(block.text)
    write_shapes(reader_home / 'data/shapes', ShapesSettings(num_train=16, num_val=2, size=64))
    monkeypatch.chdir(reader_home)
    monkeypatch.syspath_prepend(reader_home)
    yield reader_home
    for name in [name for name in sys.modules if name == 'my' or name.startswith('my.')]:
        del sys.modules[name]
    MODELS.module_dict.pop('SquaredGSCLoss', None)


def model_of(config: Config) -> Any:
    torch.manual_seed(0)
    config.model.backbone.init_cfg = None
    return MODELS.build(config.model).train()


def batch(num_classes: int, images: int = 4, side: int = 64) -> dict[str, list]:
    generator = torch.Generator().manual_seed(0)
    samples = []
    for index in range(images):
        multi_hot = torch.zeros(num_classes - 1)
        multi_hot[[index % 3, 4]] = 1
        sample = SegDataSample()
        sample.set_data(
            dict(image_labels=LabelData(multi_hot=multi_hot), valid_box=torch.tensor([0, side - 8 * index, 0, side]))
        )
        samples.append(sample)
    inputs = [torch.randint(0, 256, (3, side, side), generator=generator, dtype=torch.uint8) for _ in samples]
    return dict(inputs=inputs, data_samples=samples)


def losses_of(model: Any, data: dict[str, list]) -> dict[str, torch.Tensor]:
    return model(**model.data_preprocessor(copy.deepcopy(data), training=True), mode='loss')


def small(config: Config) -> Config:
    config.model.data_preprocessor.size = (64, 64)
    return config


def test_every_file_of_the_page_is_tested_here(home: Path) -> None:
    assert {path.stem for path in (home / 'my').glob('*.py')} == {
        *CONFIGS,
        'closer_look',
        'losses',
        'margin',
        'pipeline',
    }


@pytest.mark.parametrize('name', CONFIGS)
def test_model_learns(home: Path, name: str) -> None:
    model = model_of(small(Config.fromfile(home / f'my/{name}.py')))
    losses = losses_of(model, batch(model.num_classes))
    assert set(losses) == {'loss_cls', 'loss_gsc'}
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert model.decode_head.classifier.weight.grad.abs().max() > 0


def test_another_backbone_gives_the_maps_that_the_config_says(home: Path) -> None:
    model = model_of(Config.fromfile(home / 'my/regnet.py')).eval()
    maps = model.extract_feat(torch.zeros(1, 3, 64, 96))
    assert [tuple(x.shape[1:]) for x in maps] == [(32, 16, 24), (64, 8, 12), (160, 4, 6), (384, 2, 3)]


def test_scales_are_two(home: Path) -> None:
    config = Config.fromfile(home / 'my/two_scales.py')
    assert config.model.decode_head.alpha == 0.7
    (test_time,) = [TRANSFORMS.build(step) for step in config.tta_pipeline if step.type == 'TestTimeAug']
    assert len(test_time.subroutines) == 2
    assert [step.scale_factor for step in config.tta_pipeline[1].transforms[0]] == [1.0, 1.5]


def test_accumulated_gradients_are_those_of_the_whole_batch(home: Path) -> None:
    """What the page says of four images at a time, with two: encoder of stored statistics, losses that are means."""
    config = small(Config.fromfile(home / 'my/small_gpu.py'))
    assert config.train_dataloader.batch_size * config.optim_wrapper.accumulative_counts == 16
    config.model.backbone.depth = 18
    config.model.decode_head.in_channels = [64, 128, 256, 512]
    data = batch(21)
    weights = []
    for parts in (1, 2):
        model = model_of(copy.deepcopy(config))
        wrapper = build_optim_wrapper(model, {**config.optim_wrapper, 'accumulative_counts': parts})
        wrapper.initialize_count_status(model, 0, parts)
        size = 4 // parts
        before = model.decode_head.classifier.weight.detach().clone()
        for start in range(0, 4, size):
            losses = losses_of(model, {key: values[start : start + size] for key, values in data.items()})
            wrapper.update_params(sum(losses.values()))
        assert not torch.equal(before, model.decode_head.classifier.weight)
        weights.append({name: value.detach().clone() for name, value in model.named_parameters()})
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_own_loss_is_what_it_says(home: Path) -> None:
    model = model_of(Config.fromfile(home / 'my/squared.py'))
    cam, is_cam = torch.rand(2, 6, 3, 4), torch.rand(2, 6, 3, 4)
    expected = 3 * (cam - normalize_by_max(is_cam)).pow(2).mean()
    torch.testing.assert_close(model.decode_head.loss_gsc(cam, is_cam), expected)


def test_pipeline_has_the_new_stages_after_the_cams(home: Path) -> None:
    stages = read_stages(Config.fromfile(home / 'my/pipeline.py'))
    names = [stage.name for stage in stages]
    assert names == ['make_shapes', 'train_sipe', 'generate_cams', 'score_is_cam', 'refine_margin', 'train_seg']
    assert stages[4].command()[1:] == [
        'my/margin.py',
        'work_dirs/pipelines/margin/cams',
        'work_dirs/pipelines/margin/labels/margin',
        '--margin',
        '0.2',
    ]
    assert stages[5].environment() == {'PSEUDO_LABELS': 'work_dirs/pipelines/margin/labels/margin'}


def test_data_set_of_the_built_in_configs(home: Path) -> None:
    config = Config.fromfile(home / 'my/squared.py')
    assert len(DATASETS.build(config.train_dataloader.dataset)) == 16


def test_refinement_leaves_out_what_is_close(home: Path) -> None:
    is_cam = np.zeros((2, 2, 3), np.float32)
    is_cam[0], is_cam[1] = [[0.9, 0.5, 0.1], [0.9, 0.5, 0.1]], [[0.2, 0.375, 0.25], [0.75, 0.75, 0.5]]
    write_cam(home / 'cams/a/b.npz', np.array([3]), is_cam, (2, 3))
    write_cam(home / 'cams/empty.npz', np.array([], int), is_cam[:1], (2, 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', ['margin.py', 'cams', 'out', '--margin', '0.2'])
        runpy.run_path(str(home / 'my/margin.py'), run_name='__main__')
    np.testing.assert_array_equal(np.asarray(Image.open(home / 'out/a/b.png')), [[0, 255, 255], [255, 3, 3]])
    # Where nothing else is there, the background is sure as far as its map goes.
    np.testing.assert_array_equal(np.asarray(Image.open(home / 'out/empty.png')), [[0, 0, 255], [0, 0, 255]])


def test_prediction_in_python(home: Path, capsys: pytest.CaptureFixture) -> None:
    config = Config.fromfile(home / 'configs/sipe/sipe_mobilenet-v2_1xb16-10e_custom-320x320.py')
    config.model.decode_head.num_classes = 2
    (home / 'work_dirs/my_run').mkdir(parents=True)
    config.dump(home / 'work_dirs/my_run/config.py')
    meta = dict(dataset_meta=dict(classes=('background', 'dog'), palette=[[0, 0, 0], [64, 0, 128]]))
    torch.save(dict(state_dict=model_of(config).state_dict(), meta=meta), home / 'work_dirs/my_run/epoch_1.pth')
    (home / 'work_dirs/my_run/last_checkpoint').write_text(str(home / 'work_dirs/my_run/epoch_1.pth'))
    (home / 'photos').mkdir()
    Image.new('RGB', (60, 40)).save(home / 'photos/fido.jpg')
    runpy.run_path(str(home / 'my/closer_look.py'), run_name='__main__')
    assert "fido.jpg ('dog',) (2, 40, 60) (40, 60)\n{} []\n" in capsys.readouterr().out
    assert (home / 'maps/pred/fido.png').is_file() and (home / 'maps/vis/fido.png').is_file()


@pytest.mark.slow
def test_commands_for_the_built_in_set(home: Path, page_blocks: Callable, run_in: Callable[..., str]) -> None:
    """Run as they stand, on a smaller set."""
    wanted = ('work_dirs/bfloat16', 'work_dirs/squared', 'my/margin.py', 'run_pipeline.py my/', 'pipelines/shapes.py')
    shell = [block.text for block in page_blocks(PAGE) if block.language == 'shell']
    run = [text for text in shell if any(word in text for word in wanted)]
    assert len(run) == len(wanted)
    # The set is there already, smaller than the page's.
    script = ''.join(run).replace('python tools/make_shapes.py data/shapes\n', '')
    output = run_in(script)
    for name in ('bfloat16', 'squared'):
        assert (home / f'work_dirs/{name}/epoch_6.pth').is_file()
        (log,) = (home / f'work_dirs/{name}').glob('*/vis_data/scalars.json')
        rows = [json.loads(line) for line in log.read_text().splitlines()]
        assert all(np.isfinite(row['loss']) for row in rows if 'loss' in row)
    cams = sorted((home / 'work_dirs/cams').glob('*.npz'))
    labels = sorted((home / 'work_dirs/labels_margin').glob('*.png'))
    assert [path.stem for path in labels] == [path.stem for path in cams] == ['val_0000', 'val_0001']
    for cam, label in zip(cams, labels, strict=True):
        read = read_cam(cam)
        best = torch.from_numpy(resize_cam(read.is_cam, read.size)).topk(2, dim=0).values.numpy()
        expected = np.where(best[0] - best[1] < 0.2, 255, read.label_map())
        np.testing.assert_array_equal(np.asarray(Image.open(label)), expected)
    assert re.search(r'mIoU [\d.]+ %, FP .* \(2 images\)', output)
    assert 'refine_margin (' in output and 'refine_irn_crf (' not in output.split('refine_margin (')[1].split('\n\n')[0]
