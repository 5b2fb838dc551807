"""Configs by path, work directory and name."""

from pathlib import Path

import pytest

from sipe_mmseg.engine import config_lookup
from sipe_mmseg.engine.config_lookup import (
    find_config,
    find_dataset_config,
    find_script,
    shipped_configs,
    shipped_names,
    shipped_tools,
)

CONFIGS = shipped_configs()
SHAPES = 'sipe_r18_1xb16-6e_shapes-160x160'


def test_a_path_is_that_file(tmp_path: Path) -> None:
    (tmp_path / 'mine.py').touch()
    assert find_config(tmp_path / 'mine.py') == tmp_path / 'mine.py'
    assert find_config(str(tmp_path / 'mine.py')) == tmp_path / 'mine.py'


def test_a_work_directory_has_its_config(tmp_path: Path) -> None:
    (tmp_path / '20260101_000000' / 'vis_data').mkdir(parents=True)
    (tmp_path / '20260101_000000' / 'vis_data' / 'config.py').touch()
    with pytest.raises(FileNotFoundError, match=f'{tmp_path}: has no config file'):
        find_config(tmp_path)
    (tmp_path / 'a.py').touch()
    assert find_config(tmp_path) == tmp_path / 'a.py'
    (tmp_path / 'b.py').touch()
    with pytest.raises(ValueError, match=r'has 2 config files \(a\.py, b\.py\): name the one to use'):
        find_config(tmp_path)


@pytest.mark.parametrize('name', [SHAPES, f'{SHAPES}.py'])
def test_a_shipped_config_has_a_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == CONFIGS / 'sipe' / f'{SHAPES}.py'


def test_a_folder_without_configs_hides_no_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'voc12').mkdir()
    assert find_config('voc12') == CONFIGS / 'pipelines/voc12.py'
    (tmp_path / 'voc12/mine.py').touch()
    assert find_config('voc12') == Path('voc12/mine.py')


def test_configs_inside_the_package_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mim = tmp_path / 'sipe_mmseg' / '.mim' / 'configs' / 'sipe'
    mim.mkdir(parents=True)
    (mim / 'only_here.py').touch()
    monkeypatch.setattr(config_lookup, '_PACKAGE', tmp_path / 'sipe_mmseg')
    assert find_config('only_here') == mim / 'only_here.py'


def test_what_is_nowhere_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        FileNotFoundError, match=f"sipe_r18_1xb16-6e_shapes: .* no shipped config; did you mean '{SHAPES}'"
    ):
        find_config('sipe_r18_1xb16-6e_shapes')
    with pytest.raises(FileNotFoundError, match=r'configs/sipe/fly\.py: no such file or folder$'):
        find_config('configs/sipe/fly.py')
    monkeypatch.setattr(config_lookup, '_PACKAGE', tmp_path / 'sipe_mmseg')
    with pytest.raises(FileNotFoundError, match=r'comes without configs: looked in .*mim.* and'):
        find_config('fly')


def test_names_of_which_one_is_a_part_are_proposed_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"mean 'sipe_mobilenet-v2-\S+', 'sipe_mobilenet-v2_\S+', 'sipe_mob\S+'\?"
    ):
        find_config('sipe_mobilenet')
    for pipelines, meant in ((True, "'voc12-mobilenet'"), (None, "'voc12-mobilenet'"), (False, "'irn_mobilenet-v2_")):
        with pytest.raises(FileNotFoundError, match=f'did you mean .*{meant}'):
            find_config('mobilenet', pipelines)
    with pytest.raises(FileNotFoundError) as caught:
        find_config('voc12-mobilnet')
    assert "'voc12-mobilenet'" not in str(caught.value)


def test_a_path_that_is_like_it_is_proposed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'data/mine/train').mkdir(parents=True)
    (tmp_path / 'data/mine/val').mkdir()
    for given, meant in (
        ('data/mine/trian', 'data/mine/train'),
        ('data/mien/train', 'data/mine/train'),
        (f'{tmp_path}/dta/mine/fly', f'{tmp_path}/data'),
    ):
        with pytest.raises(FileNotFoundError, match=f"^{given}: no such file or folder; did you mean '{meant}'\\?$"):
            find_config(given)
    (tmp_path / 'broken_link').symlink_to('nowhere')
    with pytest.raises(FileNotFoundError, match=r'no such file or folder$'):
        find_config(tmp_path / 'broken_link')
    (tmp_path / 'photos').mkdir()
    with pytest.raises(FileNotFoundError, match=r"photoz: .* no shipped config; did you mean 'photos'"):
        find_config('photoz')


def test_data_sets_come_before_pipelines_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_dataset_config('voc12') == CONFIGS / '_base_/datasets/voc12.py'
    assert find_config('voc12') == CONFIGS / 'pipelines/voc12.py'
    assert find_dataset_config(SHAPES) == CONFIGS / 'sipe' / f'{SHAPES}.py'
    (tmp_path / 'mine.py').touch()
    assert find_dataset_config('mine.py') == Path('mine.py')
    with pytest.raises(
        FileNotFoundError,
        match=r'voc13: no such config file .*; the shipped data sets are coco14, custom, shapes, voc12$',
    ):
        find_dataset_config('voc13')
    monkeypatch.setattr(config_lookup, '_PACKAGE', tmp_path / 'sipe_mmseg')
    with pytest.raises(FileNotFoundError, match='comes without configs') as caught:
        find_dataset_config('voc13')
    assert 'the shipped data sets' not in str(caught.value)


def test_names_belong_to_one_config_each() -> None:
    paths = [path for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts]
    assert sorted(shipped_names().values()) == sorted(paths)


def test_scripts_of_the_working_directory_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train = str(shipped_tools() / 'train.py')
    assert find_script('tools/train.py') == train
    assert find_script('configs/pipelines/voc12.py') == str(CONFIGS / 'pipelines/voc12.py')
    for path in ('tools/fly.py', 'train.py', 'elsewhere/train.py', '/tools/train.py'):
        assert find_script(path) == path
    (tmp_path / 'tools').mkdir()
    for name in ('train.py', 'mine.py'):
        (tmp_path / 'tools' / name).touch()
    assert find_script('tools/train.py') == train  # as in a checkout of MMSegmentation, whose tools are not ours
    for path in ('./tools/train.py', 'tools/mine.py'):
        assert find_script(path) == path
    (tmp_path / 'tools/generate_labels.py').touch()
    assert find_script('tools/train.py') == 'tools/train.py'
    monkeypatch.setattr(config_lookup, '_PACKAGE', tmp_path / 'nowhere' / 'sipe_mmseg')
    assert find_script('tools/test.py') == 'tools/test.py'
