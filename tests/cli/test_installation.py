"""What is said about an installation, with versions that are made up."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from sipe_mmseg_cli import installation
from sipe_mmseg_cli.findings import Finding
from sipe_mmseg_cli.installation import MINIMUM, installed_versions, look_over_machine, look_over_packages

ROOT = Path(__file__).parents[2]
GOOD = {
    'torch': '2.10.0+cpu',
    'torchvision': '0.25.0',
    'numpy': '2.1.0',
    'mmcv-lite': '2.1.0',
    'mmengine': '0.10.7',
    'mmsegmentation': '1.2.2',
    'mmpretrain': '1.2.0',
    'ftfy': '6.3.1',
    'regex': '2024.1.1',
    'setuptools': '80.0',
    'pydensecrf2': '1.1',
}
FORK = {f'onedl-{name}': '2.3.6' for name in ('mmcv', 'mmengine', 'mmsegmentation', 'mmpretrain')}


@pytest.fixture(autouse=True)
def torchvision_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        installation, 'requires', lambda name: ['numpy', 'torch==2.10.0', 'gdown>=4.7; extra == "gdown"']
    )


def problems(versions: dict[str, str], python: tuple[int, ...] = (3, 11, 7)) -> list[Finding]:
    return [finding for finding in look_over_packages(versions, python) if finding.state == 'problem']


def without(*names: str) -> dict[str, str]:
    return {name: version for name, version in GOOD.items() if name not in names}


def test_a_good_installation_has_no_problem() -> None:
    assert problems(GOOD) == []
    texts = [finding.text for finding in look_over_packages(GOOD, (3, 10, 0))]
    assert texts[:4] == ['Python 3.10.0', 'torch 2.10.0+cpu', 'torchvision 0.25.0', 'numpy 2.1.0']
    assert texts[4].startswith('mmcv-lite 2.1.0, with')
    assert texts[5:8] == ['mmengine 0.10.7', 'mmsegmentation 1.2.2', 'mmpretrain 1.2.0']


def test_the_fork_is_accepted() -> None:
    versions = {**without('mmcv-lite', 'mmengine', 'mmsegmentation', 'mmpretrain'), **FORK}
    assert problems(versions) == []
    assert 'onedl-mmsegmentation 2.3.6' in [finding.text for finding in look_over_packages(versions)]


@pytest.mark.parametrize(
    ('versions', 'text', 'mend'),
    [
        (without('torch'), 'torch is not installed', 'pip install torch'),
        (without('ftfy'), 'ftfy is not installed', 'pip install ftfy'),
        (without('mmcv-lite'), 'neither mmcv-lite nor mmcv is installed', r'pip install mmcv-lite==2\.1\.0 '),
        (
            {**GOOD, 'mmcv': '2.1.0'},
            r'mmcv 2\.1\.0 and mmcv-lite 2\.1\.0: they are one',
            'pip uninstall mmcv mmcv-lite',
        ),
        ({**GOOD, 'mmcv-lite': '2.2.0'}, 'mmcv-lite 2.2.0: mmsegmentation 1.2.2 takes', 'pip install mmcv-lite==2.1.0'),
        ({**GOOD, 'mmengine': '0.10.4'}, 'mmengine 0.10.4: 0.10.7 or newer', 'pip install "mmengine>=0.10.7"'),
        ({**GOOD, 'onedl-mmengine': '1.0'}, 'mmengine 0.10.7 and onedl-mmengine 1.0: both', 'pip uninstall mmengine'),
        (
            {**GOOD, 'torch': '2.11.0'},
            'torchvision 0.25.0 wants torch 2.10.0, not 2.11.0',
            'pip install --upgrade torch',
        ),
        ({**GOOD, 'numpy': '1.24.4'}, 'numpy 1.24.4: 1.26 or newer', 'pip install "numpy>=1.26"'),
    ],
)
def test_each_problem_says_how_to_mend_it(versions: dict[str, str], text: str, mend: str) -> None:
    (problem,) = problems(versions)
    assert re.match(text, problem.text)
    assert re.match(mend, problem.mend)
    assert str(problem).startswith(f'problem  {problem.text}\n         {problem.mend.splitlines()[0]}')


@pytest.mark.parametrize('python', [(3, 9, 1), (3, 14, 0)])
def test_other_pythons(python: tuple[int, ...]) -> None:
    (problem,) = problems(GOOD, python)
    assert problem.text == f'Python {".".join(map(str, python))}: 3.10 to 3.13 is needed'


def test_what_is_optional_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation.importlib.util, 'find_spec', lambda name: None)
    notes = [finding for finding in look_over_packages(without('pydensecrf2')) if finding.state == 'note']
    assert 'without pkg_resources' in notes[0].text and 'setuptools<82' in notes[0].mend
    assert notes[1].text.startswith('pydensecrf2 is not installed') and 'pydensecrf2==1.1;' in notes[1].mend


def test_minima_are_those_of_the_package() -> None:
    text = (ROOT / 'pyproject.toml').read_text()
    for name, version in MINIMUM.items():
        assert f"'{name}>={version}'" in text


def test_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('OMP_NUM_THREADS', '3')
    findings = look_over_machine(tmp_path)
    assert re.fullmatch(r'threads of torch: \d+ \(OMP_NUM_THREADS=3\)', findings[0].text)
    assert re.match(r'GPU 0: |no GPU: ', findings[1].text)
    assert re.fullmatch(rf'[\d.]+ GB free in {tmp_path}', findings[-1].text)
    monkeypatch.setattr(installation, '_LITTLE_DISK', 1e18)
    assert look_over_machine(tmp_path)[-1].state == 'note'
    assert {'torch', 'mmengine'} <= installed_versions().keys() | {'mmengine'}


def test_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.setattr('torch.cuda.device_count', lambda: 2)
    monkeypatch.setattr('torch.version.cuda', '12.8')
    devices = [SimpleNamespace(name='small', total_memory=8e9), SimpleNamespace(name='large', total_memory=80e9)]
    monkeypatch.setattr('torch.cuda.get_device_properties', devices.__getitem__)
    monkeypatch.setattr('os.access', lambda *_: False)
    _, *gpus, disk = look_over_machine(tmp_path)
    assert [gpu.text for gpu in gpus] == ['GPU 0: small, 8 GB (CUDA 12.8)', 'GPU 1: large, 80 GB (CUDA 12.8)']
    assert (disk.text, disk.state) == (f'{tmp_path} cannot be written', 'note')
    assert '--work-dir' in disk.mend


def test_a_broken_package_is_named() -> None:
    """As where torchvision does not fit torch: a package of the stack raises while it is imported."""
    code = (
        'import sys; sys.modules["mmpretrain"] = sys.modules["mmseg"] = None; '
        'from sipe_mmseg_cli.installation import look_over_import; print(*look_over_import())'
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('problem  import sipe_mmseg: ModuleNotFoundError: import of mmseg')
    assert 'python -c "import sipe_mmseg"' in done.stdout
