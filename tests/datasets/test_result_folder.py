"""A folder of results: what is missing, what it is made with, what may not be mixed."""

import json
from pathlib import Path

import pytest

from sipe_mmseg.datasets.atomic_write import temporary_name
from sipe_mmseg.datasets.result_folder import ResultFolder, changed_settings, file_digest, source_settings

SETTINGS = {
    'tool': 'a',
    'version': '1',
    'checkpoint_sha256': 'abc',
    'model': {'scales': (1.0, 0.5), 'head': {'alpha': 0.5}},
    'tta': None,
}
OTHERS = {**SETTINGS, 'checkpoint_sha256': 'def'}


def started(root: Path, **changes: object) -> ResultFolder:
    folder = ResultFolder(root, '.png')
    folder.start({**SETTINGS, **changes})
    return folder


@pytest.mark.parametrize('image_id', ['2007_000027', 'a/b/c', 'with space', 'a..b', 'ä'])
def test_ids_name_files_in_the_folder(tmp_path: Path, image_id: str) -> None:
    folder = ResultFolder(tmp_path, '.png')
    path = folder.path(image_id)
    assert path == tmp_path / f'{image_id}.png'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('result')
    assert folder.missing([image_id, 'other']) == ['other']


@pytest.mark.parametrize(
    'image_id', ['../a', 'a/../../b', '..', '/etc/passwd', 'a\0b', '', 'a//b', './a', '.hidden', 'a/.b', '..\\a', 'a/']
)
def test_ids_never_leave_the_folder(tmp_path: Path, image_id: str) -> None:
    folder = ResultFolder(tmp_path, '.png')
    with pytest.raises(ValueError, match='its result would not lie in'):
        folder.path(image_id)
    with pytest.raises(ValueError, match='its result would not lie in'):
        folder.missing([image_id])


def test_missing_keeps_the_order_and_looks_at_the_suffix(tmp_path: Path) -> None:
    folder = started(tmp_path / 'labels')
    for name in ('b.png', 'c.npz', '.d.png.12.tmp'):
        (folder.root / name).write_text('result')
    assert folder.missing(['d', 'c', 'b', 'a']) == ['d', 'c', 'a']
    assert ResultFolder(tmp_path / 'nowhere', '.png').missing(['a']) == ['a']


def test_what_is_no_file_with_content_is_missing(tmp_path: Path) -> None:
    folder = started(tmp_path / 'labels')
    (folder.root / 'empty.png').touch()
    (folder.root / 'dangling.png').symlink_to(tmp_path / 'gone')
    (folder.root / 'folder.png').mkdir()
    (tmp_path / 'elsewhere').write_text('result')
    (folder.root / 'linked.png').symlink_to(tmp_path / 'elsewhere')
    assert folder.missing(['empty', 'linked', 'dangling', 'folder']) == ['empty', 'dangling', 'folder']


def test_require_counts_and_names_what_is_missing(tmp_path: Path) -> None:
    folder = started(tmp_path)
    (tmp_path / 'b.png').write_text('result')
    folder.require(['b'])
    with pytest.raises(FileNotFoundError, match=r'2 of 3 images have no \.png file: a, c\.'):
        folder.require(iter(['a', 'b', 'c']))
    with pytest.raises(FileNotFoundError, match='nowhere: no such folder'):
        ResultFolder(tmp_path / 'nowhere', '.png').require([])


@pytest.mark.parametrize(
    ('suffix', 'there', 'advice'),
    [
        (
            '.npz',
            ['a.png', 'b.png'],
            r'It has 2 \.png files \(label maps\); CAM files come from `sipe-mmseg labels --c',
        ),
        ('.png', ['a.npz'], r'It has 1 \.npz file \(CAM files\); label maps come from `sipe-mmseg labels --out`'),
        ('.png', [], r'It has no results; label maps come from'),
        ('.png', ['c.png'], r'It has 1 \.png file of other images: c\.png\. Name the data set and the split'),
    ],
)
def test_a_folder_of_something_else_says_what_it_has(
    tmp_path: Path, suffix: str, there: list[str], advice: str
) -> None:
    for name in there:
        (tmp_path / name).touch()
    with pytest.raises(FileNotFoundError, match=rf'2 of 2 images have no \{suffix} file: a, b\. {advice}'):
        ResultFolder(tmp_path, suffix).require(['a', 'b'])


def test_same_settings_again_touch_nothing(tmp_path: Path) -> None:
    folder = started(tmp_path / 'labels')
    (folder.root / 'a.png').write_text('result')
    before = {path.name: path.stat().st_mtime_ns for path in folder.root.iterdir()}
    started(folder.root)
    ResultFolder(folder.root, '.png').start(SETTINGS, overwrite=['a'])  # what it would remove is made with others
    assert {path.name: path.stat().st_mtime_ns for path in folder.root.iterdir()} == before


def test_every_changed_setting_is_named_with_both_values_and_the_ways_out(tmp_path: Path) -> None:
    folder = started(tmp_path)
    (tmp_path / 'a.png').touch()
    changed = {
        'tool': 'a',
        'version': '1',
        'checkpoint_sha256': 'def',
        'model': {'scales': [1.0, 2.0], 'head': {}},
        'new': 1,
    }
    with pytest.raises(ValueError, match=r'its 1 \.png files are made with other settings') as caught:
        folder.start(changed)
    assert str(caught.value).splitlines()[1:-1] == [
        '  checkpoint_sha256: was "abc", now "def"',
        '  model.scales.1: was 0.5, now 2.0',
        '  model.head.alpha: was 0.5, now not set',
        '  tta: was null, now not set',
        '  new: was not set, now 1',
    ]
    assert 'Name another folder' in str(caught.value) and '--overwrite' in str(caught.value)
    assert (tmp_path / 'a.png').exists()


def test_of_many_changed_settings_the_first_few_are_named(tmp_path: Path) -> None:
    folder = started(tmp_path, **{f'a{number:02}': 0 for number in range(25)})
    (tmp_path / 'a.png').touch()
    with pytest.raises(ValueError, match='with other settings') as caught:
        folder.start({**SETTINGS, **{f'a{number:02}': 1 for number in range(25)}})
    named = str(caught.value).splitlines()[1:-1]
    assert named == [*(f'  a{number:02}: was 0, now 1' for number in range(6)), '  ... and 19 more']


def test_of_long_settings_the_part_that_differs_is_shown() -> None:
    load = {'type': 'LoadImageFromFile', 'backend_args': None}
    scales = [{'type': 'ScaleResize', 'scale_factor': scale} for scale in (1.0, 0.5, 1.5, 2.0)]
    old = {'pipeline': [load, {'type': 'PackImageLevelInputs'}], 'tta': None}
    new = {'pipeline': [load, {'type': 'TestTimeAug', 'transforms': [scales]}], 'tta': {'type': 'A' * 100}}
    assert changed_settings(old, new).splitlines() == [
        '  pipeline.1: was {"type": "PackImageLevelInputs"}, '
        'now {"type": "TestTimeAug", "transforms": [[{"type": "ScaleResiz...',
        f'  tta: was null, now {{"type": "{"A" * 50}...',
    ]
    more = {**old, 'pipeline': [load, *scales, old['pipeline'][1]]}
    (line,) = changed_settings(old, more).splitlines()
    assert line.startswith('  pipeline: was ...ll}, {"type": "PackImageLevelInputs"}], now ...ll}, {"type": "ScaleRes')
    assert len(line) < 170


def test_overwrite_removes_results_and_nothing_else(tmp_path: Path) -> None:
    folder = started(tmp_path)
    for name in ('a.png', 'more/b.png', 'more/notes.txt', 'c.npz'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folder.start(OTHERS, overwrite=['a', 'more/b'])
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('*') if path.is_file()}
    assert left == {'more/notes.txt', 'c.npz', 'settings.json'}
    assert folder.settings() == json.loads(json.dumps(OTHERS))


def test_overwrite_that_is_killed_leaves_old_settings_with_old_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = started(tmp_path)
    for name in 'abc':
        (tmp_path / f'{name}.png').write_text('result')
    unlink = Path.unlink

    def killed_at_b(path: Path, missing_ok: bool = False) -> None:
        if path.name == 'b.png':
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, 'unlink', killed_at_b)
        folder.start(OTHERS, overwrite='abc')
    assert folder.settings() == json.loads(json.dumps(SETTINGS))
    assert folder.missing(['a', 'b', 'c']) == ['a']


def test_settings_without_results_bind_nobody(tmp_path: Path) -> None:
    """They are all that is left of a command that failed at once, such as on a wrong checkpoint."""
    started(tmp_path)
    ResultFolder(tmp_path, '.png').start(OTHERS)
    assert ResultFolder(tmp_path, '.png').settings() == json.loads(json.dumps(OTHERS))


@pytest.mark.parametrize('overwrite', [None, ['mask']])
def test_strangers_files_are_left_alone(tmp_path: Path, overwrite: list[str] | None) -> None:
    (tmp_path / 'mask.png').write_text('precious')
    with pytest.raises(ValueError, match=r'has 1 \.png files and no settings\.json, so it was not made by this tool'):
        ResultFolder(tmp_path, '.png').start(SETTINGS, overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ['mask.png']


def test_overwrite_removes_nothing_of_other_images(tmp_path: Path) -> None:
    folder = started(tmp_path)
    names = ['a.png', 'mine/notes.png', 'z.png']
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('mine')
    with pytest.raises(ValueError, match=r'2 files are of no image of this data set, .*: mine/notes\.png, z\.png\.'):
        folder.start(OTHERS, overwrite=['a', 'b'])
    assert all((tmp_path / name).read_text() == 'mine' for name in names)
    assert folder.settings() == json.loads(json.dumps(SETTINGS))


@pytest.mark.parametrize('overwrite', [None, ['a']])
def test_settings_of_another_program_are_left_alone(tmp_path: Path, overwrite: list[str] | None) -> None:
    (tmp_path / 'settings.json').write_text('{"version": 1, "colour": "red"}')
    with pytest.raises(ValueError, match=r'settings\.json: not written by this tool; name another folder'):
        ResultFolder(tmp_path, '.png').start(SETTINGS, overwrite)
    assert (tmp_path / 'settings.json').read_text() == '{"version": 1, "colour": "red"}'


@pytest.mark.parametrize('content', ['{"half": ', '[1]', b'\xff\xfe'])
def test_broken_settings_are_named(tmp_path: Path, content: str | bytes) -> None:
    (tmp_path / 'settings.json').write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=r'settings\.json: not .*remove the folder and make it again'):
        started(tmp_path)


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    started(tmp_path)
    (tmp_path / temporary_name('a.png', 2**30)).write_text('half')
    (tmp_path / temporary_name('settings.json', 2**30)).write_text('half')
    started(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['settings.json']


def test_digests(tmp_path: Path) -> None:
    one, same, other = started(tmp_path / 'one'), started(tmp_path / 'same'), started(tmp_path / 'other', tta=1)
    assert one.digest() == same.digest() != other.digest()
    assert source_settings(one) == {'settings_sha256': one.digest()}
    foreign = ResultFolder(tmp_path, '.png')
    assert foreign.digest() == ''
    assert source_settings(foreign) == {'folder': str(tmp_path.resolve())}
    (tmp_path / 'file').write_bytes(b'abc')
    assert file_digest(tmp_path / 'file') == 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
