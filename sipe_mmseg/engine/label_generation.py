"""Pseudo labels of any split of any data set, written to disk; what is there already is left alone."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import barrier, broadcast_object_list, is_main_process
from mmengine.runner import Runner
from mmseg.datasets import BaseSegDataset
from mmseg.registry import MODELS

from .. import __version__
from ..datasets.atomic_write import check_writable_folder
from ..datasets.cam_files import CAM_STRIDE
from ..datasets.folder_lock import folder_lock
from ..datasets.image_files import first_few
from ..datasets.result_folder import ResultFolder, file_digest, image_id, source_settings
from .model_state import read_weights
from .splits import build_dataset, split_config, without_masks

# Where a network's first weights come from, and how it was trained, decides nothing once a checkpoint is loaded.
_NOT_DECISIVE = ('init_cfg', 'pretrained', 'train_cfg')


@dataclass(frozen=True)
class Written:
    """What a command did: images of the split, and those of them it wrote itself."""

    total: int
    new: int


def generate_labels(
    config: Config,
    checkpoint: str | Path,
    out_dir: str | Path,
    *,
    split: str | None = None,
    cam_dir: str | Path | None = None,
    cam_stride: int = CAM_STRIDE,
    tta: bool = True,
    overwrite: bool = False,
    device: str | torch.device | None = None,
) -> Written:
    """Predict the images of a split and write their label maps, and optionally CAM files, through MMEngine's Runner.

    Images whose files are there are skipped; every process of a process group writes its share of the others.

    Args:
        config: Config of any model of mmseg: SIPE, IRN, a segmentation network.
        checkpoint: File of its weights.
        out_dir: Folder for label maps ``<image id>.png`` and the settings they are made with.
        split: As in :func:`~sipe_mmseg.engine.splits.split_config`. No masks are needed.
        cam_dir: Folder for CAM files; the model must be SIPE's.
        cam_stride: Stride of the maps in them.
        tta: Whether to use the config's ``tta_model`` and ``tta_pipeline``, if it has them.
        overwrite: Remove files in these folders that are made with other settings.
        device: Where to run; by default on the GPU, if there is one.

    Raises:
        FileNotFoundError: If checkpoint, images or lists are not there.
        FolderInUseError: If another run writes into one of the folders.
        OSError: If nothing may be written into one of them.
        RuntimeError: If the config's pipeline drops the ids of the images, so that files have other names.
        ValueError: If the weights do not fit the model, or a folder's files are made with other settings.
    """
    for place in (out_dir, cam_dir):
        if place is not None:
            check_writable_folder(place)
    if not Path(checkpoint).is_file():
        raise FileNotFoundError(f'checkpoint {checkpoint}: no such file')
    folders = [ResultFolder(Path(out_dir), '.png')]
    if cam_dir is not None:
        folders.append(ResultFolder(Path(cam_dir), '.npz'))
        if folders[0].root.resolve() == folders[1].root.resolve():
            raise ValueError(f'label maps and CAM files cannot share the folder {out_dir}: name two')
    dataset_config = split_config(config, split)
    tta = tta and bool(config.get('tta_model')) and bool(config.get('tta_pipeline'))
    if tta:
        dataset_config.pipeline = config.tta_pipeline
    dataset_config = without_masks(dataset_config)
    dataset = build_dataset(dataset_config, config.get('splits', {}))

    ids = image_ids(dataset)
    # Before the folders are touched: the checkpoint may turn out to be the wrong one.
    model = _load_model(config, checkpoint, tta)
    with ExitStack() as locks:
        if is_main_process():
            settings = generation_settings(config, checkpoint, dataset, dataset_config.pipeline, tta)
            for source in _source_folders(dataset_config.pipeline):
                source.require(ids)
            for folder in folders:
                locks.enter_context(folder_lock(folder.root))
            replaced = ids if overwrite else None
            folders[0].start(settings, replaced)
            if cam_dir is not None:
                folders[1].start({**settings, 'cam_stride': cam_stride}, replaced)
        missing = _missing_everywhere(folders, ids)
        if not missing:
            return Written(len(ids), 0)

        wanted = set(missing)
        dataset.get_subset_([index for index, name in enumerate(ids) if name in wanted])
        writer = dict(type='LabelWriter', prefix='labels', output_dir=str(out_dir), cam_stride=cam_stride)
        if cam_dir is not None:
            writer['cam_dir'] = str(cam_dir)
        metrics = _run(config, model, dataset, writer, device)
        barrier()
        lost = _missing_everywhere(folders, missing)
    if lost:
        raise RuntimeError(
            f'{len(lost)} images were predicted, but have no file of their own: {first_few(lost)}. Their samples do '
            'not say which image they are: end the pipeline with PackImageLevelInputs, or add img_id to the meta_keys '
            'of its last step'
        )
    return Written(len(ids), metrics['labels/written'])


def image_ids(dataset: BaseSegDataset) -> list[str]:
    """What names the results of each image of a data set, in its order.

    Raises:
        ValueError: If two images would have the same.
    """
    ids = [image_id(dataset.get_data_info(index)) for index in range(len(dataset))]
    if len(set(ids)) < len(ids):
        repeated = [name for name, number in Counter(ids).items() if number > 1]
        raise ValueError(
            f'{len(repeated)} ids belong to several images, whose results would be the same file: {first_few(repeated)}'
        )
    return ids


def generation_settings(
    config: Config, checkpoint: str | Path, dataset: BaseSegDataset, pipeline: Sequence[Any], tta: bool
) -> dict[str, Any]:
    """Everything that decides the label map of an image.

    Folders that the pipeline reads maps from (``cam_dir``) are noted by the settings they are made with.
    """
    return {
        'tool': 'generate_labels',
        'version': __version__,
        'checkpoint_sha256': file_digest(checkpoint),
        'model': _decisive(config.model),
        'tta_model': _decisive(config.tta_model) if tta else None,
        'pipeline': _decisive(pipeline),
        'dataset': dataset_settings(dataset),
    }


def dataset_settings(dataset: BaseSegDataset) -> dict[str, Any]:
    """What of a data set decides the label map of one of its images: where images and their labels come from."""
    labels = {}
    for kind, name in getattr(dataset, 'labels', {}).items():
        path = Path(dataset.data_root or '', name)
        labels[kind] = f'sha256 {file_digest(path)}' if path.is_file() else name
    return {
        'type': type(dataset).__name__,
        'images': str(Path(dataset.data_prefix['img_path']).resolve()),
        'classes': list(dataset.metainfo['classes']),
        'labels': labels,
        'on_unlabelled': getattr(dataset, 'on_unlabelled', None),
    }


def _load_model(config: Config, checkpoint: str | Path, tta: bool) -> torch.nn.Module:
    model: torch.nn.Module = MODELS.build(config.model)
    read_weights(model, checkpoint, config)
    if tta:
        model = MODELS.build({**config.tta_model, 'module': model})
    return model


def _decisive(value: Any) -> Any:
    """A part of a config as plain JSON, without what decides nothing; folders of CAM files by their settings."""
    if isinstance(value, Mapping):
        return {
            key: source_settings(ResultFolder(Path(item), '.npz')) if key == 'cam_dir' else _decisive(item)
            for key, item in value.items()
            if key not in _NOT_DECISIVE
        }
    return [_decisive(item) for item in value] if isinstance(value, list | tuple) else value


def _source_folders(pipeline: Iterable[Any]) -> Iterable[ResultFolder]:
    """Folders of CAM files that the transforms of a pipeline read."""
    for step in pipeline:
        if isinstance(step, Mapping):
            if 'cam_dir' in step:
                yield ResultFolder(Path(step['cam_dir']), '.npz')
            yield from _source_folders(step.get('transforms', ()))
        else:
            yield from _source_folders(step)


def _missing_everywhere(folders: Sequence[ResultFolder], ids: Sequence[str]) -> list[str]:
    """Images that lack a file in any folder, as the first process sees it before any process writes."""
    lacking = {name for folder in folders for name in folder.missing(ids)} if is_main_process() else set()
    answer = [[name for name in ids if name in lacking]]
    broadcast_object_list(answer)
    return answer[0]


def _folding(config: Config) -> list[dict[str, Any]]:
    """The hook that folds BatchNorm into convolutions, if the config has it."""
    hooks = [*(config.get('default_hooks') or {}).values(), *(config.get('custom_hooks') or [])]
    return [hook for hook in hooks if hook and hook['type'] == 'FoldBatchNormHook']


def _run(
    config: Config,
    model: torch.nn.Module,
    dataset: BaseSegDataset,
    writer: dict[str, Any],
    device: str | torch.device | None,
) -> dict[str, Any]:
    """Run MMEngine's test loop; this process takes its share of the data set."""
    dataloader = {
        **config.test_dataloader,
        'dataset': dataset,
        'sampler': dict(type='DefaultSampler', shuffle=False, round_up=False),
    }
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as logs:
        runner = Runner(
            model=model,
            work_dir=logs,
            test_dataloader=dataloader,
            test_cfg=config.get('test_cfg') or dict(type='TestLoop'),
            test_evaluator=writer,
            default_hooks=dict(logger=None, param_scheduler=None, checkpoint=None),
            custom_hooks=[dict(type='ProgressHook'), *_folding(config)],
            # The processes share no gradients: each has the whole model, and no DistributedDataParallel around it.
            launcher='none',
            env_cfg=config.get('env_cfg') or dict(dist_cfg=dict(backend='nccl')),
            log_level='WARNING',
            randomness=config.get('randomness') or {},
            default_scope=config.get('default_scope', 'mmseg'),
            experiment_name='generate_labels',
        )
        if device is not None:
            runner.model.to(device)
        figures: dict[str, Any] = runner.test()
        return figures
