"""Which input a label mapping means by which key."""

import pytest

from sipe_mmseg.apis.image_source import image_sources, unmatched_line

CLASSES = ('background', 'cat', 'dog')
PLACES = ('pets/a/1.jpg', 'pets/b/1.jpg', '/home/more/2.png')


def labelled(labels: dict[str, list[str]], images: tuple[str, ...] = PLACES) -> list[list[int] | None]:
    """Foreground indices of each image."""
    return [None if each.labels is None else each.labels.tolist() for each in image_sources(images, labels, CLASSES)]


@pytest.mark.parametrize(
    'key', ['a/1.jpg', 'a/1', 'pets/a/1', 'pets/a/1.jpg', './a/1.jpg', 'pets/../a/1', 'a\\1.jpg', 'pets/b/../a/1.jpg']
)
def test_any_end_of_the_path_will_do(key: str) -> None:
    assert labelled({key: ['dog']}) == [[1], None, None]


@pytest.mark.parametrize('key', ['2', 'more/2', 'home/more/2.png', '/home/more/2', '/home/more/2.png'])
def test_absolute_paths(key: str) -> None:
    assert labelled({key: []}) == [None, None, []]


def test_a_url_by_itself_or_by_its_path() -> None:
    url = 'http://cats.org/more/a.jpg?size=full'
    for key in (url, 'a', 'more/a.jpg'):
        assert labelled({key: ['cat']}, (url,)) == [[0]]


@pytest.mark.parametrize('key', ['1.jpg', '1'])
def test_a_key_of_several_pictures_is_no_answer(key: str) -> None:
    with pytest.raises(ValueError, match=rf'labels: {key} may be pets/a/1\.jpg or pets/b/1\.jpg; write more of'):
        labelled({key: ['dog']})
    assert labelled({key: ['dog'], 'b/1': ['cat']}) == [[1], [0], None], 'the longer one says which'
    assert labelled({key: ['dog']}, ('a/1.jpg', 'a/1.jpg', './a/1.jpg')) == [[1]] * 3, 'one picture again and again'


@pytest.mark.parametrize('key', ['3', 'ets/a/1', 'c/1.jpg', 'a/1.png', 'a'])
def test_other_keys_mean_none(key: str) -> None:
    with pytest.raises(ValueError, match='labels: none of its keys'):
        labelled({key: ['dog']})


def test_keys_without_a_picture_are_told_while_pictures_have_none() -> None:
    assert unmatched_line({'a/1': [], 'b/1.jpg': [], '3': []}, PLACES, 'my.json') == (
        'my.json: 1 of 3 keys names no picture here: 3; 1 picture without labels was left to the classifier (2.png)'
    )
    assert unmatched_line({'more/3': [], 'x': [], 'y': [], 'z': []}, [f'{number}22222.jpg' for number in range(5)]) == (
        'labels: 4 of 4 keys name no picture here: more/3, x, y, ...; '
        '5 pictures without labels were left to the classifier (022222.jpg, 122222.jpg, 222222.jpg, ...)'
    )
    assert '2.jpg (did you mean 2.png?)' in unmatched_line({'2.jpg': []}, PLACES)


def test_nothing_is_told_where_nothing_is_wrong() -> None:
    assert unmatched_line({'a/1': [], 'b/1': [], '2': None, 'of another day': []}, PLACES) == ''
    assert unmatched_line({'a/1': []}, PLACES) == ''
    assert unmatched_line([['cat']] * 3, PLACES) == ''
    assert unmatched_line(None, PLACES) == ''
