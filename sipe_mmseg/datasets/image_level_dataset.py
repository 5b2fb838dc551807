"""The data set of weakly supervised segmentation: images and the classes that are in them."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from ..refinement.label_values import IGNORE_INDEX
from . import image_labels
from .image_files import (
    MIN_SIDE,
    ImageFolder,
    Problems,
    check_samples,
    first_few,
    raise_problems,
    read_list,
    same_id_problems,
)
from .image_labels import Labels, class_names
from .messages import shown
from .palette import voc_palette
from .sampler import sample_randomness

# Label files that name their images. The other sources are looked up by image id.
_READERS: dict[str, Callable[[str, Sequence[str], Problems], Labels]] = {
    'json': image_labels.read_json,
    'csv': image_labels.read_csv,
    'coco': lambda path, classes, _: image_labels.read_coco_instances(path, classes),
}
LABEL_SOURCES = ('xml', 'json', 'csv', 'folders', 'masks', 'coco')


@DATASETS.register_module()
class ImageLevelDataset(BaseSegDataset):
    """Images with image-level labels, for any classes.

    All labels and files are checked when the data set is built, so that nothing stops a training later on. No mask is
    read unless ``data_prefix`` has ``seg_map_path`` (to score against, or label maps to learn from) or ``labels`` has
    ``masks``.

    A sample has ``img_path``, ``img_id`` (path below the image folder, without suffix), ``num_classes`` (K + 1),
    ``image_labels`` (sorted int64 array of foreground indices 0..K-1) if there are labels, and ``seg_map_path`` if
    there are masks.

    Args:
        labels: Where the image-level labels come from, paths relative to ``data_root``: ``xml`` (folder of annotations
            as in PASCAL VOC), ``json``, ``csv``, ``folders`` (one folder of images for each class), ``masks``
            (folder) or ``coco`` (instances file); ``sipe_mmseg.datasets.image_labels`` tells the formats. Several must
            agree on every image that more than one of them knows. A source set to None is as good as not given. Without
            any source the data set serves for prediction (``test_mode=True``), or for learning from label maps.
        ann_file: List of the images to use, one a line: image ids, file names or paths below the image folder. Without
            it, all images of the image folder.
        data_root: Root of all relative paths.
        data_prefix: ``img_path``: the image folder; by default ``data_root``, or the folder of ``labels['folders']``.
            ``seg_map_path``: the folder of masks to score against, or to learn from.
        pseudo_labels: Folder of label maps to learn from, ``<image id>.png``, such as ``tools/generate_labels.py``
            writes: ``data_prefix.seg_map_path``, but relative to the working directory, as everything of ours.
        on_unlabelled: What to do with images that have no label: ``'error'``, ``'drop'`` leaves them out, ``'keep'``
            takes them for background only, ``'predict'`` (``test_mode`` only) leaves it to the classifier to say what
            is in them.
        check_files: Whether to check that every image can be read and every mask fits its image.
        min_side: Smallest height and width of an image in pixels, for ``check_files``.
        img_suffix: How names of images end; None takes all usual suffixes.
        seg_map_suffix: How names of masks end: ``<image id><seg_map_suffix>``.
        metainfo: ``classes``, the first of which must be ``'background'``, and optionally ``palette``, which is VOC's
            colour map by default.
        **kwargs: As in ``mmseg.datasets.BaseSegDataset``: ``pipeline``, ``test_mode``, ``indices``, ``lazy_init`` etc.

    Raises:
        FileNotFoundError: If the list, a label source or the image folder does not exist.
        TypeError: If a label file holds values of a wrong type.
        ValueError: If options, labels or files are wrong; the message names file and line or key.
    """

    def __init__(
        self,
        labels: Mapping[str, str | None] | None = None,
        ann_file: str = '',
        data_root: str | None = None,
        data_prefix: Mapping[str, str | None] | None = None,
        pseudo_labels: str | None = None,
        on_unlabelled: Literal['error', 'drop', 'keep', 'predict'] = 'error',
        check_files: bool = True,
        min_side: int = MIN_SIDE,
        img_suffix: str | None = None,
        seg_map_suffix: str = '.png',
        metainfo: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if labels is not None and not isinstance(labels, Mapping):
            raise TypeError(f"labels must name its kind, such as dict(json='labels.json'), not {labels!r}")
        self.labels = {name: path for name, path in (labels or {}).items() if path is not None}
        for name in self.labels:
            if name not in LABEL_SOURCES:
                raise ValueError(f'labels: no source is called {name!r}; there are {", ".join(LABEL_SOURCES)}')
        choices = ('error', 'drop', 'keep', 'predict')
        if on_unlabelled not in choices:
            raise ValueError(f'on_unlabelled must be one of {choices}, not {on_unlabelled!r}')
        if on_unlabelled == 'predict' and not kwargs.get('test_mode'):
            raise ValueError("on_unlabelled='predict' leaves labels to the classifier: that needs test_mode=True")
        if kwargs.get('reduce_zero_label'):
            raise ValueError('reduce_zero_label: index 0 is the background and cannot be taken away')
        prefix = {name: path for name, path in (data_prefix or {}).items() if path is not None}
        if pseudo_labels is not None:
            if 'seg_map_path' in prefix:
                raise ValueError(
                    f'pseudo_labels={pseudo_labels!r} and data_prefix.seg_map_path={prefix["seg_map_path"]!r} are two '
                    'folders of label maps: give one of them'
                )
            if not os.path.isdir(pseudo_labels):
                raise FileNotFoundError(f'pseudo_labels: there is no folder {pseudo_labels!r} (in {os.getcwd()})')
            prefix['seg_map_path'] = os.path.abspath(pseudo_labels)
        if not self.labels and not kwargs.get('test_mode') and 'seg_map_path' not in prefix:
            raise ValueError(
                f'labels: training needs at least one source of image-level labels ({", ".join(LABEL_SOURCES)}), or '
                'label maps (pseudo_labels)'
            )
        self.on_unlabelled = on_unlabelled
        self.check_files = check_files
        self.min_side = min_side
        prefix.setdefault('img_path', self.labels.get('folders', ''))
        super().__init__(
            ann_file=ann_file or '',
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            metainfo=metainfo,
            data_root=data_root,
            data_prefix=prefix,
            **kwargs,
        )

    @classmethod
    def _load_metainfo(cls, metainfo: Mapping[str, Any] | Config | None = None) -> dict[str, Any]:
        """Checks the classes and adds VOC's palette where there is none."""
        loaded: dict[str, Any] = super()._load_metainfo(metainfo)
        classes = loaded.get('classes')
        if isinstance(classes, str) or not isinstance(classes, Sequence) or len(classes) < 2:
            raise ValueError(
                f"metainfo: classes must be a list of names, such as ('background', 'cat', 'dog'), not {classes!r}"
            )
        if classes[0] != 'background':
            raise ValueError(f"metainfo: the first class must be 'background', not {classes[0]!r}")
        if not all(isinstance(name, str) for name in classes) or len(set(classes)) < len(classes):
            raise ValueError(f'metainfo: classes must be different names, not {tuple(classes)}')
        if len(classes) > IGNORE_INDEX:
            raise ValueError(f'metainfo: {len(classes)} classes, but label maps have room for 255')
        own = cls.METAINFO.get('classes')
        if own is not None and tuple(classes) != tuple(own):
            raise ValueError(
                f'metainfo: {cls.__name__} always has its own {len(own)} classes; use ImageLevelDataset for others'
            )
        loaded['classes'] = tuple(classes)
        if not loaded.get('palette'):
            loaded['palette'] = voc_palette(len(classes))
        return loaded

    def load_data_list(self) -> list[dict[str, Any]]:
        """Reads labels, lists files and checks both.

        Returns:
            One dict for each sample.
        """
        image_root = self.data_prefix['img_path']
        if not os.path.isdir(image_root):
            raise FileNotFoundError(
                f'{type(self).__name__}: there is no image folder {image_root!r} (in {os.getcwd()}). Set data_root and '
                'data_prefix.img_path, or the environment variable that the config reads the root from'
            )
        folder = ImageFolder(image_root, self.img_suffix)
        problems = Problems()
        images = folder.paths
        if self.ann_file:
            if not os.path.isfile(self.ann_file):
                raise FileNotFoundError(f'ann_file {self.ann_file}: no such file')
            images = read_list(self.ann_file, folder, problems)
        sources, copies = self._read_sources(folder, images, problems)
        images = list(dict.fromkeys(copies.get(image, image) for image in images))
        problems += same_id_problems(folder, images)
        data_list = []
        unlabelled = []
        num_classes = len(self.metainfo['classes'])  # which is copied at every look
        for image in images:
            data_info = self._data_info(folder, image, num_classes)
            if sources:
                indices = self._agreed_labels(sources, image)
                if not indices:
                    unlabelled.append(image)
                    if self.on_unlabelled == 'drop':
                        continue
                if indices or self.on_unlabelled != 'predict':
                    data_info['image_labels'] = np.array(indices, dtype=np.int64)
            data_list.append(data_info)
        self._report_unlabelled(unlabelled, len(images), list(sources), problems)
        if self.check_files:
            problems += self._file_problems(data_list)
        raise_problems(problems, f'{type(self).__name__} ({folder.root})')
        if not data_list:
            raise ValueError(
                f'{type(self).__name__}: no sample is left of {len(images)} images '
                f'({self.ann_file or folder.root}, {len(unlabelled)} without labels)'
            )
        return data_list

    def prepare_data(self, idx: int) -> Any:
        """Runs the pipeline on a sample; its randomness comes from ``idx`` if that is a ``SampleIndex``.

        Raises:
            RuntimeError: If the pipeline returns nothing. (MMEngine would go on with another image, silently.)
        """
        with sample_randomness(idx):
            data = super().prepare_data(int(idx))
        if data is None:
            raise RuntimeError(f'{self.get_data_info(int(idx))["img_path"]}: the pipeline returned no sample')
        return data

    def _read_sources(
        self, folder: ImageFolder, images: Sequence[str], problems: Problems
    ) -> tuple[dict[str, Labels], dict[str, str]]:
        """Labels of every source, by path below the image folder, and the copies among the images (``folders``)."""
        classes = self.metainfo['classes']
        sources: dict[str, Labels] = {}
        copies: dict[str, str] = {}
        wrong_names = Problems()
        for name, relative_path in self.labels.items():
            path = os.path.join(self.data_root or '', relative_path)
            source = f'{name} {path}'
            if name == 'folders':
                if os.path.realpath(path) != os.path.realpath(folder.root):
                    raise ValueError(f'labels: folders={path} must be the image folder, which is {folder.root}')
                sources[source], copies = image_labels.read_class_folders(path, folder.paths, classes, wrong_names)
            elif name in _READERS:
                sources[source] = self._by_image(source, _READERS[name](path, classes, wrong_names), folder, problems)
            else:
                by_id = {folder.image_id(image): image for image in images}
                found = (
                    image_labels.read_voc_xml(path, classes, by_id, wrong_names)
                    if name == 'xml'
                    else image_labels.read_masks(path, classes, by_id, self.seg_map_suffix)
                )
                sources[source] = {by_id[image_id]: indices for image_id, indices in found.items()}
            known = sum(image in sources[source] for image in images)
            print_log(f'{type(self).__name__}: {source} knows {known} of {len(images)} images', 'current')
            if images and not known:
                problems.append(f'{source}: knows none of the images; images are named by their path in {folder.root}')
        if wrong_names:  # without them images would be called unlabelled that are not
            problems[:0] = wrong_names
            raise_problems(problems, f'{type(self).__name__} ({folder.root})')
        return sources, copies

    def _by_image(self, source: str, labels: Labels, folder: ImageFolder, problems: Problems) -> Labels:
        """``labels`` by path below the image folder; without ``ann_file`` a key without image is a problem."""
        classes = self.metainfo['classes']
        by_image: Labels = {}
        keys: dict[str, str] = {}
        for key, indices in labels.items():
            image = folder.find(key, source)
            if image is None:
                if not self.ann_file:
                    problems.add(f'{source}, {shown(key)}: no such image in {folder.root}')
                continue
            if by_image.setdefault(image, indices) != indices:
                raise ValueError(
                    f'{source}: {keys[image]!r} and {key!r} are the same image, with different labels:'
                    f' {class_names(by_image[image], classes)}; {class_names(indices, classes)}'
                )
            keys[image] = key
        return by_image

    def _agreed_labels(self, sources: Mapping[str, Labels], image: str) -> tuple[int, ...]:
        """What all sources that know the image say about it; nothing if none knows it."""
        first: tuple[str, tuple[int, ...]] | None = None
        for source, labels in sources.items():
            if image not in labels:
                continue
            if first is None:
                first = (source, labels[image])
            elif labels[image] != first[1]:
                classes = self.metainfo['classes']
                raise ValueError(
                    f'{image}: two label sources disagree: {first[0]} has {class_names(first[1], classes)};'
                    f' {source} has {class_names(labels[image], classes)}'
                )
        return first[1] if first else ()

    def _data_info(self, folder: ImageFolder, image: str, num_classes: int) -> dict[str, Any]:
        image_id = folder.image_id(image)
        data_info: dict[str, Any] = {
            'img_path': folder.full_path(image),
            'img_id': image_id,
            'num_classes': num_classes,
            'label_map': None,
            'reduce_zero_label': False,
            'seg_fields': [],
        }
        if 'seg_map_path' in self.data_prefix:
            data_info['seg_map_path'] = os.path.join(self.data_prefix['seg_map_path'], image_id + self.seg_map_suffix)
        return data_info

    def _report_unlabelled(
        self, unlabelled: Sequence[str], total: int, sources: Sequence[str], problems: list[str]
    ) -> None:
        if not unlabelled:
            return
        counted = (
            f'{len(unlabelled)} of {total} images have no label in {" or ".join(sources)} ({first_few(unlabelled)})'
        )
        if self.on_unlabelled == 'error':
            problems.insert(
                0, f"{counted}; on_unlabelled='drop' leaves them out, 'keep' takes them for background only"
            )
        else:
            done = {
                'drop': 'are left out',
                'keep': 'are taken for background only',
                'predict': 'are left to the classifier',
            }[self.on_unlabelled]
            print_log(f'{type(self).__name__}: {counted} and {done}', 'current')

    def _file_problems(self, data_list: Sequence[Mapping[str, Any]]) -> list[str]:
        start = time.perf_counter()
        samples = [(data_info['img_path'], data_info.get('seg_map_path')) for data_info in data_list]
        problems = check_samples(samples, num_classes=len(self.metainfo['classes']), min_side=self.min_side)
        seconds = time.perf_counter() - start
        print_log(f'{type(self).__name__}: checked the files of {len(samples)} images in {seconds:.1f} s', 'current')
        return problems
