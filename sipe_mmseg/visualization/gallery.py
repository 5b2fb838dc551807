"""Predict some images of a data set and draw what the model finds in them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import load_checkpoint
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, MODELS
from mmseg.structures import SegDataSample
from PIL import Image

from .overlays import ByteImage, Colour, blend_heat, colour_labels, panel

CAPTIONS = ('image', 'CAM', 'IS-CAM', 'label map', 'ground truth')


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
    """Draw a panel of image, CAM, IS-CAM, label map and (where there are masks) ground truth for each image.

    Maps are those of the multi-scale mirrored inference, ``config.tta_model`` on ``config.tta_pipeline``, for images of
    ``config.test_dataloader``. Both heat maps show, in every pixel, the strongest of the image's own classes.

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
        ValueError: If the data set has no image of an id, or the config knows no ``tta_model``.
    """
    if 'tta_model' not in config or 'tta_pipeline' not in config:
        raise ValueError(
            f'{config.filename}: panels show multi-scale maps; the config has no tta_model or tta_pipeline'
        )
    dataset = DATASETS.build({**config.test_dataloader.dataset, 'pipeline': config.tta_pipeline})
    classes, palette = dataset.metainfo['classes'], dataset.metainfo['palette']
    indices = _indices(dataset, num, image_ids)
    segmentor = MODELS.build(config.model)
    load_checkpoint(segmentor, str(checkpoint), map_location='cpu', strict=True)
    model = MODELS.build({**config.tta_model, 'module': segmentor}).to(device).eval()

    legend = list(zip(classes[1:], palette[1:], strict=True))
    rows = []
    for index in indices:
        with torch.no_grad():
            (sample,) = model.test_step(pseudo_collate([dataset[index]]))
        info = dataset.get_data_info(index)
        row = prediction_row(mmcv.imread(info['img_path'], channel_order='rgb'), sample, palette)
        rows.append(row)
        path = Path(out_dir) / f'{info["img_id"]}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(panel([row], CAPTIONS[: len(row)], legend)).save(path)
        yield path
    if gallery is not None and rows:
        Path(gallery).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(panel(rows, CAPTIONS[: len(rows[0])], legend, tile_size=160)).quantize(256).save(gallery)


def prediction_row(image: ByteImage, sample: SegDataSample, palette: Sequence[Colour]) -> list[ByteImage]:
    """Pictures of one prediction: image, CAM, IS-CAM, label map and, if the sample has a mask, ground truth.

    Args:
        image: RGB image (H, W, 3), uint8.
        sample: Prediction as :meth:`sipe_mmseg.models.SIPESegmentor.pack` leaves it, for the image's own size.
        palette: RGB colour of each class.

    Returns:
        Four or five RGB images (H, W, 3).
    """
    maps = sample.localization
    row = [
        image,
        blend_heat(image, _strongest(maps.cam)),
        blend_heat(image, _strongest(maps.is_cam[1:])),
        colour_labels(sample.pred_sem_seg.data[0].cpu().numpy(), palette),
    ]
    if 'gt_sem_seg' in sample:
        row.append(colour_labels(sample.gt_sem_seg.data[0].cpu().numpy(), palette))
    return row


def _strongest(maps: torch.Tensor) -> np.ndarray:
    """Maximum over classes of maps (n, H, W); zeros where there is no class."""
    return maps.amax(dim=0).cpu().numpy() if len(maps) else np.zeros(maps.shape[1:], np.float32)


def _indices(dataset: BaseSegDataset, num: int | None, image_ids: Sequence[str] | None) -> list[int]:
    known = {dataset.get_data_info(index)['img_id']: index for index in range(len(dataset))}
    if image_ids is None:
        return list(known.values())[:num]
    unknown = [image_id for image_id in image_ids if image_id not in known]
    if unknown:
        raise ValueError(
            f'no image {", ".join(unknown)} among the {len(known)} of the data set; the first ones are '
            f'{", ".join(list(known)[:3])}'
        )
    return [known[image_id] for image_id in image_ids]
