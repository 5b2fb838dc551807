"""``sipe-mmseg predict`` on a network of random weights."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from PIL import Image

from sipe_mmseg.datasets.shapes import ShapesSettings, write_shapes
from sipe_mmseg_cli.main import main

CONFIG = Path(__file__).parents[2] / 'configs/sipe/sipe_r18_1xb16-6e_shapes-160x160.py'


@pytest.fixture(scope='module')
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work directory ``run`` and a folder ``photos`` of two pictures."""
    home = tmp_path_factory.mktemp('home')
    write_shapes(home / 'shapes', ShapesSettings(num_train=2, num_val=1, size=64))
    (home / 'shapes/JPEGImages').rename(home / 'photos')
    (home / 'photos/val_0000.jpg').unlink()
    (home / 'run').mkdir()
    config = Config.fromfile(CONFIG)
    config.dump(home / 'run/config.py')
    torch.manual_seed(0)
    torch.save({'state_dict': MODELS.build(config.model).state_dict(), 'meta': {}}, home / 'run/epoch_6.pth')
    (home / 'run/last_checkpoint').write_text(str(home / 'run/epoch_6.pth'))
    return home


@pytest.fixture
def run(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> Callable[..., tuple[int, list[str], str]]:
    """Exit code, lines of the output, and standard error of a prediction in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('mmengine.device.utils.DEVICE', 'cpu')

    def run(*words: object) -> tuple[int, list[str], str]:
        code = main(['predict', str(home / 'run'), *map(str, words)])
        printed = capsys.readouterr()
        return code, [line for line in printed.out.splitlines() if 'Loads checkpoint' not in line], printed.err

    return run


def test_a_folder_into_a_folder(home: Path, tmp_path: Path, run: Callable) -> None:
    code, lines, _ = run(home / 'photos', '--out-dir', 'maps', '--score-threshold', '0')
    assert code == 0
    assert lines[0].startswith(f'1/2 {home}/photos/train_0000.jpg: stripes 0.')
    assert lines[-1] == '2 of 2 pictures predicted, written to maps'
    for name in ('train_0000', 'train_0001'):
        assert Image.open(f'maps/pred/{name}.png').size == Image.open(home / f'photos/{name}.jpg').size
        assert Path(f'maps/vis/{name}.png').is_file()


def test_classes_and_label_files(home: Path, tmp_path: Path, run: Callable) -> None:
    photo = home / 'photos/train_0001.jpg'
    code, lines, _ = run(photo, '--classes', 'dots', 'star', '--no-tta', '--out-dir', 'one')
    assert code == 0
    assert ': dots 0.' in lines[0] and ', star 0.' in lines[0] and lines[0].endswith('(labels given)')
    assert set(np.unique(Image.open('one/pred/train_0001.png'))) <= {0, 3, 5}
    (tmp_path / 'labels.json').write_text(json.dumps({'train_0001': ['dots', 'star'], 'train_0000.jpg': []}))
    (tmp_path / 'labels.csv').write_text('image,labels\ntrain_0001.jpg,star;dots\ntrain_0000.jpg,\n')
    for name in ('labels.json', 'labels.csv'):
        code, both, _ = run(home / 'photos', '--labels', name, '--no-tta', '--out-dir', name[-4:].strip('.'))
        assert code == 0
        assert both[0] == f'1/2 {home}/photos/train_0000.jpg: no object (labels given)'
        assert both[1][4:] == lines[0][4:]
        assert np.array_equal(
            Image.open(f'{name[-4:].strip(".")}/pred/train_0001.png'), Image.open('one/pred/train_0001.png')
        )


def test_a_misspelt_picture_of_a_label_file_is_told(home: Path, tmp_path: Path, run: Callable) -> None:
    (tmp_path / 'labels.csv').write_text('image,labels\ntrain_0000.jpg,star\ntrain_0011.jpg,dots\n')
    code, lines, _ = run(home / 'photos', '--labels', 'labels.csv', '--no-tta', '--score-threshold', '0')
    assert code == 0
    assert lines[-1] == (
        'labels.csv: 1 of 2 keys names no picture here: train_0011.jpg (did you mean train_0001.jpg?); '
        '1 picture without labels was left to the classifier (train_0001.jpg)'
    )


def test_other_files_of_a_folder_are_left_out(home: Path, tmp_path: Path, run: Callable) -> None:
    mixed = tmp_path / 'mixed'
    shutil.copytree(home / 'photos', mixed)
    (mixed / 'train_0001.jpg').rename(mixed / 'UPPER.JPG')
    for name in ('notes.txt', 'labels.csv', 'Thumbs.db', '.hidden.jpg'):
        (mixed / name).write_text('no picture')
    (mixed / 'below').mkdir()
    left_out = '3 files are no pictures by their names, and left out: Thumbs.db, labels.csv, notes.txt'
    code, lines, _ = run(mixed, '--no-tta')
    assert code == 0
    assert lines[0].startswith(f'1/2 {mixed}/UPPER.JPG: ')
    assert lines[2:] == ['2 of 2 pictures predicted', left_out]

    (mixed / 'text.png').write_text('no picture')  # by its name it is one
    code, lines, _ = run(mixed, mixed / 'notes.txt', '--no-tta')  # and a file that is named is to be one
    assert code == 1
    assert lines[2:5] == ['2 of 4 pictures predicted', left_out, '2 could not be predicted:']
    assert lines[5].startswith(f'  {mixed}/text.png: not a readable image')
    assert lines[6].startswith(f'  {mixed}/notes.txt: not a readable image')


def test_what_failed_is_named_at_the_end(home: Path, tmp_path: Path, run: Callable) -> None:
    (tmp_path / 'text.jpg').write_text('no picture')
    code, lines, _ = run(tmp_path / 'text.jpg', home / 'photos/train_0000.jpg', 'gone.jpg', '--no-tta')
    assert code == 1
    assert lines[0].startswith(f'2/3 {home}/photos/train_0000.jpg: ')
    assert lines[1:3] == ['1 of 3 pictures predicted', '2 could not be predicted:']
    assert lines[3].startswith(f'  {tmp_path}/text.jpg: not a readable image')
    assert lines[4] == '  gone.jpg: no such image'
    assert list(tmp_path.iterdir()) == [tmp_path / 'text.jpg']


def test_mistakes(home: Path, tmp_path: Path, run: Callable) -> None:
    photo = home / 'photos/train_0000.jpg'
    code, _, error = run(photo, '--classes', 'stars')
    assert code == 1 and "'stars' is not a class; did you mean 'star'?" in error
    (tmp_path / 'labels.txt').touch()
    code, _, error = run(photo, '--labels', 'labels.txt')
    assert code == 1 and 'labels.txt: a label file ends with .json or .csv' in error
    (tmp_path / 'empty').mkdir()
    code, _, error = run('empty')
    assert code == 1 and 'empty: has no pictures, whose names end with .jpg, ' in error and '(0 other files)' in error
    for words in (['--score-threshold', '2'], ['--classes', 'star', '--labels', 'x.json'], ['--batch-size', '0']):
        with pytest.raises(SystemExit):
            run(photo, *words)
    assert main(['predict', str(CONFIG), str(photo)]) == 1


def test_weights_may_be_a_work_directory(home: Path, run: Callable) -> None:
    photo = home / 'photos/train_0000.jpg'
    assert run(photo, '--no-tta', '--weights', home / 'run')[:2] == run(photo, '--no-tta')[:2]
    code, _, error = run(photo, '--weights', home / 'photos')
    assert code == 1 and 'photos: has no last_checkpoint' in error


def test_threshold_decides_what_the_classifier_says(home: Path, run: Callable) -> None:
    photo = home / 'photos/train_0000.jpg'
    assert run(photo, '--no-tta', '--score-threshold', '0')[1][0].count(',') == 4  # all five classes
    advice = "no picture has an object by the classifier's own scores: lower --score-threshold, name what is there "
    _, lines, _ = run(photo, '--no-tta', '--score-threshold', '1')
    assert re.fullmatch(r'1/1 .*train_0000\.jpg: no object \(best: \w+ 0\.\d\d, not above 1\)', lines[0])
    assert lines[-1].startswith(advice)
    for options in (['--score-threshold', '0'], ['--classes', 'star'], ['--score-threshold', '1', '--classes', 'star']):
        assert not run(photo, '--no-tta', *options)[1][-1].startswith(advice)
