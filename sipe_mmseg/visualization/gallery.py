"""Predict some images of a data set and draw what the model finds in them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset, pseudo_collate
from mmseg.registry import DATASETS, MODELS
from mmseg.structures import SegDataSample
from PIL import Image

from ..datasets.atomic_write import atomic_write, check_writable, check_writable_folder
from ..datasets.image_files import read_rgb
from ..datasets.output_folder import output_folder
from ..datasets.result_folder import ResultFolder, image_id
from ..engine.model_state import read_weights
from ..models.sipe_segmentor import NO_SEED
from .overlays import ByteImage, Colour, LabelMap, blend_heat, colour_labels, panel

NO_CLASS = (190, 190, 190)
"""Colour of pixels that belong to no class: neither one of a palette nor the white that a panel is drawn on."""


def draw_gallery(
    config: Config,
    checkpoint: str | Path,
    out_dir: str | Path,
    *,
    num: int | None = 8,
    image_ids: Sequence[str] | None = None,
    gallery: str | Path | None = None,
    device: str | torch.device = 'cpu',
) -> Iterator[Path]:
    """Draw the panel of :func:`prediction_panel` for each image.

    Maps are those of the multi-scale mirrored inference, ``config.tta_model`` on ``config.tta_pipeline``, for images of
    ``config.test_dataloader``.

    Args:
        config: Config of the model, loaded from a file.
        checkpoint: Checkpoint of the model.
        out_dir: Folder for the panels, one ``<image id>.png`` each.
        num: How many images to draw, from the first one on; None draws all. Not used with ``image_ids``.
        image_ids: Which images to draw.
        gallery: File for one picture of all panels, reduced to 256 colours.
        device: Where to run the model.

    Yields:
        Path of each panel, as soon as it is written.

    Raises:
        FolderInUseError: If another run writes into ``out_dir``.
        OSError: If nothing may be written there.
        ValueError: If the data set has no image of an id, the config knows no ``tta_model``, or a link leads out of
            ``out_dir``.
    """
    check_writable_folder(out_dir)
    if gallery is not None:
        check_writable(gallery)
    if 'tta_model' not in config or 'tta_pipeline' not in config:
        raise ValueError(
            f'{config.filename}: panels show multi-scale maps; the config has no tta_model or tta_pipeline'
        )
    dataset = DATASETS.build({**config.test_dataloader.dataset, 'pipeline': config.tta_pipeline})
    classes, palette = dataset.metainfo['classes'], dataset.metainfo['palette']
    indices = range(len(dataset))[:num] if image_ids is None else image_indices(dataset, image_ids)
    segmentor = MODELS.build(config.model)
    read_weights(segmentor, checkpoint, config)
    model = MODELS.build({**config.tta_model, 'module': segmentor}).to(device).eval()

    rows = []
    with output_folder(out_dir):
        for index in indices:
            with torch.no_grad():
                (sample,) = model.test_step(pseudo_collate([dataset[index]]))
            info = dataset.get_data_info(index)
            image = read_rgb(info['img_path'])
            if gallery is not None:
                rows.append(prediction_row(image, sample, palette))
            path = ResultFolder(Path(out_dir), '.png').path(image_id(info))
            with atomic_write(path, one_of_many=True) as temporary:
                Image.fromarray(prediction_panel(image, sample, classes, palette)).save(temporary, format='PNG')
            yield path
    if gallery is not None and rows:
        legend = [*zip(classes, palette, strict=True), ('none', NO_CLASS)]
        sheet = panel([list(row.values()) for row in rows], list(rows[0]), legend, tile_size=160)
        with atomic_write(gallery) as temporary:
            Image.fromarray(sheet).quantize(256).save(temporary, format='PNG')


def prediction_panel(
    image: ByteImage,
    sample: SegDataSample,
    classes: Sequence[str],
    palette: Sequence[Colour],
    ground_truth: bool = True,
) -> ByteImage:
    """The pictures of :func:`prediction_row` side by side, with captions and a legend of the sample's classes.

    Args:
        image: RGB image (H, W, 3), uint8.
        sample: Prediction as :meth:`sipe_mmseg.models.SIPESegmentor.pack` leaves it, for the image's own size.
        classes: Names of all classes, background first.
        palette: RGB colour of each class.
        ground_truth: Whether to draw the ground truth that a sample has.

    Returns:
        RGB image.

    Raises:
        ValueError: If maps and image have different sizes, or the sample has a class that has no name.
    """
    row = prediction_row(image, sample, palette, ground_truth)
    found = {0, *_array(sample.present.classes).tolist()}
    for indices in _class_maps(sample, ground_truth).values():
        found.update(np.unique(indices).tolist())
    unnamed = found - {NO_SEED, *range(len(classes))}
    if unnamed:
        raise ValueError(
            f'the sample has class {max(unnamed)}, but there are only the {len(classes)} classes '
            f'{", ".join(classes)}: these are not the classes of its data set'
        )
    legend = [(classes[index], palette[index]) for index in sorted(found - {NO_SEED})]
    return panel([list(row.values())], list(row), legend + [('none', NO_CLASS)] * (NO_SEED in found))


def prediction_row(
    image: ByteImage, sample: SegDataSample, palette: Sequence[Colour], ground_truth: bool = True
) -> dict[str, ByteImage]:
    """Pictures of one prediction by their captions; heat maps show, in every pixel, the strongest of the classes.

    In what shows classes, grey is what belongs to none: pixels without a seed, pixels that resemble no prototype, void
    pixels of the ground truth.

    Args:
        image: RGB image (H, W, 3), uint8.
        sample: Prediction as :meth:`sipe_mmseg.models.SIPESegmentor.pack` leaves it, for the image's own size.
        palette: RGB colour of each class.
        ground_truth: Whether to draw the ground truth that a sample has.

    Returns:
        RGB images (H, W, 3): ``image``, ``CAM``, ``IS-CAM``, ``seeds``, ``prototypes`` (the class of the nearest one,
        if the sample has ``localization.assignment``), ``label map`` and, if the sample has it, ``ground truth``.

    Raises:
        ValueError: If maps and image have different sizes.
    """
    maps = sample.localization
    row = {
        'image': image,
        'CAM': blend_heat(image, _strongest(maps.cam)),
        'IS-CAM': blend_heat(image, _strongest(maps.is_cam[1:])),
    }
    class_maps = _class_maps(sample, ground_truth)
    return row | {caption: colour_labels(indices, palette, NO_CLASS) for caption, indices in class_maps.items()}


def image_indices(dataset: BaseDataset, image_ids: Sequence[str]) -> list[int]:
    """Places of images in a data set.

    Raises:
        ValueError: If the data set has no image of an id.
    """
    known = {image_id(dataset.get_data_info(index)): index for index in range(len(dataset))}
    unknown = [name for name in image_ids if name not in known]
    if unknown:
        raise ValueError(
            f'no image {", ".join(unknown)} among the {len(known)} of the data set; the first ones are '
            f'{", ".join(list(known)[:3])}'
        )
    return [known[name] for name in image_ids]


def _class_maps(sample: SegDataSample, ground_truth: bool) -> dict[str, LabelMap]:
    """What of a sample has a class index (or 255) in every pixel, by its caption, (H, W) each."""
    maps = {'seeds': sample.localization.seeds}
    if 'assignment' in sample.localization:
        maps['prototypes'] = sample.localization.assignment
    maps['label map'] = sample.pred_sem_seg.data
    if ground_truth and 'gt_sem_seg' in sample:
        maps['ground truth'] = sample.gt_sem_seg.data
    return {caption: _array(indices)[0] for caption, indices in maps.items()}


def _array(values: Any) -> npt.NDArray[Any]:
    """The values of a tensor or an array."""
    return values.cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def _strongest(maps: Any) -> npt.NDArray[Any]:
    """Maximum over classes of maps (n, H, W); zeros where there is no class."""
    heat = _array(maps.float() if isinstance(maps, torch.Tensor) else maps)
    strongest: npt.NDArray[Any] = heat.max(axis=0, initial=0.0)
    return strongest
