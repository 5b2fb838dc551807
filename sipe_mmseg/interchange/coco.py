"""Label maps as COCO's annotations with run-length encoded masks."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..datasets.coco_masks import AnnotatedImage, instance_mask, load_annotated_images
from ..datasets.messages import short
from ..datasets.run_lengths import compress, run_lengths
from .drawing import Drawing, drawn_names


class COCOAnnotations:
    """The contents of one COCO file, image by image: one annotation for each class that an image has.

    Background is what has no annotation; pixels of unknown class (255) are a category of their own, ``unknown``. The id
    of a category is its value in the label maps.

    Args:
        classes: All classes, background first.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        categories = [dict(id=value, name=name, supercategory='') for name, value in drawn_names(classes).items()]
        self.content: dict[str, list[dict[str, Any]]] = dict(images=[], annotations=[], categories=categories[1:])

    def add(self, file_name: str, labels: npt.NDArray[np.uint8]) -> None:
        """Add an image with its label map (H, W)."""
        images, annotations = self.content['images'], self.content['annotations']
        height, width = labels.shape
        images.append(dict(id=len(images) + 1, file_name=file_name, height=height, width=width))
        for value in np.unique(labels[labels > 0]).tolist():
            mask = labels == value
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=len(images),
                    category_id=value,
                    segmentation=dict(size=[height, width], counts=compress(run_lengths(mask.ravel(order='F')))),
                    area=int(mask.sum()),
                    bbox=bounding_box(mask),
                    iscrowd=0,
                )
            )


def bounding_box(mask: npt.NDArray[np.bool_]) -> list[int]:
    """[left, top, width, height] of a mask (H, W) that has pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]


def read_coco(path: str) -> Iterator[Drawing]:
    """Drawings of a COCO file: runs, compressed or not, and polygons; crowds are shapes like any.

    Raises:
        ValueError: If the file is not what COCO's are.
    """
    names, images = load_annotated_images(path)
    for image in images:
        where = f'{path}, image {short(image.file_name)}'
        yield Drawing(image.file_name, (image.height, image.width), _shapes(path, image, names), where)


def _shapes(path: str, image: AnnotatedImage, names: Sequence[str]) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    for instance in image.instances:
        try:
            mask = instance_mask(image, instance)
        except ValueError as error:
            raise ValueError(f'{path}: {error}') from error
        yield names[instance.class_index], mask
