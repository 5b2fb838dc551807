"""``sipe-mmseg check``: an installation without MMCV, folders of pictures, configs with their data."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mmengine.logging import MMLogger, print_log
from PIL import Image

from sipe_mmseg.datasets.dataset_summary import DatasetSummary
from sipe_mmseg.datasets.shapes import ShapesSettings, write_shapes
from sipe_mmseg.engine.config_lookup import shipped_configs, shipped_tools
from sipe_mmseg_cli import check
from sipe_mmseg_cli.findings import Finding
from sipe_mmseg_cli.main import main

ROOT = Path(__file__).parents[2]
SHAPES = 'sipe_r18_1xb16-6e_shapes-160x160'


@pytest.fixture(autouse=True)
def sound_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, 'look_over_installation', lambda: iter([Finding('all of it')]))


@pytest.fixture
def run(capsys: pytest.CaptureFixture) -> Callable[..., tuple[int, str]]:
    """Exit code and output of a check."""

    def run(*words: object) -> tuple[int, str]:
        code = main(['check', *map(str, words)])
        return code, capsys.readouterr().out

    return run


# The installation -----------------------------------------------------------------------------------------------------


def test_an_installation_without_mmcv() -> None:
    code = (
        'import sys; from sipe_mmseg_cli import check; real = check.installed_versions; '
        'check.installed_versions = lambda: {n: v for n, v in real().items() if "mmcv" not in n}; '
        'from sipe_mmseg_cli.main import main; code = main(["check", "photos"]); '
        'sys.exit(10 * code + ("sipe_mmseg" in sys.modules))'
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 10, done.stderr
    assert 'problem  neither mmcv-lite nor mmcv is installed\n         pip install mmcv-lite==2.1.0 ' in done.stdout
    assert 'ok       mmengine ' in done.stdout or 'onedl-mmengine' in done.stdout
    assert done.stdout.endswith('photos is not looked at before the installation is in order\n\n1 problem\n')


def test_this_installation(monkeypatch: pytest.MonkeyPatch, run: Callable) -> None:
    monkeypatch.undo()
    code, printed = run()
    assert code == 0, printed
    assert (
        'ok       sipe_mmseg 0.' in printed and f'configs in {shipped_configs()}, tools in {shipped_tools()}' in printed
    )
    assert printed.endswith('\nno problems\n')


# Pictures -------------------------------------------------------------------------------------------------------------


def picture(path: Path, size: tuple[int, int] = (40, 30), mode: str = 'RGB', **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **options)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four sound pictures."""
    folder = tmp_path / 'photos'
    picture(folder / 'a.jpg')
    picture(folder / 'b.png', (120, 90))
    picture(folder / 'more/c.jpg', (20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(folder / 'turned.jpg', (50, 30), exif=exif)
    return folder


def test_sound_pictures(photos: Path, run: Callable) -> None:
    code, printed = run(photos)
    assert code == 0
    assert 'ok       4 of 4 pictures can be read' in printed
    assert 'ok       sizes: from 20x20 (more/c.jpg) to 120x90 (b.png)' in printed
    assert 'note     1 picture is turned when read, as the EXIF orientation says' in printed
    assert 'other' not in printed and 'mode' not in printed


def test_each_unusable_picture_is_named(photos: Path, run: Callable) -> None:
    (photos / 'cut.jpg').write_bytes((photos / 'a.jpg').read_bytes()[:400])
    (photos / 'text.png').write_text('no picture')
    picture(photos / 'tiny.png', (8, 40))
    picture(photos / 'b.jpg')
    picture(photos / 'grey.png', mode='LA')
    (photos / 'notes.txt').touch()
    (photos / '.hidden').touch()
    code, printed = run(photos)
    assert code == 1
    assert 'ok       6 of 9 pictures can be read' in printed
    assert f'problem  {photos}/cut.jpg: not a readable image' in printed
    assert f'problem  {photos}/text.png: not a readable image' in printed
    assert f'problem  {photos}/tiny.png: 8x40 pixels, but both sides must have at least 16' in printed
    assert f'problem  {photos}/b.png: differs from b.jpg in its suffix only' in printed
    assert 'note     1 picture of mode LA: ' in printed
    assert 'note     1 file is no picture by its name: notes.txt' in printed
    assert printed.endswith('\n4 problems\n')
    assert f'{photos}/tiny.png' not in run(photos, '--min-side', 8)[1]


def test_pictures_damaged_in_the_middle(photos: Path, monkeypatch: pytest.MonkeyPatch, run: Callable) -> None:
    assert 'ok       4 pictures are whole: every pixel can be decoded' in run(photos)[1]
    picture(photos / 'large.jpg', (300, 200))
    content = bytearray((photos / 'large.jpg').read_bytes())
    del content[len(content) // 2 : len(content) // 2 + 3000]
    (photos / 'large.jpg').write_bytes(content)
    content = bytearray((photos / 'b.png').read_bytes())
    content[len(content) // 2] ^= 0xFF
    (photos / 'b.png').write_bytes(content)
    code, printed = run(photos)
    assert code == 1
    assert 'ok       5 of 5 pictures can be read' in printed  # their headers, and they end properly
    assert f'problem  {photos}/large.jpg: Corrupt JPEG data: premature end of data segment' in printed
    assert f'problem  {photos}/b.png: not a readable image (' in printed
    assert printed.endswith('\n2 problems\n')
    assert run(photos, '--no-decode')[0] == 0
    monkeypatch.setattr(check, '_DECODED', 0)
    code, printed = run(photos)
    assert code == 0 and 'GB of pictures are not decoded' in printed and '--decode does it' in printed
    assert run(photos, '--decode')[0] == 1


def test_few_bytes_that_belong_to_no_pixel_are_a_note(photos: Path, run: Callable) -> None:
    """Some cameras and editors write them; libjpeg says so, and the picture is whole."""
    picture(photos / 'large.jpg', (300, 200))
    content = (photos / 'large.jpg').read_bytes()
    for number, state in ((2000, 'problem '), (50, 'note    ')):
        middle = len(content) // 2
        (photos / 'large.jpg').write_bytes(content[:middle] + bytes(number) + content[middle + number :])
        code, printed = run(photos)
        assert code == (state == 'problem ')
        assert re.search(
            rf'^{state} {photos}/large.jpg: Corrupt JPEG data: \d+ extraneous bytes', printed, re.MULTILINE
        )


def test_a_folder_named_like_a_config(photos: Path, monkeypatch: pytest.MonkeyPatch, run: Callable) -> None:
    monkeypatch.chdir(photos.parent)
    photos.rename('shapes')
    code, printed = run('shapes')
    assert code == 0
    assert 'ok       4 of 4 pictures can be read' in printed
    assert f'also the name of a shipped config\n         {shipped_configs()}/pipelines/shapes.py' in printed


def test_a_folder_without_pictures(tmp_path: Path, run: Callable) -> None:
    (tmp_path / 'notes.txt').touch()
    code, printed = run(tmp_path)
    assert code == 1
    assert f'problem  no pictures in {tmp_path} (1 other file)' in printed


def test_labels_are_held_against_the_pictures(photos: Path, tmp_path: Path, run: Callable) -> None:
    labels = tmp_path / 'labels.json'
    content: dict = {'a.jpg': ['dog', 'cat'], 'b': ['cat'], 'more/c.jpg': []}
    labels.write_text(json.dumps(content))
    code, printed = run(photos, '--labels', labels)
    assert code == 0
    assert 'ok       classes: cat 2, dog 1' in printed
    assert 'note     2 pictures have no label: more/c.jpg, turned.jpg\n         training stops' in printed

    labels.write_text(json.dumps({**content, 'gone.jpg': ['Cat '], 'turned': ['background']}))
    code, printed = run(photos, '--labels', labels)
    assert code == 1
    assert f"problem  {labels}, 'gone.jpg': no such image in {photos}" in printed
    assert f"problem  {labels}: the classes 'Cat ' and 'cat' differ in case or space only; write them alike" in printed
    assert f"problem  {labels}: 'background' is a label of 1 images" in printed

    table = tmp_path / 'labels.csv'
    table.write_text('image,cat,dog\na.jpg,1,1\nb.png,0,1\nturned.jpg,0,0\n')
    code, printed = run(photos, '--labels', table)
    assert code == 0
    assert 'classes: cat 1, dog 2' in printed and '2 pictures have no label: more/c.jpg, turned.jpg' in printed


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('a.json', '{"a.jpg": "dog"}', "key 'a.jpg': the value must be a list of class names"),
        ('a.json', '{"a.jpg": [1]}', "key 'a.jpg': labels are names of classes, not 1"),
        ('a.json', '{"a.jpg": ["dog"], "a.jpg": ["cat"]}', "key 'a.jpg': appears twice, with dog and with cat"),
        ('a.csv', 'picture,labels\n', 'the header must be'),
        ('a.txt', '', 'a label file ends with .json or .csv'),
        ('gone.json', None, 'no such file'),
    ],
)
def test_label_files_that_cannot_be_read(
    name: str, text: str | None, message: str, photos: Path, tmp_path: Path, run: Callable
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    code, printed = run(photos, '--labels', tmp_path / name)
    assert code == 1
    assert f'problem  {tmp_path / name}' in printed and message in printed


def test_folders_of_classes(tmp_path: Path, run: Callable) -> None:
    for name in ('cat/1.jpg', 'cat/2.jpg', 'dog/1.jpg'):
        picture(tmp_path / name)
    assert 'ok       in folders: cat 2, dog 1' in run(tmp_path)[1]
    picture(tmp_path / 'Dog/3.jpg')
    code, printed = run(tmp_path)
    assert code == 1
    assert 'problem  Dog and dog differ in case or space only' in printed


def test_options_of_folders_go_with_folders() -> None:
    for words in (['--labels', 'x.json'], [SHAPES, '--labels', 'x.json'], [SHAPES, '--min-side', '3']):
        with pytest.raises(SystemExit) as stop:
            main(['check', *words])
        assert stop.value.code == 2


# Configs --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_shapes(tmp_path / 'data', ShapesSettings(num_train=20, num_val=3, size=64))
    monkeypatch.setenv('SHAPES_ROOT', str(tmp_path / 'data'))
    monkeypatch.chdir(tmp_path)
    return tmp_path / 'data'


def test_a_config_and_its_data(shapes: Path, run: Callable) -> None:
    code, printed = run(SHAPES)
    assert code == 0, printed
    assert f'ok       SHAPES_ROOT={shapes} (from the environment)' in printed
    assert 'RESNET50' not in printed  # which a base of it reads, and which decides nothing here
    assert 'ok       train: 20 images, 0 masks, 6 classes' in printed
    assert 'ok       val: 3 images, 3 masks, 6 classes' in printed
    assert 'ok       test: the same data set as val' in printed
    assert 'ok       model: SIPESegmentor, 2.9 million parameters' in printed
    counts = [line for line in printed.splitlines() if line.startswith('ok       train: images with ')]
    annotations = [path.read_text() for path in (shapes / 'Annotations').glob('train_*.xml')]
    assert f'stripes {sum("stripes" in text for text in annotations)}, rings' in counts[0]


@pytest.mark.parametrize(
    ('split', 'classes', 'unlabelled', 'noted'),
    [
        ('train', 3, 0, True),
        ('train', 3, 1, False),
        ('train', 5, 0, False),
        ('val', 3, 0, False),
        ('train', 0, 0, False),
    ],
)
def test_few_classes_want_images_of_none(split: str, classes: int, unlabelled: int, noted: bool) -> None:
    names = tuple('abcde'[:classes])
    summary = DatasetSummary(9, ('background', *names), dict.fromkeys(names, 3), unlabelled, 0, [])
    found = [finding for finding in check._of_dataset(split, summary) if 'images show one of' in finding.text]
    assert [finding.state for finding in found] == ['note'] * noted


def test_what_is_wrong_with_a_config_is_named(shapes: Path, run: Callable) -> None:
    code, printed = run(SHAPES, '--cfg-options', 'model.decode_head.num_classes=4')
    assert code == 1
    assert 'problem  model: decode_head.num_classes is 4, but train has 6 classes' in printed
    code, printed = run(SHAPES, '--cfg-options', 'train_dataloader.batch_size=64')
    assert code == 1
    assert 'problem  train: 20 images make no batch of 64' in printed
    assert '--cfg-options train_dataloader.batch_size=20' in printed
    code, printed = run(SHAPES, '--cfg-options', 'train_dataloader.dataset.data_root=gone', 'model.backbone.dept=18')
    assert code == 1
    assert 'problem  train: ' in printed and "there is no image folder 'gone/JPEGImages'" in printed
    assert 'problem  model: ' in printed and "'dept'" in printed
    (shapes / 'JPEGImages/val_0001.jpg').write_text('no picture')
    code, printed = run(SHAPES)
    assert code == 1
    assert 'val_0001.jpg: not a readable image' in printed and 'ok       train: 20 images' in printed
    code, printed = run('sipe_r18')
    assert code == 1
    assert 'problem  sipe_r18: no such config file' in printed


def test_no_log_lines_between_the_findings(shapes: Path, monkeypatch: pytest.MonkeyPatch, run: Callable) -> None:
    shown: list[str] = []
    monkeypatch.setattr(MMLogger, 'callHandlers', lambda self, record: shown.append(record.getMessage()))
    print_log('before', 'current')  # from which on a logger knows that it shows such lines
    run(SHAPES)
    print_log('after', 'current')
    assert shown == ['before', 'after']


def test_a_path_that_is_not_there(tmp_path: Path, run: Callable) -> None:
    (tmp_path / 'photos/train').mkdir(parents=True)
    code, printed = run(tmp_path / 'photos/trian')
    assert code == 1
    assert f"photos/trian: no such file or folder; did you mean '{tmp_path}/photos/train'?" in printed


@pytest.mark.parametrize(
    ('name', 'content', 'instead'),
    [
        ('train.csv', 'image,labels\n', 'a label file goes with its folder: sipe-mmseg check FOLDER --labels '),
        ('train.json', '{"a.jpg": ["cat"]}', 'a label file goes with its folder: sipe-mmseg check FOLDER --labels '),
        ('train.json', '[]', 'a label file goes with its folder: sipe-mmseg check FOLDER --labels '),
        ('a.jpg', '', 'a folder of pictures: sipe-mmseg check '),
    ],
)
def test_a_file_that_is_no_config(name: str, content: str, instead: str, tmp_path: Path, run: Callable) -> None:
    (tmp_path / name).write_text(content)
    code, printed = run(tmp_path / name)
    assert code == 1
    assert f'problem  {tmp_path / name}: is no config\n' in printed and instead in printed


def test_a_config_in_json_is_one(tmp_path: Path, run: Callable) -> None:
    (tmp_path / 'mine.json').write_text('{"default_scope": "mmseg", "_base_": []}')
    assert f'ok       config {tmp_path}/mine.json' in run(tmp_path / 'mine.json')[1]


def test_classes_that_no_data_set_follows_are_noted(shapes: Path, tmp_path: Path, run: Callable) -> None:
    config = tmp_path / 'mine.py'
    lines = [
        "classes = ('background', 'fly')",
        "metainfo = dict(classes=('background', 'fly'))",
        "dataset = dict(type='BaseSegDataset', data_root='data', ann_file='ImageSets/Segmentation/val.txt', "
        "data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'), "
        "metainfo=dict(classes=('background', 'cat')))",
        'train_dataloader = val_dataloader = dict(batch_size=1, dataset=dataset)',
    ]
    for first, key in ((0, 'classes'), (1, 'metainfo')):
        config.write_text('\n'.join(lines[first:]))
        code, printed = run(config)
        assert code == 0
        assert f'note     train: has the classes background, cat, not those of `{key}`: background, fly\n' in printed
        assert printed.count('not those of') == 1
    config.write_text('\n'.join(lines[2:]))
    assert 'not those of' not in run(config)[1]
    assert 'not those of' not in run(SHAPES)[1]


def test_weights_to_begin_with(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable) -> None:
    monkeypatch.setattr('torch.hub.get_dir', lambda: str(tmp_path / 'hub'))
    voc = 'sipe_r50_1xb16-5e_voc12aug-512x512'
    printed = run(voc)[1]
    cached = tmp_path / 'hub/checkpoints/resnet50-0676ba61.pth'
    assert f'note     weights torchvision://resnet50 will be downloaded to {cached}' in printed
    assert 'RESNET50_WEIGHTS=FILE names a file of your own' in printed
    assert 'VOC12_ROOT=data/VOCdevkit/VOC2012 (the default of the config)' in printed
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert f'ok       weights torchvision://resnet50 are in {cached}' in run(voc)[1]
    monkeypatch.setenv('RESNET50_WEIGHTS', 'gone.pth')
    assert 'problem  weights gone.pth: no such file\n         RESNET50_WEIGHTS=FILE' in run(voc)[1]


def test_pseudo_labels_and_other_data_sets(shapes: Path, tmp_path: Path, run: Callable) -> None:
    config = tmp_path / 'mine.py'
    config.write_text(
        "custom_imports = dict(imports=['sipe_mmseg'], allow_failed_imports=False)\n"
        "dataset = dict(type='BaseSegDataset', data_root='data', ann_file='ImageSets/Segmentation/val.txt', "
        "data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'), "
        "metainfo=dict(classes=('a', 'b')))\n"
        'train_dataloader = dict(batch_size=1, dataset=dataset)\n'
    )
    code, printed = run(config)
    assert code == 0
    assert 'ok       train: 3 images, 3 masks, 2 classes' in printed
    assert 'note     test: no data set in the config' in printed
    (shapes / 'SegmentationClass/val_0002.png').unlink()
    code, printed = run(config)
    assert code == 1
    assert 'problem  train: data/SegmentationClass/val_0002.png: no such mask' in printed


def test_a_pipeline(shapes: Path, run: Callable) -> None:
    pytest.importorskip('pydensecrf', reason="needs the extra 'crf'")
    code, printed = run('shapes')
    assert code == 0, printed
    assert 'stages: make_shapes, train_sipe, generate_cams' in printed
    code, printed = run('voc12')
    assert code == 1
    assert 'data/VOCdevkit/VOC2012/JPEGImages, which train_sipe reads' in printed
    assert not Path('work_dirs').exists()
