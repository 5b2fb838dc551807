"""What a report says about a folder of label maps: figures, a threshold curve, images with their thumbnails."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy.typing as npt

from ..evaluation.label_scores import LabelScores
from ..evaluation.threshold_curve import ThresholdCurve


@dataclass(frozen=True)
class ImageFigures:
    """What can be said of one image in numbers. All are percentages.

    Attributes:
        index: Its place in the data set.
        image_id: What names it.
        score: With masks the mean IoU of the classes that its mask or its label map has (None if all of it is void);
            without masks the share of its pixels that are labelled foreground.
        unknown: Share of its pixels that are labelled unknown (255).
        classes: For each foreground class, by index: with masks the IoU of a class that its mask or label map has,
            without masks the share of pixels of a class that its label map has.
    """

    index: int
    image_id: str
    score: float | None
    unknown: float
    classes: dict[int, float]


@dataclass(frozen=True)
class Tile:
    """A thumbnail: what it shows, its data URI, width and height in pixels, and whether it shows label values."""

    caption: str
    uri: str
    width: int
    height: int
    is_label_map: bool


@dataclass(frozen=True)
class LabelReport:
    """Everything that the page shows.

    Attributes:
        title: Name of the report.
        source: What the label maps are read from.
        classes: Names of all classes, background first.
        palette: RGB colour of each.
        num_images: Images of the data set.
        pixels: Labelled pixels (C + 1,) by class; the last are unknown. Void pixels of masks are counted, too.
        images: Images (C + 1,) whose label map has the class.
        true_images: Images (C,) whose mask has the class; None without masks.
        scores: Counts and figures; None without masks.
        curve: Threshold curve of the foreground of CAM files; None without CAM files or masks.
        shown: Figures and thumbnails of the images that the page shows, in the order in which it shows them.
        selection: Which images these are.
        settings: The folder's ``settings.json``, or None.
    """

    title: str
    source: Literal['label maps', 'CAM files']
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    num_images: int
    pixels: npt.NDArray[Any]
    images: npt.NDArray[Any]
    true_images: npt.NDArray[Any] | None
    scores: LabelScores | None
    curve: ThresholdCurve | None
    shown: tuple[tuple[ImageFigures, tuple[Tile, ...]], ...]
    selection: str
    settings: dict[str, Any] | None
