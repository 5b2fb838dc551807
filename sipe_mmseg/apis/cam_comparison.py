"""Our maps beside those of other methods on the same classifier: pictures and scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS, MODELS
from mmseg.structures import SegDataSample
from PIL import Image
from prettytable import PrettyTable
from torch import Tensor

from ..datasets.atomic_write import atomic_write
from ..datasets.image_files import read_rgb
from ..datasets.output_folder import output_folder
from ..datasets.result_folder import ResultFolder, image_id
from ..engine.model_state import read_weights
from ..engine.progress import Progress
from ..evaluation.confusion import confusion_matrix, iou_per_class, nan_mean
from ..evaluation.threshold_curve import ThresholdCurve
from ..models.prototypes import resize_bilinear
from ..models.sipe_segmentor import SIPESegmentor, unpadded_sizes
from ..visualization.gallery import NO_CLASS, image_indices
from ..visualization.overlays import blend_heat, colour_labels, panel
from .grad_cam import classifier_cams, method_names


@dataclass(frozen=True)
class MethodScore:
    """mIoU of one kind of map, in %.

    Attributes:
        miou: mIoU over all classes.
        threshold: The threshold with the largest mIoU, picked on the ground truth that it is scored on; None of
            IS-CAM's label map, which needs none.
    """

    miou: float
    threshold: float | None


@dataclass(frozen=True)
class CAMComparison:
    """What came of a comparison.

    Attributes:
        num_images: Images that were drawn.
        scores: Score by name of the map; empty where an image has no mask.
    """

    num_images: int
    scores: dict[str, MethodScore]

    def table(self) -> str:
        """The scores for people."""
        table = PrettyTable(['map', 'mIoU', 'threshold'])
        table.align = 'r'
        table.align['map'] = 'l'
        for name, score in self.scores.items():
            table.add_row([name, f'{score.miou:.2f}', '-' if score.threshold is None else f'{score.threshold:.2f}'])
        return str(table.get_string())


def compare_cams(
    config: Config,
    checkpoint: str | Path,
    out_dir: str | Path,
    methods: Sequence[str],
    *,
    num: int | None = 8,
    image_ids: Sequence[str] | None = None,
    device: str | torch.device = 'cpu',
) -> CAMComparison:
    """Draw image, CAM, IS-CAM and the maps of other methods side by side, and score them where there are masks.

    All maps are made at one scale, unmirrored, for the classes that the image has. A heat map shows the strongest
    of the classes in every pixel.

    Args:
        config: Config of a ``SIPESegmentor``, loaded from a file.
        checkpoint: Checkpoint of the model.
        out_dir: Folder for the pictures, one ``<image id>.png`` each.
        methods: Names of methods of pytorch-grad-cam, see :func:`~sipe_mmseg.apis.grad_cam.method_names`.
        num: How many images of the test data set to take, from the first one on; None takes all.
        image_ids: Which images to take in their place.
        device: Where to run the model.

    Returns:
        Scores of ``CAM``, ``IS-CAM`` and the methods.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        FolderInUseError: If another run writes into ``out_dir``.
        ImportError: If pytorch-grad-cam is missing.
        OSError: If nothing may be written into ``out_dir``.
        ValueError: If it has no such method, the data set has no such image, the model has no CAM, or a link leads out
            of ``out_dir``.
    """
    unknown = [name for name in methods if name not in method_names()]
    if unknown:
        raise ValueError(f'pytorch-grad-cam has no method {unknown[0]!r}; it has {", ".join(method_names())}')
    model = MODELS.build(config.model)
    if not isinstance(model, SIPESegmentor):
        raise ValueError(f'{config.filename}: model.type is {config.model.type!r}, and only a SIPESegmentor has CAMs')
    read_weights(model, checkpoint, config)
    model.to(device).eval()
    dataset = DATASETS.build(config.test_dataloader.dataset)
    indices = range(len(dataset))[:num] if image_ids is None else image_indices(dataset, image_ids)
    palette, num_classes = dataset.metainfo['palette'], len(dataset.metainfo['classes'])

    curves = {name: ThresholdCurve(num_classes) for name in ('CAM', *methods)}
    label_map = torch.zeros(num_classes, num_classes + 1, dtype=torch.int64)
    scored = True
    with output_folder(out_dir), Progress(len(indices)) as progress:
        for index in indices:
            sample, maps = _maps_of(model, pseudo_collate([dataset[index]]), methods)
            info = dataset.get_data_info(index)
            image = read_rgb(info['img_path'])
            row = {'image': image} | {name: blend_heat(image, _strongest(found)) for name, found in maps.items()}
            scored = scored and 'gt_sem_seg' in sample
            if 'gt_sem_seg' in sample:
                truth = sample.gt_sem_seg.data[0].cpu().long()
                row['ground truth'] = colour_labels(truth.numpy(), palette, NO_CLASS)
                label_map += confusion_matrix(sample.pred_sem_seg.data[0].cpu(), truth, num_classes)
                for name, curve in curves.items():
                    curve.add(maps[name], sample.present.classes, truth)
            path = ResultFolder(Path(out_dir), '.png').path(image_id(info))
            with atomic_write(path, one_of_many=True) as temporary:
                Image.fromarray(panel([list(row.values())], list(row))).save(temporary, format='PNG')
            progress.advance()
    if not scored or not len(indices):
        return CAMComparison(len(indices), {})
    best = {name: curve.best() for name, curve in curves.items()}
    scores = {name: MethodScore(round(100 * miou, 2), threshold) for name, (miou, threshold) in best.items()}
    is_cam = MethodScore(round(100 * nan_mean(iou_per_class(label_map.numpy())), 2), None)
    return CAMComparison(len(indices), {'CAM': scores.pop('CAM'), 'IS-CAM': is_cam, **scores})


def _maps_of(
    model: SIPESegmentor, data: dict[str, list[Any]], methods: Sequence[str]
) -> tuple[SegDataSample, dict[str, Tensor]]:
    """The prediction for one image, and foreground maps (n, H, W) at its size by their names."""
    batch = model.data_preprocessor(data, False)
    inputs, samples = batch['inputs'], batch['data_samples']
    with torch.no_grad():
        (sample,) = model.predict(inputs, samples)
    size = sample.metainfo['ori_shape'][:2]
    ((height, width),) = unpadded_sizes(inputs, [sample])
    maps = {'CAM': sample.localization.cam.cpu(), 'IS-CAM': sample.localization.is_cam[1:].cpu()}
    for name in methods:
        found = classifier_cams(model, inputs, sample.present.classes.tolist(), name)[:, :height, :width]
        maps[name] = resize_bilinear(found[:, None], size)[:, 0] if len(found) else maps['CAM']
    return sample, maps


def _strongest(maps: Tensor) -> npt.NDArray[Any]:
    """Maximum over classes of maps (n, H, W); zeros where there is no class."""
    return np.asarray(maps.float().numpy().max(axis=0, initial=0.0))
