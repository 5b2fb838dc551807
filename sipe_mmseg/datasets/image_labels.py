"""Where image-level labels come from: readers that turn files into ``{image key: foreground indices}``.

A reader gets the classes, background first, and returns a sorted tuple of foreground indices for every image it knows:
index ``k`` is class ``k + 1``. An empty tuple is an image in which there is no object. Whatever is wrong with a file is
an error that names the file and the line or key.
"""

import csv
import filecmp
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..refinement.label_values import IGNORE_INDEX
from .image_files import SHOWN_PROBLEMS, Problems, open_image
from .json_files import Pairs, load_json, require_file, unique_keys
from .messages import closest, is_of_machine, short, shown
from .xml_files import parse_xml

Labels = dict[str, tuple[int, ...]]


def foreground_indices(names: Iterable[Any], classes: Sequence[str], where: str) -> tuple[int, ...]:
    """Turns class names into foreground indices.

    Args:
        names: Names of the classes in one image, in any order, repeated or not.
        classes: All classes, background first.
        where: File and line or key, for the error.

    Returns:
        Sorted indices, 0 for ``classes[1]``.

    Raises:
        ValueError: If a name is not a string, or not a foreground class.
    """
    reader = _NameReader(classes)
    indices = reader.indices(names, where)
    reader.report(where)
    return indices


def class_names(indices: Iterable[int], classes: Sequence[str]) -> str:
    """Names of foreground indices, for a message."""
    return ', '.join(classes[index + 1] for index in indices) or 'no object'


def read_voc_xml(
    folder: str, classes: Sequence[str], image_ids: Iterable[str], problems: Problems | None = None
) -> Labels:
    """Reads annotations as in PASCAL VOC: every object counts, those marked ``difficult`` too.

    Args:
        folder: Folder of ``<image id>.xml``.
        classes: All classes, background first.
        image_ids: Images to read; those without a file are left out of the result.
        problems: Takes names that are no classes; None raises an error for them.

    Returns:
        Labels by image id.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If a file is not well-formed, has a document type declaration, or names no class.
    """
    _require_folder(folder)
    labels = {}
    reader = _NameReader(classes)
    for image_id in image_ids:
        path = os.path.join(folder, f'{image_id}.xml')
        if os.path.isfile(path):
            labels[image_id] = reader.indices(_voc_names(path), path)
    reader.report(folder, problems)
    return labels


def read_label_file(path: str, classes: Sequence[str]) -> Labels:
    """Reads a label file of either form that names its images, by :func:`read_json` or :func:`read_csv`.

    Raises:
        ValueError: If its name ends otherwise.
    """
    return (read_csv if _label_format(path) == 'csv' else read_json)(path, classes)


def read_class_names(path: str) -> dict[str, list[str]]:
    """Reads which names a JSON or CSV label file has for which image, whatever the classes are.

    Returns:
        Names of the classes by key as written.

    Raises:
        ValueError: If it is no label file, or a key is there twice with different classes.
    """
    names: dict[str, list[str]] = {}
    rows = _csv_names(path, None) if _label_format(path) == 'csv' else _json_names(path)
    for where, key, found in rows:
        for name in found:
            if not isinstance(name, str):
                raise ValueError(f'{where}: labels are names of classes, not {shown(name)}')
        first = names.setdefault(key, found)
        if set(first) != set(found):
            raise ValueError(f'{where}: appears twice, with {_listed(first)} and with {_listed(found)}')
    return names


def read_json(path: str, classes: Sequence[str], problems: Problems | None = None) -> Labels:
    """Reads ``{"image id, file name or relative path": ["class", ...], ...}``.

    A key may be repeated, as long as it has the same classes.

    Args:
        path: The file.
        classes: All classes, background first.
        problems: Takes names that are no classes; None raises an error for them.

    Returns:
        Labels by key as written.
    """
    labels: Labels = {}
    reader = _NameReader(classes)
    for where, key, names in _json_names(path):
        indices = reader.indices(names, where)
        if labels.setdefault(key, indices) != indices:
            reader.report(path)  # which may be all that is different
            raise ValueError(
                f'{where}: appears twice, with {class_names(labels[key], classes)}'
                f' and with {class_names(indices, classes)}'
            )
    reader.report(path, problems)
    return labels


def read_csv(path: str, classes: Sequence[str], problems: Problems | None = None) -> Labels:
    """Reads a table with one line an image, in UTF-8, separated by commas, in one of two forms.

    ``image,labels`` has the names of the classes, separated by ``;``. ``image,<class>,<class>,...`` has a column for
    every foreground class, in any order, with 0 and 1.

    Args:
        path: The file.
        classes: All classes, background first.
        problems: Takes names that are no classes; None raises an error for them.

    Returns:
        Labels by the image column as written.
    """
    reader = _NameReader(classes)
    labels = {key: reader.indices(names, where) for where, key, names in _csv_names(path, classes)}
    reader.report(path, problems)
    return labels


def read_class_folders(
    root: str, paths: Iterable[str], classes: Sequence[str], problems: Problems | None = None
) -> tuple[Labels, dict[str, str]]:
    """Takes the folder an image lies in for its class.

    An image of several classes lies, under the same name and with the same bytes, in several folders. Files of the same
    name with different bytes are different images. Images in a folder ``background`` have no object.

    Args:
        root: Folder of the class folders.
        paths: The images' paths relative to ``root``, ``<class>/<name>``. Those right in ``root`` have no label.
        classes: All classes, background first.
        problems: Takes folders that are no classes; None raises an error for them.

    Returns:
        Labels by relative path, and the copies: relative path of each further copy of an image -> path of its first
        one, which is the one that has the labels.
    """
    images: dict[str, list[str]] = {}
    members: dict[str, set[str]] = {}
    copies: dict[str, str] = {}
    for path in sorted(paths):
        folder, _, name = path.partition('/')
        if not name:
            continue
        same_name = images.setdefault(name, [])
        full_path = os.path.join(root, path)
        first = next((other for other in same_name if _same_bytes(os.path.join(root, other), full_path)), None)
        if first is None:
            same_name.append(path)
        else:
            copies[path] = first
        members.setdefault(first or path, set()).add(folder)
    reader = _NameReader(classes)
    labels = {
        path: reader.indices(folders - {classes[0]}, f'{os.path.join(root, path)}, its folder')
        for path, folders in members.items()
    }
    reader.report(root, problems)
    return labels, copies


def read_masks(folder: str, classes: Sequence[str], image_ids: Iterable[str], suffix: str = '.png') -> Labels:
    """Draws labels from masks: every class that has a pixel.

    Note that this is more than image-level supervision where a mask was drawn by hand, and that for PASCAL VOC it
    differs from the labels that the field trains on (SIPE, section 4.1, uses image-level labels only).

    Args:
        folder: Folder of ``<image id><suffix>``: palette or 8-bit greyscale images of class indices; 255 is ignored.
        classes: All classes, background first.
        image_ids: Images to read; those without a mask are left out of the result.
        suffix: How the masks' names end.

    Returns:
        Labels by image id.
    """
    _require_folder(folder)
    labels = {}
    for image_id in image_ids:
        path = os.path.join(folder, image_id + suffix)
        try:
            with open_image(path) as image:
                if image.mode not in ('P', 'L'):
                    raise ValueError(
                        f'has mode {image.mode}, but a mask holds class indices: a palette or 8-bit greyscale image'
                    )
                present = np.flatnonzero(image.histogram()[:256])
        except FileNotFoundError:
            continue
        except Exception as error:  # decoders raise errors of every kind on broken bytes
            if is_of_machine(error):
                raise
            raise ValueError(f'{path}: {short(str(error))}') from error
        wrong = [int(value) for value in present if len(classes) <= value != IGNORE_INDEX]
        if wrong:
            raise ValueError(
                f'{path}: value {wrong[0]}, but the classes have the indices 0 to {len(classes) - 1}'
                f' (and {IGNORE_INDEX} is ignored)'
            )
        labels[image_id] = tuple(int(value) - 1 for value in present if 0 < value != IGNORE_INDEX)
    return labels


def read_coco_instances(path: str, classes: Sequence[str]) -> Labels:
    """Reads COCO's ``instances_*.json``: every annotation counts, crowds too.

    Args:
        path: The file.
        classes: Background and the file's categories in the order of their ids.

    Returns:
        Labels by ``file_name``, for every image of the file.
    """
    # Outlines are nine tenths of the file: nothing but what is read below stays in memory while it is parsed.
    kept = {'images', 'annotations', 'categories', 'id', 'name', 'file_name', 'image_id', 'category_id'}

    def slim(pairs: Pairs) -> dict[str, Any]:
        item = unique_keys(pairs)
        return {key: item[key] for key in item.keys() & kept}

    content = load_json(path, slim)
    names = coco_class_names(path, content)
    foreground_indices(names[1:], classes, f'{path}, categories')
    if names != tuple(classes):
        raise ValueError(
            f'{path}, categories: in the order of their ids they are {short(", ".join(names[1:]))}, but the classes are'
            f' {", ".join(classes[1:])}'
        )
    present: dict[Any, set[int]] = {image_id: set() for image_id in coco_images(path, content)}
    for annotation, class_index in coco_annotations(path, content):
        present[annotation['image_id']].add(class_index - 1)
    return {image['file_name']: tuple(sorted(present[image['id']])) for image in content['images']}


def coco_class_names(path: str, content: Any) -> tuple[str, ...]:
    """Background and the categories of a COCO file in the order of their ids.

    Args:
        path: The file, for errors.
        content: What is in the file.
    """
    records = _coco_records(path, content, 'categories', id=_NUMBER, name=_TEXT)
    names = {item['id']: item['name'] for item in records}
    if len(names) < len(records):
        raise ValueError(f'{path}: two categories have the same id')
    return ('background', *(names[category_id] for category_id in sorted(names)))


def coco_images(path: str, content: Any) -> dict[Any, dict[str, Any]]:
    """The images of a COCO file by their id.

    Raises:
        ValueError: If an entry is incomplete, or two have the same id or file name.
    """
    images: dict[Any, dict[str, Any]] = {}
    names: set[str] = set()
    for image in _coco_records(path, content, 'images', id=_ID, file_name=_TEXT):
        for key, known in (('id', images), ('file_name', names)):
            if image[key] in known:
                raise ValueError(f'{path}: two images have the {key} {shown(image[key])}')
        images[image['id']] = image
        names.add(image['file_name'])
    return images


def coco_annotations(path: str, content: Any) -> Iterator[tuple[dict[str, Any], int]]:
    """The annotations of a COCO file, each with its class index.

    The index of a category is its place in the order of ids, from 1: COCO's ids have gaps, class indices have none.

    Raises:
        ValueError: If an annotation is incomplete or names an image or a category that the file does not list.
    """
    images = coco_images(path, content)
    category_ids = sorted(item['id'] for item in _coco_records(path, content, 'categories', id=_NUMBER))
    class_index = {category_id: position for position, category_id in enumerate(category_ids, start=1)}
    for annotation in _coco_records(path, content, 'annotations', image_id=_ID, category_id=_NUMBER):
        for key, known, what in (('image_id', images, 'images'), ('category_id', class_index, 'categories')):
            if annotation[key] not in known:
                raise ValueError(
                    f'{path}, annotation {shown(annotation.get("id"))}: {key} {shown(annotation[key])} is not among '
                    f'the {what}'
                )
        yield annotation, class_index[annotation['category_id']]


def _voc_names(path: str) -> list[str]:
    """Names of the objects of an annotation; objects have parts (head, hand, foot), whose names are not classes."""
    names: list[str] = []
    inside: list[str] = []
    pieces: list[str] | None = None  # of the first name of an object, as long as it has no other one

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal pieces
        inside.append(tag)
        if inside[1:] == ['object']:
            names.append('')
            pieces = []

    def text(piece: str) -> None:
        if inside[1:] == ['object', 'name'] and pieces is not None:
            pieces.append(piece)

    def end(tag: str) -> None:
        nonlocal pieces
        if inside[1:] == ['object', 'name'] and pieces is not None:
            names[-1], pieces = ''.join(pieces).strip(), None
        inside.pop()

    with open(path, 'rb') as file:
        parse_xml(path, file, start=start, end=end, text=text)
    return names


class _Object(list[tuple[str, Any]]):
    """The key-value pairs of a JSON object, repeated keys included."""


_Kind = tuple[str, tuple[type, ...]]  # what to call a value in an error, and what it is
_TEXT: _Kind = ('a text', (str,))
_NUMBER: _Kind = ('a number', (int, float))
_ID: _Kind = ('a number or a text', (int, float, str))


def _coco_records(path: str, content: Any, name: str, /, **kinds: _Kind) -> list[dict[str, Any]]:
    """The list ``name`` of a COCO file, once it is sure that every entry has the keys, with values of their kinds."""
    records = content.get(name) if isinstance(content, Mapping) else None
    if not isinstance(records, list):
        raise ValueError(f"{path}: has no list {name!r}, as COCO's instances files do")
    for position, record in enumerate(records):
        for key, (kind, types) in kinds.items():
            if not isinstance(record, Mapping) or key not in record:
                raise ValueError(f'{path}: entry {position} of {name!r} has no {key!r}')
            if not isinstance(record[key], types):
                raise ValueError(
                    f'{path}: entry {position} of {name!r} has the {key} {shown(record[key])}, which must be {kind}'
                )
    return records


class _NameReader:
    """Turns the names of a whole file into indices, and tells at the end which of them are no classes.

    Of these the first few are kept, each with the place where it stands first; of others only the number.

    Args:
        classes: All classes, background first.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self._index = {name: position - 1 for position, name in enumerate(classes) if position}
        self._wrong: dict[str, tuple[str, int]] = {}  # by name: first place, and number of places
        self._more = 0

    def indices(self, names: Iterable[Any], where: str) -> tuple[int, ...]:
        """Sorted foreground indices of those names that are classes.

        Raises:
            ValueError: If a name is not a string.
        """
        found = set()
        for name in names:
            if not isinstance(name, str):
                raise ValueError(f'{where}: labels are names of classes, not {shown(name)}')
            if name in self._index:
                found.add(self._index[name])
            elif name in self._wrong:
                first, number = self._wrong[name]
                self._wrong[name] = (first, number + (where != first))
            elif len(self._wrong) < SHOWN_PROBLEMS:
                self._wrong[name] = (where, 1)
            else:
                self._more += 1
        return tuple(sorted(found))

    def report(self, source: str, problems: Problems | None = None) -> None:
        """Tell which names are no classes, if any.

        Args:
            source: The file or folder; what the places begin with.
            problems: Takes one entry for all of them; without it they are an error.

        Raises:
            ValueError: If there are some, and no ``problems``.
        """
        if not self._wrong:
            return
        listed = f'The classes are: {", ".join(self._classes[1:])}'
        lines = [
            f'{where}{f" (and {number - 1} more)" if number > 1 else ""}: {self._said_of(name)}'
            for name, (where, number) in self._wrong.items()
        ]
        if len(lines) == 1:
            text = f'{lines[0]} {listed}'
        else:
            lines = [line.removeprefix(source).lstrip(f',: {os.sep}') for line in lines]
            lines += [f'... and {self._more} more'] if self._more else []
            text = '\n    '.join([f'{source}: has names that are no classes. {listed}', *lines])
        if problems is None:
            raise ValueError(text)
        problems.add(text)

    def _said_of(self, name: str) -> str:
        if name == self._classes[0]:
            return f'{name!r} is not a label: images without an object have no label at all.'
        close = closest(name, self._classes[1:])
        return f'{shown(name)} is not a class' + (f'; did you mean {close!r}?' if close else '.')


def _label_format(path: str) -> str:
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in ('.json', '.csv'):
        raise ValueError(f'{path}: a label file ends with .json or .csv, not {suffix or "without a suffix"}')
    return suffix[1:]


def _json_names(path: str) -> Iterator[tuple[str, str, list[Any]]]:
    """Where it stands, key and names of every image of a JSON label file, as they are there."""
    content = load_json(path, _Object)
    if not isinstance(content, _Object):
        raise ValueError(f'{path}: must be one object {{"image": ["class", ...], ...}}, not {_kind(content)}')
    for key, names in content:
        where = f'{path}, key {shown(key)}'
        if isinstance(names, _Object) or not isinstance(names, list):
            raise ValueError(f'{where}: the value must be a list of class names, not {_kind(names)}')
        yield where, key, names


def _csv_names(path: str, classes: Sequence[str] | None) -> Iterator[tuple[str, str, list[str]]]:
    """Where it stands, image and names of every line of a CSV label file.

    Args:
        path: The file.
        classes: All classes, background first, for which a table of 0 and 1 must have columns; None takes its columns
            for the classes.
    """
    rows = _csv_rows(path)
    line, header = next(rows, (1, []))
    if not header or header[0] != 'image' or len(header) < 2:
        raise ValueError(
            f'{path}, line {line}: the header must be "image,labels" or "image,<class>,<class>,...",'
            f' not {shown(",".join(header))}'
        )
    one_hot = header[1:] != ['labels'] or (classes is not None and 'labels' in classes)
    if one_hot and classes is not None:
        _check_columns(header[1:], classes, f'{path}, line {line}')
    lines: dict[str, int] = {}
    for line, row in rows:
        where = f'{path}, line {line}'
        if len(row) != len(header):
            raise ValueError(f'{where}: {len(row)} cells, but the header has {len(header)}')
        key, cells = row[0], row[1:]
        if not key:
            raise ValueError(f'{where}: the image is not named')
        if key in lines:
            raise ValueError(f'{where}: image {shown(key)} is already on line {lines[key]}')
        lines[key] = line
        yield where, key, _marked(cells, header[1:], where) if one_hot else _separated(cells[0])


def _csv_rows(path: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and stripped cells of every line that is not blank."""
    require_file(path)
    with open(path, encoding='utf-8-sig', newline='') as file:
        reader = csv.reader(file, strict=True)
        try:
            for row in reader:
                cells = [cell.strip() for cell in row]
                if any(cells):
                    yield reader.line_num, cells
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f'{path}, line {reader.line_num + 1}: not CSV in UTF-8 ({error})') from error


def _check_columns(columns: Sequence[str], classes: Sequence[str], where: str) -> None:
    foreground_indices(columns, classes, where)
    for position, name in enumerate(columns):
        if name in columns[:position]:
            raise ValueError(f'{where}: column {shown(name)} appears twice')
    missing = [name for name in classes[1:] if name not in columns]
    if missing:
        raise ValueError(f'{where}: no column for {", ".join(missing)}')


def _marked(cells: Sequence[str], columns: Sequence[str], where: str) -> list[str]:
    for cell, column in zip(cells, columns, strict=True):
        if cell not in ('0', '1'):
            raise ValueError(f'{where}, column {shown(column)}: must be 0 or 1, not {shown(cell)}')
    return [column for cell, column in zip(cells, columns, strict=True) if cell == '1']


def _separated(cell: str) -> list[str]:
    return [name.strip() for name in cell.split(';')] if cell else []


def _same_bytes(first: str, second: str) -> bool:
    return filecmp.cmp(first, second, shallow=False)


def _kind(value: Any) -> str:
    return 'an object' if isinstance(value, _Object) else shown(value)


def _listed(names: Sequence[str]) -> str:
    return short(', '.join(sorted(set(names)))) or 'no object'


def _require_folder(path: str) -> None:
    if not os.path.isdir(path):
        raise FileNotFoundError(f'{path}: no such folder')
