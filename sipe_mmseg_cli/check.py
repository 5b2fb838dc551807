"""Looks over an installation, a config with its data, or a folder of pictures, and says what to mend.

    %(prog)s                                        the installation
    %(prog)s sipe_r50_1xb16-5e_voc12aug-512x512     and a config: its data sets, model and first weights
    %(prog)s my_config.py --cfg-options train_dataloader.batch_size=8
    %(prog)s photos                                 and a folder of your own pictures
    %(prog)s photos --labels labels.json            which classes are in them, as JSON or CSV

Lines begin with ok, note or problem; what mends it is below. The exit code is 0 where there is no problem, else 1.
"""

import argparse
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import add_config_changes, command_parser, read_config
from .findings import Finding
from .installation import installed_versions, look_over_import, look_over_machine, look_over_packages

if TYPE_CHECKING:
    from mmengine.config import Config

    from sipe_mmseg.datasets.dataset_summary import DatasetSummary

_SHOWN = 10
_DECODED = 1e9  # bytes of files that are decoded without being asked to
_FEW_CLASSES = 4  # which have few images of each other to tell their surroundings from them
_CONFIG_KINDS = ('.py', '.json', '.yaml', '.yml')
_SPLITS = ('train', 'val', 'test')


def parse_args(words: Sequence[str], prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__)
    parser.add_argument(
        'target', nargs='?', help='config file, work directory, name of a shipped config, or folder of pictures'
    )
    parser.add_argument('--labels', metavar='FILE', help='label file of the folder, JSON or CSV')
    parser.add_argument(
        '--min-side', type=int, help='smallest height and width of a picture in pixels, for a folder (default: 16)'
    )
    parser.add_argument(
        '--decode',
        action=argparse.BooleanOptionalAction,
        help='decode every picture of a folder, which finds those damaged in the middle '
        f'(default: up to {_DECODED / 1e9:g} GB of files)',
    )
    add_config_changes(parser)
    args = parser.parse_args(words)
    for_pictures = (args.labels, args.min_side, args.decode)
    if any(option is not None for option in for_pictures) and not _is_picture_folder(args.target):
        there = args.target is None or Path(args.target).exists()
        missing = '' if there else f'; there is no folder {args.target}'
        parser.error(f'--labels, --min-side and --decode go with a folder of pictures{missing}')
    return args


def main(words: Sequence[str], prog: str) -> int:
    """Print the findings as they are made."""
    args = parse_args(words, prog)
    problems = _print('installation', look_over_installation())
    if args.target is not None and problems:
        print(f'\n{args.target} is not looked at before the installation is in order')
    elif _is_picture_folder(args.target):
        problems += _print(args.target, look_over_pictures(args.target, args.labels, args.min_side, args.decode))
    elif args.target is not None:
        problems += _print(args.target, look_over_config(args.target, args.cfg_options))
    print(f'\n{problems} problem{"s" if problems > 1 else ""}' if problems else '\nno problems')
    return 1 if problems else 0


def look_over_installation() -> Iterator[Finding]:
    """The packages; where they are in order, whether they go together; the machine."""
    packages = look_over_packages(installed_versions())
    yield from packages
    if not any(finding.state == 'problem' for finding in packages):
        yield from look_over_import()
    yield from look_over_machine(Path.cwd())


# Pictures -------------------------------------------------------------------------------------------------------------


def look_over_pictures(
    root: str, labels: str | None, min_side: int | None = None, decode: bool | None = None
) -> Iterator[Finding]:
    """A folder of pictures and, if there is one, the label file."""
    from sipe_mmseg.datasets.image_files import MIN_SIDE, ImageFolder, first_few, no_pictures
    from sipe_mmseg.datasets.messages import counted
    from sipe_mmseg.datasets.picture_folder import class_folders, look_over, look_over_labels, similar_names
    from sipe_mmseg.engine.config_lookup import shipped_names
    from sipe_mmseg.engine.progress import Progress

    if root in shipped_names():
        yield Finding(
            f'{root} is this folder here; it is also the name of a shipped config', 'note', str(shipped_names()[root])
        )
    folder = ImageFolder(root)
    with Progress(len(folder.paths)) as progress:
        found = look_over(folder, MIN_SIDE if min_side is None else min_side, progress.advance)
    if not found.paths:
        yield Finding(
            f'no pictures in {root} ({counted(len(found.others), "other file", "other files")})',
            'problem',
            'names of pictures end with .jpg, .jpeg, .png, .bmp, .tif, .tiff or .webp',
        )
        return
    of_all = f'{len(found.sizes)} of {counted(len(found.paths), "picture", "pictures")} can be read'
    yield Finding(of_all, 'ok' if found.sizes else 'problem')
    yield from _problems(found.problems, 'mend or remove these files; training reads none of the set before')
    yield from _look_over_pixels([folder.full_path(path) for path in found.sizes], decode)
    if found.sizes:
        ends = [f'{"x".join(map(str, found.sizes[path]))} ({path})' for path in found.smallest_and_largest()]
        yield Finding(f'sizes: from {ends[0]} to {ends[1]}')
    if found.turned:
        turned = counted(found.turned, 'picture is turned', 'pictures are turned')
        yield Finding(f'{turned} when read, as the EXIF orientation says', 'note')
    for mode, number in found.odd_modes.items():
        yield Finding(
            f'{counted(number, "picture", "pictures")} of mode {mode}: read as RGB of 8 bits, which may lose something',
            'note',
        )
    if found.others:
        yield Finding(f'{no_pictures(found.others)}: {first_few(found.others)}', 'note')
    folders = class_folders(found.paths)
    if folders:
        yield Finding(f'in folders: {_counts(folders)}')
        yield from _problems(
            [f'{" and ".join(names)} differ in case or space only' for names in similar_names(folders)],
            'one folder a class: move the pictures together',
        )
    if labels is None:
        return
    try:
        said = look_over_labels(labels, folder)
    except (OSError, ValueError) as error:
        yield Finding(str(error), 'problem', 'JSON: {"image": ["class", ...]}; CSV: image,labels or image,CLASS,CLASS')
        return
    yield Finding(f'classes: {_counts(said.images_of_class)}')
    yield from _problems(said.problems, f'mend {labels}')
    if said.unlabelled:
        yield Finding(
            f'{counted(len(said.unlabelled), "picture has", "pictures have")} no label: {first_few(said.unlabelled)}',
            'note',
            "training stops for such, unless on_unlabelled is 'drop' (left out) or 'keep' (nothing but background)",
        )


def _look_over_pixels(paths: Sequence[str], decode: bool | None) -> Iterator[Finding]:
    """What only decoding finds, unless it is not wanted, or takes long and is not asked for."""
    from sipe_mmseg.datasets.full_decoding import find_damage
    from sipe_mmseg.datasets.messages import counted
    from sipe_mmseg.engine.progress import Progress

    size = sum(Path(path).stat().st_size for path in paths)
    if decode is None and size > _DECODED:
        text = f'{size / 1e9:.1f} GB of pictures are not decoded: damage in the middle of a file is not found'
        yield Finding(text, 'note', '--decode does it')
    if not paths or not (size <= _DECODED if decode is None else decode):
        return
    with Progress(len(paths)) as progress:
        damages = find_damage(paths, progress.advance)
    lost = [f'{damage.path}: {damage.text}' for damage in damages if damage.pixels_lost]
    yield from _problems(lost, 'damaged: a part of the picture is missing, often grey; mend or remove these files')
    for damage in [damage for damage in damages if not damage.pixels_lost][:_SHOWN]:
        yield Finding(f'{damage.path}: {damage.text}', 'note', 'perhaps damaged: look at it')
    if not damages:
        whole = counted(len(paths), 'picture is whole', 'pictures are whole')
        yield Finding(f'{whole}: every pixel can be decoded')


def _is_picture_folder(target: str | None) -> bool:
    """Whether it is a folder without configs: a work directory has one."""
    return target is not None and Path(target).is_dir() and not any(Path(target).glob('*.py'))


# Configs --------------------------------------------------------------------------------------------------------------


def look_over_config(name: str, changes: Sequence[str]) -> Iterator[Finding]:
    """The data sets, the model and the first weights of a config; of a pipeline, what its stages need."""
    from sipe_mmseg.engine.quiet_logging import only_warnings

    with warnings.catch_warnings(), only_warnings():  # what they say of data sets and variables comes below
        warnings.simplefilter('ignore')
        yield from _look_over_config(name, changes)


def _look_over_config(name: str, changes: Sequence[str]) -> Iterator[Finding]:
    from sipe_mmseg.engine.config_lookup import find_config
    from sipe_mmseg.engine.config_variables import config_variables

    try:
        path = find_config(name, pipelines=None)
        instead = _instead_of(path)
        if instead:
            yield Finding(f'{path}: is no config', 'problem', instead)
            return
        config = read_config(path, changes)
    except Exception as error:  # a config is Python, and may raise anything
        ours = isinstance(error, OSError | ValueError)
        yield Finding(str(error) if ours else f'{type(error).__name__}: {error}', 'problem')
        return
    yield Finding(f'config {path}')
    for variable in config_variables(config):
        origin = 'the default of the config' if variable.is_default else 'from the environment'
        yield Finding(f'{variable.name}={variable.value} ({origin})')
    if config.get('stages'):
        yield from _look_over_stages(config)
        return
    yield from _look_over_datasets(config)
    yield from _look_over_model(config)
    yield from _look_over_weights(config)


def _instead_of(path: Path) -> str:
    """How to have a file looked over that is no config by its name, or a label file by its content; else empty."""
    kind = path.suffix.lower()
    labels = kind == '.csv'
    if kind == '.json':
        from sipe_mmseg.datasets.json_files import load_json

        content = load_json(path)
        labels = not isinstance(content, dict) or all(isinstance(value, list) for value in content.values())
    if labels:
        return f'a label file goes with its folder: sipe-mmseg check FOLDER --labels {path}'
    return '' if kind in _CONFIG_KINDS else f'it is a file; a folder of pictures: sipe-mmseg check {path.parent}'


def _look_over_datasets(config: 'Config') -> Iterator[Finding]:
    from mmseg.registry import DATASETS

    from sipe_mmseg.datasets.dataset_summary import summarize_dataset
    from sipe_mmseg.engine.config_mistakes import config_mistake

    seen: dict[str, str] = {}  # by what decides, the split that has it
    for split in _SPLITS:
        loader = config.get(f'{split}_dataloader')
        if not loader:
            yield Finding(f'{split}: no data set in the config', 'note')
            continue
        decisive = json.dumps({**loader.dataset, 'pipeline': None}, sort_keys=True, default=str)
        if decisive in seen:
            yield Finding(f'{split}: the same data set as {seen[decisive]}')
            continue
        seen[decisive] = split
        yield from _classes_of_its_own(config, split)
        try:
            summary = summarize_dataset(DATASETS.build(loader.dataset))
        except Exception as error:  # data sets of mmseg assert, ours raise what the file is wrong with
            text = config_mistake(error, config) or str(error) or type(error).__name__
            yield Finding(f'{split}: {text}', 'problem')
            continue
        yield from _of_dataset(split, summary)
        batch_size = loader.get('batch_size', 1)
        if loader.get('drop_last') and summary.images < batch_size:
            yield Finding(
                f'{split}: {summary.images} images make no batch of {batch_size}, and drop_last is set',
                'problem',
                f'--cfg-options {split}_dataloader.batch_size={summary.images}',
            )


def _classes_of_its_own(config: 'Config', split: str) -> Iterator[Finding]:
    """Where a data set does not follow the classes at the top of a config, as in a flat copy that was edited."""
    own = (config[f'{split}_dataloader'].dataset.get('metainfo') or {}).get('classes')
    for key, classes in (
        ('classes', config.get('classes')),
        ('metainfo', (config.get('metainfo') or {}).get('classes')),
    ):
        if own and classes and list(own) != list(classes):
            yield Finding(
                f'{split}: has the classes {", ".join(own)}, not those of `{key}`: {", ".join(classes)}',
                'note',
                f'change {split}_dataloader.dataset.metainfo, too; or begin with a copy in a folder, where classes '
                'are in one place: sipe-mmseg configs NAME --out DIR',
            )
            return


def _of_dataset(split: str, summary: 'DatasetSummary') -> Iterator[Finding]:
    from sipe_mmseg.datasets.messages import counted

    images = counted(summary.images, 'image', 'images')
    masks = counted(summary.masks, 'mask', 'masks')
    yield Finding(f'{split}: {images}, {masks}, {counted(len(summary.classes), "class", "classes")}')
    if summary.images_of_class:
        yield Finding(f'{split}: images with {_counts(summary.images_of_class)}')
    elif split == 'train' and not summary.masks:
        yield Finding(f'{split}: no image-level labels and no label maps to learn from', 'problem')
    if summary.absent:
        yield Finding(f'{split}: no image has {", ".join(summary.absent)}', 'note')
    if summary.unlabelled:
        yield Finding(f'{split}: {counted(summary.unlabelled, "image", "images")} without a label', 'note')
    elif split == 'train' and 0 < len(summary.images_of_class) <= _FEW_CLASSES:
        yield Finding(
            f'{split}: all images show one of {len(summary.images_of_class)} classes; '
            'what is usually around these may be taken for them',
            'note',
            'add images that show none, with an empty label, and on_unlabelled = "keep" (docs/settings.md)',
        )
    yield from _problems([f'{split}: {problem}' for problem in summary.problems], '')


def _look_over_model(config: 'Config') -> Iterator[Finding]:
    from mmseg.registry import DATASETS, MODELS

    from sipe_mmseg.engine.config_mistakes import config_mistake

    if not config.get('model'):
        yield Finding('no model in the config', 'note')
        return
    try:
        model = MODELS.build(config.model)
    except Exception as error:  # whatever an option does to a constructor
        yield Finding(f'model: {config_mistake(error, config) or str(error) or type(error).__name__}', 'problem')
        return
    number = sum(parameter.numel() for parameter in model.parameters())
    yield Finding(f'model: {config.model.type}, {number / 1e6:.1f} million parameters')
    number_of_classes = getattr(getattr(model, 'decode_head', None), 'num_classes', None)
    for split in _SPLITS:
        dataset = (config.get(f'{split}_dataloader') or {}).get('dataset') or {}
        kind: Any = DATASETS.get(dataset['type']) if 'type' in dataset else None
        if hasattr(kind, '_load_metainfo') and number_of_classes is not None:
            try:
                classes = kind._load_metainfo(dataset.get('metainfo')).get('classes') or ()
            except (TypeError, ValueError):  # which building the data set has told already
                continue
            if classes and len(classes) != number_of_classes:
                yield Finding(
                    f'model: decode_head.num_classes is {number_of_classes}, but {split} has {len(classes)} classes',
                    'problem',
                    f'--cfg-options model.decode_head.num_classes={len(classes)}',
                )


def _look_over_weights(config: 'Config') -> Iterator[Finding]:
    from sipe_mmseg.engine.pretrained_weights import find_pretrained_weights

    for weights in find_pretrained_weights(config):
        instead = f'{weights.variable}=FILE names a file of your own in their place' if weights.variable else ''
        if weights.file.is_file():
            yield Finding(f'weights {weights.location} are in {weights.file}')
        elif weights.is_download:
            yield Finding(f'weights {weights.location} will be downloaded to {weights.file}', 'note', instead)
        else:
            yield Finding(f'weights {weights.location}: no such file', 'problem', instead)


def _look_over_stages(config: 'Config') -> Iterator[Finding]:
    from sipe_mmseg.engine.pipeline import Pipeline, read_stages

    try:
        pipeline = Pipeline(read_stages(config), config.get('work_dir') or '.')
        pipeline.check(pipeline.stages)
    except (OSError, ValueError) as error:
        yield Finding(str(error), 'problem')
        return
    yield Finding(f'{len(pipeline.stages)} stages: {", ".join(stage.name for stage in pipeline.stages)}')
    configs = dict.fromkeys(path for stage in pipeline.stages for path in stage.configs())
    yield Finding('what they need is there; their configs can be checked one by one: ' + ', '.join(configs))


# ----------------------------------------------------------------------------------------------------------------------


def _problems(lines: Sequence[str], mend: str) -> Iterator[Finding]:
    """The first of them, and how many there are."""
    for number, line in enumerate(lines[:_SHOWN], start=1):
        yield Finding(line, 'problem', mend if number == min(len(lines), _SHOWN) else '')
    if len(lines) > _SHOWN:
        yield Finding(f'... and {len(lines) - _SHOWN} more of the kind', 'problem')


def _counts(numbers: Mapping[str, int]) -> str:
    return ', '.join(f'{name} {number}' for name, number in numbers.items())


def _print(title: str, findings: Iterator[Finding]) -> int:
    """Print them below a title, and return how many are problems."""
    print(f'\n{title}:', flush=True)
    problems = 0
    for finding in findings:
        print(finding, flush=True)
        problems += finding.state == 'problem'
    return problems
