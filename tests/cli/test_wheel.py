"""What a wheel carries, and that names of configs work from it with no checkout in sight."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SHAPES = 'sipe_r18_1xb16-6e_shapes-160x160'
BUILT_FROM = (
    *('sipe_mmseg', 'sipe_mmseg_cli', 'configs', 'tools'),
    *('pyproject.toml', 'setup.py', 'MANIFEST.in', 'model-index.yml', 'README.md', 'LICENSE'),
)


def files_below(root: Path, *parts: str) -> set[str]:
    return {
        str(path.relative_to(root))
        for part in parts
        for path in (root / part).rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }


def run(*words: object, cwd: Path, python_path: Path | None = None, **environment: str) -> str:
    """Run a command and return what it prints."""
    environment = {**os.environ, 'PYTHONPATH': str(python_path or ''), 'OMP_NUM_THREADS': '1', **environment}
    done = subprocess.run(list(map(str, words)), cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f'{done.stdout[-2000:]}\n{done.stderr[-4000:]}'
    return done.stdout


def isolation() -> list[str]:
    """Without build isolation, and so without a network, where setuptools is new enough."""
    try:
        return ['--no-build-isolation'] if int(version('setuptools').split('.')[0]) >= 77 else []
    except PackageNotFoundError:
        return []


@pytest.fixture(scope='module')
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is built, as building leaves traces; with one file that an earlier build has left behind."""
    source = tmp_path_factory.mktemp('source')
    for name in BUILT_FROM:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, source / name)
    stale = source / 'build/lib/sipe_mmseg/.mim/configs/stale.py'
    stale.parent.mkdir(parents=True)
    stale.touch()
    return source


@pytest.fixture(scope='module')
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked."""
    pytest.importorskip('pip')
    out = tmp_path_factory.mktemp('wheel')
    run(sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', *isolation(), '-w', out, source, cwd=out)
    (file,) = out.glob('sipe_mmseg-*.whl')
    with zipfile.ZipFile(file) as archive:
        archive.extractall(out / 'unpacked')
    return out / 'unpacked'


def test_it_carries_configs_tools_and_data(wheel: Path) -> None:
    mim = wheel / 'sipe_mmseg/.mim'
    assert files_below(mim, 'configs', 'tools') == files_below(ROOT, 'configs', 'tools')
    for name in files_below(ROOT, 'configs', 'tools'):
        assert (mim / name).read_bytes() == (ROOT / name).read_bytes()
    assert files_below(wheel, 'sipe_mmseg') - {f'sipe_mmseg/.mim/{name}' for name in files_below(mim, '.')} == (
        files_below(ROOT, 'sipe_mmseg')
    )  # lists/*.txt, page.css and page.js among them
    assert files_below(wheel, 'sipe_mmseg_cli') == files_below(ROOT, 'sipe_mmseg_cli')
    (entry_points,) = wheel.glob('*.dist-info/entry_points.txt')
    assert 'sipe-mmseg = sipe_mmseg_cli.main:main' in entry_points.read_text()


def test_the_index_names_all_metafiles(wheel: Path) -> None:
    mim = wheel / 'sipe_mmseg/.mim'
    listed = yaml.safe_load((mim / 'model-index.yml').read_text())['Import']
    assert sorted(listed) == sorted(str(path.relative_to(ROOT)) for path in ROOT.glob('configs/*/metafile.yaml'))
    for path in listed:
        for model in yaml.safe_load((mim / path).read_text())['Models']:
            assert (mim / model['Config']).is_file()


def test_names_of_configs_work_elsewhere(wheel: Path, tmp_path: Path) -> None:
    code = (
        'from mmengine.config import Config; from sipe_mmseg.apis import find_config; import sipe_mmseg; '
        'from sipe_mmseg.engine.config_lookup import shipped_names, shipped_tools; '
        f'print(sipe_mmseg.__file__); print(find_config({SHAPES!r})); print(shipped_tools()); '
        'print(len([Config.fromfile(path) for path in shipped_names().values()]))'
    )
    printed = run(sys.executable, '-c', code, cwd=tmp_path, python_path=wheel).splitlines()
    package = wheel / 'sipe_mmseg'
    number = len([path for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts])
    assert printed[-4:] == [
        str(package / '__init__.py'),
        str(package / f'.mim/configs/sipe/{SHAPES}.py'),
        str(package / '.mim/tools'),
        str(number),
    ]


def test_the_sources_to_build_from_are_whole(source: Path, tmp_path: Path) -> None:
    if not isolation():
        pytest.skip('needs setuptools 77 or newer')
    code = f'import os; from setuptools.build_meta import build_sdist; os.chdir({str(source)!r}); print(build_sdist('
    run(sys.executable, '-c', f'{code}{str(tmp_path)!r}))', cwd=tmp_path)
    (archive,) = tmp_path.glob('*.tar.gz')
    shutil.unpack_archive(archive, tmp_path / 'unpacked')
    (root,) = (tmp_path / 'unpacked').iterdir()
    for parts in (('configs', 'tools'), ('sipe_mmseg', 'sipe_mmseg_cli')):
        assert files_below(root, *parts) == files_below(ROOT, *parts)
    assert (root / 'setup.py').is_file() and (root / 'model-index.yml').is_file()


@pytest.mark.slow
def test_from_pictures_to_labels_without_a_checkout(wheel: Path, tmp_path: Path) -> None:
    def sipe_mmseg(*words: object) -> str:
        return run(sys.executable, '-m', 'sipe_mmseg', *words, cwd=tmp_path, python_path=wheel)

    sipe_mmseg('shapes', 'data/shapes', '--num-train', 16, '--num-val', 4, '--size', 64)
    sipe_mmseg('train', SHAPES, '--cfg-options', 'train_cfg.max_epochs=1', 'train_dataloader.num_workers=0')
    work_dir = f'work_dirs/{SHAPES}'
    assert '2 of 2 pictures predicted, written to maps' in sipe_mmseg(
        *('predict', work_dir, 'data/shapes/JPEGImages/val_0000.jpg', 'data/shapes/JPEGImages/val_0001.jpg'),
        *('--out-dir', 'maps'),
    )
    assert 'labels: 4 of 4 images written' in sipe_mmseg('labels', work_dir, '--split', 'val', '--out', 'labels')
    assert re.search(r'mIoU [\d.]+ %', sipe_mmseg('evaluate', 'labels', '--dataset', 'shapes', '--split', 'val'))
    sipe_mmseg('report', 'labels', '--dataset', 'shapes', '--split', 'val', '--out', 'report.html')
    assert (tmp_path / 'report.html').stat().st_size > 10_000
    options = ['sipe_options=[--cfg-options,train_cfg.max_epochs=1]', 'data_root=data/pipeline']
    options.append('shapes_options=[--num-train,16,--num-val,4,--size,64]')
    pipeline = ('pipeline', 'shapes', '--work-dir', 'chain', '--until', 'score_is_cam', '--cfg-options', *options)
    printed = run(
        *(sys.executable, '-m', 'sipe_mmseg', *pipeline),
        **dict(cwd=tmp_path, python_path=wheel, SHAPES_ROOT='data/pipeline'),
    )
    assert f'$ python {wheel}/sipe_mmseg/.mim/tools/make_shapes.py data/pipeline' in printed
    assert (tmp_path / 'chain/labels/is_cam/train_0000.png').is_file()
    assert '| score_is_cam | IS-CAM |' in printed
