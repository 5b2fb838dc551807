"""A look at a folder of one's own pictures and their labels, before there is a config."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .image_files import MIN_SIDE, ImageFolder, image_size, list_files, open_image, same_id_problems, sample_problem
from .image_labels import read_class_names
from .messages import shown

_ORDINARY_MODES = ('RGB', 'L', 'P')
_WORKERS = 8  # they wait for the disk together


@dataclass(frozen=True)
class PictureFolder:
    """What is in a folder.

    Attributes:
        paths: Paths of all pictures below the folder.
        problems: One line for each picture that cannot be used.
        others: Files whose names do not end as those of pictures do.
        sizes: (width, height) of each usable picture by its path, turned as its EXIF orientation says.
        odd_modes: How many usable pictures are stored in a way that loses something when they are read as RGB of 8
            bits, by PIL's name of it.
        turned: How many are turned by their EXIF orientation.
    """

    paths: list[str]
    problems: list[str]
    others: list[str]
    sizes: dict[str, tuple[int, int]]
    odd_modes: dict[str, int]
    turned: int

    def smallest_and_largest(self) -> list[str]:
        """Paths of the usable pictures with the fewest and with the most pixels."""
        by_pixels = sorted(self.sizes, key=lambda path: (self.sizes[path][0] * self.sizes[path][1], path))
        return [by_pixels[0], by_pixels[-1]]


def look_over(
    folder: ImageFolder, min_side: int = MIN_SIDE, on_pictures: Callable[[int], None] = lambda number: None
) -> PictureFolder:
    """Look at every picture of a folder; sound ones are not decoded.

    Args:
        folder: The folder, with those below it.
        min_side: Smallest height and width of a picture.
        on_pictures: Told how many pictures have just been looked at.
    """
    problems = same_id_problems(folder, folder.paths)
    sizes: dict[str, tuple[int, int]] = {}
    modes: Counter[str] = Counter()
    turned = 0
    with ThreadPoolExecutor(_WORKERS) as pool:
        looks = pool.map(lambda path: _look(folder.full_path(path), min_side), folder.paths)
        for path, look in zip(folder.paths, looks, strict=True):
            if isinstance(look, str):
                problems.append(look)
            else:
                sizes[path] = look.size
                modes[look.mode] += look.mode not in _ORDINARY_MODES
                turned += look.size != look.stored_size
            on_pictures(1)
    known = set(folder.paths)
    others = [path for path in list_files(folder.root, ('',)) if path not in known]
    return PictureFolder(folder.paths, problems, others, sizes, {mode: n for mode, n in modes.items() if n}, turned)


@dataclass(frozen=True)
class PictureLabels:
    """What a label file says about the pictures of a folder.

    Attributes:
        images_of_class: How many pictures each class is in, by its name.
        problems: One line for each thing that stops a training.
        unlabelled: Pictures that the file does not name, or that it gives no class.
    """

    images_of_class: dict[str, int]
    problems: list[str]
    unlabelled: list[str]


def look_over_labels(path: str, folder: ImageFolder) -> PictureLabels:
    """Hold a JSON or CSV label file against the pictures of a folder.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no label file; the message names the line or key.
    """
    names = read_class_names(path)
    problems, labelled = [], set()
    keys: dict[str, str] = {}
    for key, found in names.items():
        image = folder.find(key, path)
        if image is None:
            problems.append(f'{path}, {shown(key)}: no such image in {folder.root}')
            continue
        if found:
            labelled.add(image)
        other = keys.setdefault(image, key)
        if set(names[other]) != set(found):
            problems.append(f'{path}: {shown(other)} and {shown(key)} are the same image, with different labels')
        if '' in found:
            problems.append(f'{path}, {shown(key)}: has a class without a name, such as behind a separator too many')
    counted = Counter(name for found in names.values() for name in set(found))
    if 'background' in counted:
        problems.append(
            f"{path}: 'background' is a label of {counted['background']} images; every image has some, and one "
            'without an object has an empty list'
        )
    problems += [
        f'{path}: the classes {" and ".join(map(shown, spellings))} differ in case or space only; write them alike'
        for spellings in similar_names(counted)
    ]
    unlabelled = [image for image in folder.paths if image not in labelled]
    return PictureLabels(dict(sorted(counted.items())), problems, unlabelled)


def similar_names(names: Iterable[str]) -> list[list[str]]:
    """Names that differ from each other in upper and lower case or in space only, together."""
    spellings: dict[str, list[str]] = {}
    for name in sorted(names):
        spellings.setdefault(''.join(name.split()).casefold(), []).append(name)
    return [together for together in spellings.values() if len(together) > 1]


def class_folders(paths: Sequence[str]) -> Mapping[str, int]:
    """How many pictures each folder has, if every one of them lies in a folder of the first level; else nothing."""
    if not paths or any(path.count('/') != 1 for path in paths):
        return {}
    return Counter(path.partition('/')[0] for path in paths)


@dataclass(frozen=True)
class _Look:
    size: tuple[int, int]
    stored_size: tuple[int, int]
    mode: str


def _look(path: str, min_side: int) -> _Look | str:
    problem = sample_problem(path, min_side=min_side)
    if problem is not None:
        return problem
    with open_image(path) as image:
        stored_size, mode = image.size, image.mode
    return _Look(image_size(path), stored_size, mode)
