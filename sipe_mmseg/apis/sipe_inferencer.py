"""Prediction of one's own images in three lines, with the habits of OpenMMLab's inferencers."""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import mmcv
import numpy as np
import numpy.typing as npt
import torch
from mmcv.transforms import Compose
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.fileio import get_file_backend, get_local_path
from mmengine.infer import BaseInferencer
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmengine.visualization import Visualizer
from mmseg.registry import DATASETS, INFERENCERS, MODELS, TRANSFORMS
from mmseg.structures import SegDataSample
from PIL import Image
from rich.progress import track
from torch import nn

from ..datasets.atomic_write import atomic_write, check_writable_folder
from ..datasets.equal_size_batches import equal_size_batches
from ..datasets.image_files import MIN_SIDE, SHOWN_PROBLEMS, image_size, sample_problem, size_problem
from ..datasets.label_files import write_label_png
from ..datasets.messages import is_of_machine
from ..datasets.palette import voc_palette
from ..engine.checkpoint_lookup import find_checkpoint
from ..engine.config_lookup import find_config
from ..engine.model_state import evaluating, load_weights, unwrapped
from ..engine.splits import without_masks
from ..models import SIPESegmentor
from ..models.prototypes import resize_bilinear
from ..models.sipe_segmentor import resize_classes
from ..visualization import prediction_panel
from .image_source import Given, ImageSource, Labels, given_images, image_sources, left_out_line, unmatched_line
from .prediction import Predictions, to_prediction

WORKING_PIXELS = 2048 * 2048
"""Pixels above which the network sees a smaller copy of an image, unless ``working_pixels`` says otherwise."""

MAX_PIXELS = 50_000_000
"""Pixels of the largest image that is predicted unless ``max_pixels`` says otherwise."""

ByteImage = npt.NDArray[np.uint8]


@INFERENCERS.register_module()
class SIPEInferencer(BaseInferencer):
    """Scores, CAM, IS-CAM, seeds and label map of any images::

        from sipe_mmseg.apis import SIPEInferencer
        inferencer = SIPEInferencer('work_dirs/my_run')
        results = inferencer('photos', labels={'fido.jpg': ['dog']}, out_dir='maps')

    The maps are those that ``tools/generate_labels.py`` and ``tools/test.py --tta`` make of the same image, whatever
    the batch size (but for rounding where these fold BatchNorm into the convolutions). Memory grows with an image's
    pixels: of a large one the network sees a smaller copy, whose maps are brought back to the image's size; a very
    large one is refused from its header alone.

    Args:
        model: Config file, work directory (its config, and by default its last checkpoint), name of a shipped config,
            config object; or a SIPESegmentor with its config as ``cfg``, which is used as and where it is: modes of its
            modules (training, evaluation), parameters and hooks are after every call what they were before.
        weights: Checkpoint, or work directory with one; not for a work directory that has a ``last_checkpoint``, nor
            for a model object.
        device: Where to run, such as ``'cuda:1'``; by default on the GPU, if there is one.
        max_pixels: Width times height of the largest image to predict; 50 million by default, whose maps of two
            classes take 1 GB.
        working_pixels: Width times height of the largest image that the network sees as it is; 4.2 million (2048 x
            2048) by default. A million pixels take about 3.5 GB of memory with ResNet-50 at the four published scales,
            mirrored, and a tenth of that at one scale.
        min_side: Smallest height and width of an image, as in the data sets.
        show_progress: Whether to show a progress bar.

    Attributes:
        classes: Names of all classes, background first.
        palette: RGB colour of each class.

    Raises:
        FileNotFoundError: If config or checkpoint is not there.
        TypeError: If ``model`` is none of the above, or a model object without ``cfg``.
        ValueError: If no checkpoint is given, or it does not fit, or the model is not a SIPESegmentor.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Config | ConfigDict | nn.Module,
        weights: str | os.PathLike[str] | None = None,
        device: str | None = None,
        *,
        max_pixels: int = MAX_PIXELS,
        working_pixels: int = WORKING_PIXELS,
        min_side: int = MIN_SIDE,
        show_progress: bool = True,
    ) -> None:
        if working_pixels < MIN_SIDE**2:
            raise ValueError(f'working_pixels must be at least {MIN_SIDE**2}, not {working_pixels}')
        self.max_pixels = max_pixels
        self.working_pixels = working_pixels
        self.min_side = min_side
        self.num_arrays = 0  # of all calls so far: names of the arrays' files, as in MMSegInferencer
        init_default_scope('mmseg')
        self._given_model: nn.Module | None = unwrapped(model) if isinstance(model, nn.Module) else None
        if self._given_model is not None:
            config, weights = _config_of(self._given_model, weights), None
        elif isinstance(model, Config | ConfigDict):
            config = model
        elif isinstance(model, str | os.PathLike):
            if weights is None and Path(model).expanduser().is_dir():
                weights = model
            config = Config.fromfile(find_config(model))
        else:
            raise TypeError(
                'model must be a config file, a work directory, a config or a SIPESegmentor, '
                f'not {type(model).__name__}'
            )
        if self._given_model is None and weights is None:
            raise ValueError(f'{_name(config)}: needs a checkpoint; random weights find nothing')
        if weights is not None and Path(weights).expanduser().is_dir():
            weights = find_checkpoint(weights)
        super().__init__(
            model=config,
            weights=None if weights is None else os.fspath(weights),
            device=device,
            scope='mmseg',
            show_progress=show_progress,
        )
        meta = getattr(self.model, 'dataset_meta', None) or _dataset_meta(self.cfg)
        self.classes: tuple[str, ...] = tuple(meta.get('classes') or ())
        if len(self.classes) != self.model.num_classes:
            raise ValueError(
                f'{_name(config)}: the model has num_classes={self.model.num_classes}, but its data set has '
                f'{len(self.classes)} classes ({", ".join(self.classes)})'
            )
        self.palette: Sequence[Sequence[int]] = meta.get('palette') or voc_palette(len(self.classes))
        self.tta_model: nn.Module | None = None
        self.tta_pipeline: _Pipeline | None = None
        if self.cfg.get('tta_model') and self.cfg.get('tta_pipeline'):
            self.tta_model = MODELS.build({**self.cfg.tta_model, 'module': self.model})
            self.tta_pipeline = _Pipeline.build(self.cfg.tta_pipeline)

    def __call__(
        self,
        inputs: Any,
        return_datasamples: bool = False,
        batch_size: int = 1,
        return_vis: bool = False,
        show: bool = False,
        wait_time: float = 0,
        out_dir: str | os.PathLike[str] = '',
        img_out_dir: str = 'vis',
        pred_out_dir: str = 'pred',
        *,
        labels: Labels = None,
        channel_order: Literal['bgr', 'rgb'] = 'bgr',
        tta: bool | None = None,
    ) -> Predictions:
        """Predict images. One that cannot be predicted stops none of the others: ``failed`` and the log name it.

        Args:
            inputs: Path, URL, or array (H, W, 3) of uint8; a list of these; or a folder, see
                :func:`~sipe_mmseg.apis.image_source.given_images`: of its files those that are no images by their
                names are left out, and named in ``left_out`` and the log.
            return_datasamples: Whether the predictions are mmseg's samples, as
                :meth:`sipe_mmseg.models.SIPESegmentor.pack` fills them (on the CPU), instead of arrays.
            batch_size: Images in a batch, at most. Only images of the same size come together, so that none is padded.
            return_vis: Whether to return the pictures.
            show: Whether to show the picture of each image in a window.
            wait_time: Seconds that the window stays; 0 waits for a key.
            out_dir: Folder for pictures and label maps, named after the image; none are written by default.
            img_out_dir: Folder in it for pictures ``<name>.png``, those of
                :func:`~sipe_mmseg.visualization.prediction_panel`.
            pred_out_dir: Folder in it for label maps ``<name>.png``, whose pixels are class indices.
            labels: The image-level labels, as names or class indices (1 to K): a list for each input, or a dict from
                path, file name, or path from any folder on, each with or without suffix, to lists; for one input its
                own list will do. None in the place of a list, or no entry in the dict, leaves it to the classifier
                what is in the image, an empty list says that there is nothing but background. Keys that mean no input
                are named in the log, if inputs have no labels.
            channel_order: Order of the channels of arrays, ``'bgr'`` (as OpenCV and all of mmseg have it) or ``'rgb'``
                (as PIL has it). Files are read in the right order in any case.
            tta: Whether to fuse several scales and the mirror. None does so if the config has ``tta_model`` and
                ``tta_pipeline``.

        Returns:
            A dict of ``predictions``, a list of :class:`~sipe_mmseg.apis.Prediction`, and ``visualization``, a list of
            RGB pictures (H, W, 3) if ``return_vis``, else empty; its attribute ``failed`` is a dict from path to
            message.

        Raises:
            FileNotFoundError: If a folder has no images.
            TypeError: If ``labels`` has a wrong form.
            ValueError: If an argument has a wrong value, a label is no class, or a key means several images.
        """
        failed: dict[str, str] = {}
        given = given_images(inputs)
        done = list(
            self._predict(
                given.images,
                failed,
                return_datasamples=return_datasamples,
                batch_size=batch_size,
                return_vis=return_vis,
                show=show,
                wait_time=wait_time,
                out_dir=out_dir,
                img_out_dir=img_out_dir,
                pred_out_dir=pred_out_dir,
                labels=labels,
                channel_order=channel_order,
                tta=tta,
            )
        )
        _log_summary(len(done), given, failed, unmatched_line(labels, given.images))
        done.sort(key=lambda row: row[0])
        pictures = [picture for row in done for picture in row[2]]
        return Predictions([row[1] for row in done], pictures, failed, given.left_out)

    def stream(self, inputs: Any, failed: dict[str, str], **options: Any) -> Iterator[Any]:
        """Predict images one after the other and keep none: for more of them than there is memory.

        Args:
            inputs: As in :meth:`__call__`.
            failed: Receives a message for each image that cannot be predicted, by its path.
            **options: Arguments of :meth:`__call__`, ``return_vis`` aside.

        Yields:
            The prediction of each image as soon as it is there; with a ``batch_size`` above 1 in another order than
            the inputs'. Errors as in :meth:`__call__`.
        """
        for _, prediction, _ in self._predict(inputs, failed, **options):
            yield prediction

    def _predict(
        self,
        inputs: Any,
        failed: dict[str, str],
        *,
        return_datasamples: bool = False,
        batch_size: int = 1,
        return_vis: bool = False,
        show: bool = False,
        wait_time: float = 0,
        out_dir: str | os.PathLike[str] = '',
        img_out_dir: str = 'vis',
        pred_out_dir: str = 'pred',
        labels: Labels = None,
        channel_order: Literal['bgr', 'rgb'] = 'bgr',
        tta: bool | None = None,
    ) -> Iterator[tuple[int, Any, list[ByteImage]]]:
        """Place, prediction and picture, if there is to be one, of each image that can be predicted."""
        if channel_order not in ('bgr', 'rgb'):
            raise ValueError(f"channel_order must be 'bgr' or 'rgb', not {channel_order!r}")
        if batch_size < 1:
            raise ValueError(f'batch_size must be at least 1, not {batch_size}')
        if img_out_dir == pred_out_dir:
            raise ValueError(
                f'img_out_dir and pred_out_dir are both {img_out_dir!r}, and their files have the same names'
            )
        if tta and self.tta_model is None:
            raise ValueError(f'{_name(self.cfg)}: tta=True needs tta_model and tta_pipeline in the config')
        tta = self.tta_model is not None if tta is None else tta
        images = given_images(inputs).images
        sources = image_sources(images, labels, self.classes, self.num_arrays)
        unmatched = unmatched_line(labels, images)
        if unmatched:
            print_log(unmatched, 'current', level=logging.WARNING)
        self.num_arrays += sum(not isinstance(image, str) for image in images)
        folders = {name: Path(out_dir, name) if out_dir else None for name in (img_out_dir, pred_out_dir)}
        for folder in folders.values():
            if folder is not None:
                check_writable_folder(folder)

        with evaluating(self.model):
            for batch in self.preprocess(sources, batch_size, tta=tta, channel_order=channel_order, failed=failed):
                try:
                    samples = self.forward(batch.data, tta=tta)
                except (MemoryError, RuntimeError) as error:
                    if not _is_out_of_memory(error):
                        raise
                    failed.update({source.name: _out_of_memory(source, image) for source, image in batch.loaded})
                    continue
                samples = [
                    _at_size(sample.cpu(), (image.shape[0], image.shape[1]))
                    for sample, (_, image) in zip(samples, batch.loaded, strict=True)
                ]
                pictures = self.visualize(
                    batch.loaded,
                    samples,
                    show=show,
                    wait_time=wait_time,
                    img_out_dir=folders[img_out_dir],
                    return_vis=return_vis,
                )
                found = self.postprocess(
                    samples,
                    pictures,
                    return_datasamples,
                    sources=[source for source, _ in batch.loaded],
                    pred_out_dir=folders[pred_out_dir],
                )
                for row, (source, _) in enumerate(batch.loaded):
                    yield source.place, found['predictions'][row], found['visualization'][row : row + 1]

    def preprocess(
        self,
        inputs: Sequence[ImageSource],
        batch_size: int = 1,
        *,
        tta: bool,
        channel_order: str,
        failed: dict[str, str],
    ) -> Iterator['_Batch']:
        """Load and transform inputs, batch by batch; those that cannot be used go into ``failed`` with the reason."""
        pipeline = self.tta_pipeline if tta else self.pipeline
        sizes = [source.place if batch_size == 1 else _planned_size(source) for source in inputs]
        batches = equal_size_batches(sizes, batch_size)
        for places in track(batches, description='Inference', disable=not self.show_progress):
            loaded, packed = [], []
            for source in (inputs[place] for place in places):
                try:
                    image, data = self._load(source, pipeline, channel_order)
                except Exception as error:  # whatever is wrong with one image, the others go on
                    message = str(error) or type(error).__name__
                    failed[source.name] = message if message.startswith(source.name) else f'{source.name}: {message}'
                else:
                    loaded.append((source, image))
                    packed.append(data)
            if loaded:
                yield _Batch(loaded, self.collate_fn(packed))

    @torch.no_grad()
    def forward(self, inputs: Any, tta: bool = False) -> list[SegDataSample]:
        """Predict one batch of the pipeline's samples."""
        model: Any = self.tta_model if tta else self.model
        samples: list[SegDataSample] = model.test_step(inputs)
        return samples

    def visualize(
        self,
        inputs: Sequence[tuple[ImageSource, ByteImage]],
        preds: Sequence[SegDataSample],
        show: bool = False,
        wait_time: float = 0,
        img_out_dir: Path | None = None,
        return_vis: bool = False,
    ) -> list[ByteImage]:
        """Draw each image's maps side by side; nothing is drawn unless somebody wants it.

        Args:
            inputs: Each input with its RGB image (H, W, 3).
            preds: Their predictions.
            show: As in :meth:`__call__`.
            wait_time: As in :meth:`__call__`.
            img_out_dir: Folder for the pictures.
            return_vis: As in :meth:`__call__`.

        Returns:
            The pictures, RGB (H, W, 3), if ``return_vis``; else nothing.
        """
        pictures = []
        if show or img_out_dir is not None or return_vis:
            for (source, image), sample in zip(inputs, preds, strict=True):
                picture = prediction_panel(image, sample, self.classes, self.palette)
                pictures.append(picture)
                if img_out_dir is not None:
                    path = img_out_dir / f'{source.file_name}.png'
                    with atomic_write(path, one_of_many=True) as temporary:
                        Image.fromarray(picture).save(temporary, format='PNG')
                if show:
                    self.visualizer.show(picture, win_name=source.name, wait_time=wait_time)
        return pictures if return_vis else []

    def postprocess(
        self,
        preds: Sequence[SegDataSample],
        visualization: Sequence[ByteImage],
        return_datasample: bool = False,
        *,
        sources: Sequence[ImageSource],
        pred_out_dir: Path | None = None,
    ) -> dict[str, list[Any]]:
        """Write label maps and turn samples into arrays, unless samples are wanted.

        Args:
            preds: Predictions on the CPU.
            visualization: Their pictures, or nothing.
            return_datasample: As ``return_datasamples`` in :meth:`__call__`.
            sources: The input of each.
            pred_out_dir: Folder for the label maps.

        Returns:
            Lists ``predictions`` and ``visualization``.
        """
        if pred_out_dir is not None:
            for source, sample in zip(sources, preds, strict=True):
                label_map = sample.pred_sem_seg.data[0].numpy()
                write_label_png(pred_out_dir / f'{source.file_name}.png', label_map, self.palette)
        predictions: list[Any] = list(preds)
        if not return_datasample:
            predictions = [
                to_prediction(sample, source.name, self.classes, self.model.score_threshold)
                for source, sample in zip(sources, preds, strict=True)
            ]
        return dict(predictions=predictions, visualization=list(visualization))

    def _inputs_to_list(self, inputs: Any) -> list[Any]:
        """Inputs as a list, for whoever calls MMEngine's own methods."""
        return given_images(inputs).images

    def _init_model(self, cfg: Any, weights: str | None, device: str = 'cpu') -> nn.Module:
        """The model object that was given, as it is, or a new one."""
        if self._given_model is not None:
            return self._given_model
        kind = MODELS.get(cfg.model.type)
        if kind is None or not issubclass(kind, SIPESegmentor):
            raise ValueError(
                f'{_name(cfg)}: model.type is {cfg.model.type!r}, and only a SIPESegmentor has CAMs; mmseg.apis has '
                'MMSegInferencer for the label maps of other models'
            )
        if not Path(str(weights)).expanduser().is_file() and '://' not in str(weights):
            raise FileNotFoundError(f'checkpoint {weights}: no such file')
        built: nn.Module = super()._init_model(cfg, weights, device)
        return built

    def _load_weights_to_model(self, model: Any, checkpoint: Any, cfg: Any) -> None:
        """Load weights, every one of them, and the classes that they were trained for."""
        load_weights(model, checkpoint, f'the checkpoint does not fit the model of {_name(cfg)}')
        meta = (checkpoint.get('meta') or {}).get('dataset_meta')
        model.dataset_meta = dict(meta) if meta and meta.get('classes') else _dataset_meta(cfg)

    def _init_pipeline(self, cfg: Any) -> '_Pipeline':
        """The pipeline of the test data set, at one scale."""
        if not cfg.get('test_dataloader'):
            raise ValueError(f'{_name(cfg)}: has no test_dataloader, whose pipeline is the one to use')
        return _Pipeline.build(cfg.test_dataloader.dataset.pipeline)

    def _init_collate(self, cfg: Any) -> Any:
        """The config's ``collate_fn``; MMEngine's default without its warning where there is none."""
        return super()._init_collate(cfg) if cfg.test_dataloader.get('collate_fn') else pseudo_collate

    def _init_visualizer(self, cfg: Any) -> Visualizer:
        """Only for its window: pictures are drawn by :mod:`sipe_mmseg.visualization`."""
        return Visualizer(name=type(self).__name__)

    def _load(self, source: ImageSource, pipeline: Any, channel_order: str) -> tuple[ByteImage, Any]:
        """RGB image of a source and its packed sample.

        Raises:
            ValueError: If it is no image that can be predicted. (Transforms and decoders may raise other errors.)
        """
        results: dict[str, Any] = {'num_classes': len(self.classes)}
        if source.labels is not None:
            results['image_labels'] = source.labels
        if isinstance(source.image, str):
            problem = _address_problem(source.image)
            if problem is not None:
                raise ValueError(problem)
            with get_local_path(source.image) as local:
                problem = _file_problem(str(local), self.min_side, self.max_pixels)
                if problem is not None:
                    raise ValueError(problem.replace(str(local), source.name))
                try:
                    results = pipeline.loader({**results, 'img_path': str(local)})
                except Exception as error:  # decoders raise errors of every kind on broken bytes
                    if is_of_machine(error):
                        raise
                    reason = str(error).replace(str(local), source.name)
                    raise ValueError(f'{source.name}: not a readable image ({reason})') from error
        else:
            problem = _array_problem(source.name, source.image, self.min_side, self.max_pixels)
            if problem is not None:
                raise ValueError(problem)
            bgr = source.image if channel_order == 'bgr' else source.image[..., ::-1]
            results = pipeline.loader(
                {**results, 'img': np.array(bgr, order='C')}
            )  # a copy: transforms may write on it
        results['img_path'] = source.name
        image = results['img'][..., ::-1].astype(np.uint8)
        self._shrink(results)
        data = pipeline.transforms(results)
        if source.labels is not None and not _has_labels(data):
            raise ValueError(
                f'{source.name}: the pipeline of {_name(self.cfg)} drops the labels that were given: end it with '
                'PackImageLevelInputs'
            )
        return image, data

    def _shrink(self, results: dict[str, Any]) -> None:
        """Put a smaller copy in the place of a loaded image that has more than ``working_pixels``."""
        height, width = results['img'].shape[:2]
        factor = (self.working_pixels / (height * width)) ** 0.5
        if factor < 1:
            size = (max(1, int(width * factor)), max(1, int(height * factor)))
            results['img'] = mmcv.imresize(results['img'], size, interpolation='area')
            results['img_shape'] = results['ori_shape'] = (size[1], size[0])


@dataclass(frozen=True)
class _Pipeline:
    """A test pipeline in two parts, so that an image is decoded once for the network and for the picture."""

    loader: Any
    transforms: Compose

    @classmethod
    def build(cls, steps: Sequence[Any]) -> '_Pipeline':
        steps = without_masks(ConfigDict(pipeline=list(steps))).pipeline
        if not steps or steps[0]['type'] != 'LoadImageFromFile':
            raise ValueError(
                f'the pipeline must begin with LoadImageFromFile, not {steps[0]["type"] if steps else "be empty"}'
            )
        return cls(TRANSFORMS.build({**steps[0], 'type': 'InferencerLoader'}), Compose(steps[1:]))


@dataclass(frozen=True)
class _Batch:
    loaded: list[tuple[ImageSource, ByteImage]]
    data: Any


def _at_size(sample: SegDataSample, size: tuple[int, int]) -> SegDataSample:
    """A sample whose maps have the size (H, W) of the image itself: bilinear, seeds the nearest ones."""
    if sample.pred_sem_seg.shape == size:
        return sample
    maps, classes = sample.localization, sample.present.classes
    is_cam = resize_bilinear(maps.is_cam[None], size)[0]
    cam = resize_bilinear(maps.cam[None], size)[0] if len(classes) else is_cam.new_zeros(0, *size)
    seeds, assignment = resize_classes(maps.seeds, size), resize_classes(maps.assignment, size)
    keys = torch.cat([classes.new_zeros(1), classes])
    sample.set_metainfo(dict(ori_shape=size))
    sample.pred_sem_seg = PixelData(data=keys[is_cam.argmax(dim=0, keepdim=True)])
    sample.localization = PixelData(is_cam=is_cam, cam=cam, seeds=seeds, assignment=assignment)
    return sample


def _config_of(model: nn.Module, weights: Any) -> Config:
    if weights is not None:
        raise ValueError(f'weights={weights}: a model object has weights already; load them into it')
    if not isinstance(model, SIPESegmentor):
        raise ValueError(f'the model is a {type(model).__name__}, and only a SIPESegmentor has CAMs')
    config = getattr(model, 'cfg', None)
    if not isinstance(config, Config | ConfigDict):
        raise TypeError(
            'a model object needs its whole config, for the pipelines: set model.cfg = Config.fromfile(...) '
            '(mmseg.apis.init_model does so)'
        )
    return config


def _dataset_meta(config: Any) -> dict[str, Any]:
    """Classes and palette of the config's test data set; empty if it does not say."""
    dataset = (config.get('test_dataloader') or {}).get('dataset') or {}
    kind: Any = DATASETS.get(dataset['type']) if 'type' in dataset else None
    return kind._load_metainfo(dataset.get('metainfo')) if hasattr(kind, '_load_metainfo') else {}


def _name(config: Any) -> str:
    return str(getattr(config, 'filename', None) or 'the config')


def _planned_size(source: ImageSource) -> Any:
    """What images of one batch share; its place alone of an image whose size is not known before it is loaded."""
    if isinstance(source.image, np.ndarray):
        return source.image.shape[1::-1]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            return image_size(source.image)
    except Exception:  # the same errors as when it is loaded, and they are reported then
        return source.place


def _address_problem(address: str) -> str | None:
    """Why MMEngine cannot fetch from an address of this kind, or None if it can; the address itself is not tried."""
    try:
        get_file_backend(address)
    except KeyError:
        return f'{address}: no such kind of address; paths, http:// and https:// will do'
    except ImportError as error:
        return f'{address}: {error}'
    return None


def _file_problem(path: str, min_side: int, max_pixels: int) -> str | None:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', Image.DecompressionBombWarning)  # max_pixels is the limit here
        return sample_problem(path, min_side=min_side, max_pixels=max_pixels)


def _array_problem(name: str, image: Any, min_side: int, max_pixels: int) -> str | None:
    if not isinstance(image, np.ndarray):
        return f'{name}: an input is a path, a URL or a NumPy array, not {type(image).__name__}'
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        return f'{name}: an array must be uint8 (H, W, 3), not {image.dtype} {image.shape}'
    height, width = image.shape[:2]
    return size_problem(name, width, height, min_side, max_pixels)


def _has_labels(data: dict[str, Any]) -> bool:
    """Whether a packed sample, or every one of several scales, has image-level labels."""
    samples = data['data_samples']
    return all('image_labels' in sample for sample in (samples if isinstance(samples, list) else [samples]))


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or 'allocate memory' in str(error)


def _out_of_memory(source: ImageSource, image: ByteImage) -> str:
    height, width = image.shape[:2]
    return (
        f'{source.name}: not enough memory for {width}x{height} pixels. Make the image smaller, or try tta=False or a '
        'smaller batch_size'
    )


def _log_summary(done: int, given: Given, failed: dict[str, str], unmatched: str) -> None:
    total = len(given.images)
    lines = [f'{done} of {total} images predicted' + (f', {total - done} failed:' if failed else '')]
    lines += list(failed.values())[:SHOWN_PROBLEMS]
    if len(failed) > SHOWN_PROBLEMS:
        lines.append(f'... and {len(failed) - SHOWN_PROBLEMS} more, all of them in .failed of the result')
    if given.left_out:
        lines.append(left_out_line(given.left_out))
    if unmatched:
        lines.append(unmatched)
    print_log('\n  '.join(lines), 'current', level=logging.WARNING if failed or unmatched else logging.INFO)
