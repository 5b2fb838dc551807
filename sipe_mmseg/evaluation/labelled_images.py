"""A data set's images with their label maps on disk and, where there are any, the masks to hold them against."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from mmseg.datasets import BaseSegDataset

from ..datasets.cam_files import CAMFile, read_cam
from ..datasets.label_files import read_label_png
from ..datasets.result_folder import ResultFolder, image_id
from ..processors import num_processors

_PART = 16  # images a thread reads at a time

T = TypeVar('T')


@dataclass(frozen=True)
class LabelledImage:
    """One image's label map and what belongs to it.

    Attributes:
        image_id: What names its results.
        image_path: File of the image.
        labels: Class indices (H, W), uint8; 255 is unknown.
        truth: Mask (H, W), uint8; 255 is void. None where masks are not used.
        cam: Its CAM file; None where none are read.
    """

    image_id: str
    image_path: str
    labels: npt.NDArray[np.uint8]
    truth: npt.NDArray[np.uint8] | None
    cam: CAMFile | None


class LabelledImages:
    """Label maps, or the argmax of CAM files, of all images of a data set.

    Args:
        dataset: Images and masks (``seg_map_path``); all of its images must be in the folder.
        folder: Folder of ``<image id>.png`` or, with ``cams``, ``<image id>.npz``.
        cams: Whether the folder holds CAM files.
        cam_dir: Folder of CAM files to read along with the label maps of ``folder``.

    Attributes:
        classes: Names of all classes, background first.
        folder: The folder of results.
        has_masks: Whether the data set names a mask for every image.

    Raises:
        FileNotFoundError: If a folder lacks images.
        ValueError: If the data set changes the values of its masks, or both ``cams`` and ``cam_dir`` are given.
    """

    def __init__(
        self,
        dataset: BaseSegDataset,
        folder: str | os.PathLike[str],
        cams: bool = False,
        cam_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        if cams and cam_dir is not None:
            raise ValueError(
                f'cam_dir={str(cam_dir)!r}: {folder} already holds CAM files (cams=True); give one of the two'
            )
        if dataset.reduce_zero_label or dataset.label_map:
            raise ValueError(
                'the data set changes the values of its masks (reduce_zero_label, or classes chosen by metainfo); they '
                'are scored as they are on disk here: name a data set whose masks hold its own class indices'
            )
        self.folder = ResultFolder(Path(folder), '.npz' if cams else '.png')
        self._infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        self.folder.require(image_id(info) for info in self._infos)
        self.classes: tuple[str, ...] = tuple(dataset.metainfo['classes'])
        self.has_masks = all('seg_map_path' in info for info in self._infos)
        self._cams: ResultFolder | None = self.folder if cams else None
        if cam_dir is not None:
            self._cams = ResultFolder(Path(cam_dir), '.npz')
            self._cams.require(image_id(info) for info in self._infos)
        self._made_with = self._cams.digest() if self._cams else ''

    def __len__(self) -> int:
        return len(self._infos)

    def __getitem__(self, index: int) -> LabelledImage:
        """Read the label map of one image and, if the data set has masks, its mask.

        Raises:
            FileNotFoundError: If the mask is not there.
            ValueError: If a file is not what it should be, or sizes differ; the message names it.
        """
        info, num_classes = self._infos[index], len(self.classes)
        truth = _read_mask(info, num_classes) if self.has_masks else None
        name = image_id(info)
        cam = None
        if self._cams is not None:
            path = self._cams.path(name)
            cam = read_cam(path, num_classes, self._made_with or None)
            if truth is not None and cam.size != truth.shape:
                raise ValueError(f'{path}: of an image of {cam.size}, but its mask has {truth.shape}')
        if cam is not None and self._cams is self.folder:
            labels = cam.label_map()
        else:
            size = cam.size if cam else None if truth is None else (truth.shape[0], truth.shape[1])
            labels = read_label_png(self.folder.path(name), num_classes, size)
        return LabelledImage(name, info['img_path'], labels, truth, cam)

    def map(
        self, function: Callable[[LabelledImage], T], indices: Sequence[int] | None = None, threads: int | None = None
    ) -> Iterator[T]:
        """Apply a function to every image, in threads; what it returns comes in the order of the images.

        Args:
            function: Takes an image.
            indices: Which images to take; all by default.
            threads: Number of threads; by default that of the processors.
        """
        chosen = range(len(self)) if indices is None else indices
        parts = [chosen[start : start + _PART] for start in range(0, len(chosen), _PART)]
        with ThreadPoolExecutor(threads or num_processors()) as pool:
            yield from chain.from_iterable(pool.map(lambda part: [function(self[index]) for index in part], parts))


def _read_mask(info: Mapping[str, Any], num_classes: int) -> npt.NDArray[np.uint8]:
    try:
        return read_label_png(info['seg_map_path'], num_classes)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'{info["seg_map_path"]}: no such mask (of {info["img_path"]}); name a split whose images all have masks'
        ) from error
