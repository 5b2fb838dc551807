import json

import numpy as np
import pytest
from PIL import Image

import sipe_mmseg  # noqa: F401
from sipe_mmseg.datasets.image_files import Problems
from sipe_mmseg.datasets.image_labels import (
    foreground_indices,
    read_class_folders,
    read_coco_instances,
    read_csv,
    read_json,
    read_masks,
    read_voc_xml,
)

CLASSES = ('background', 'cat', 'dog', 'pottedplant')


@pytest.fixture
def write(tmp_path):
    def write_file(name, content, encoding='utf-8'):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding=encoding)
        return str(path)

    return write_file


class TestForegroundIndices:
    def test_sorts_and_unites(self):
        assert foreground_indices(['dog', 'cat', 'dog'], CLASSES, 'here') == (0, 1)
        assert foreground_indices([], CLASSES, 'here') == ()

    def test_permuting_classes_permutes_indices(self):
        assert foreground_indices(['dog'], ('background', 'dog', 'cat'), 'here') == (0,)
        assert foreground_indices(['dog'], ('background', 'cat', 'dog'), 'here') == (1,)

    @pytest.mark.parametrize(
        ('wrong', 'right'), [('Dog', 'dog'), ('DOG', 'dog'), ('potted plant', 'pottedplant'), ('catt', 'cat')]
    )
    def test_names_place_closest_class_and_all_classes(self, wrong, right):
        with pytest.raises(
            ValueError, match=rf"labels.csv, line 7: '{wrong}' is not a class; did you mean '{right}'\?"
        ):
            foreground_indices([wrong], CLASSES, 'labels.csv, line 7')
        with pytest.raises(ValueError, match='The classes are: cat, dog, pottedplant'):
            foreground_indices([wrong], CLASSES, 'here')

    def test_no_suggestion_when_nothing_is_close(self):
        with pytest.raises(ValueError, match=r"here: 'xyzzy' is not a class\. The classes are"):
            foreground_indices(['xyzzy'], CLASSES, 'here')

    def test_background_is_no_label(self):
        with pytest.raises(ValueError, match="here: 'background' is not a label"):
            foreground_indices(['background'], CLASSES, 'here')

    def test_indices_are_no_names(self):
        with pytest.raises(ValueError, match='here: labels are names of classes, not 3'):
            foreground_indices([3], CLASSES, 'here')


class TestWrongNames:
    def test_all_of_a_file_are_told_at_once(self, write):
        path = write('labels.csv', 'image,labels\na,Dog;kat\nb,Dog;cat;xyzzy\nc,Dog\n')
        with pytest.raises(ValueError) as caught:
            read_csv(path, CLASSES)
        assert str(caught.value).splitlines() == [
            f'{path}: has names that are no classes. The classes are: cat, dog, pottedplant',
            "    line 2 (and 2 more): 'Dog' is not a class; did you mean 'dog'?",
            "    line 2: 'kat' is not a class; did you mean 'cat'?",
            "    line 3: 'xyzzy' is not a class.",
        ]

    def test_of_many_the_first_ten_are_shown_and_kept(self, write):
        path = write('labels.json', {f'image {number}': [f'name {number}'] for number in range(1000)})
        problems = Problems()
        assert len(read_json(path, CLASSES, problems)) == 1000
        (problem,) = problems
        lines = problem.splitlines()
        assert len(lines) == 12
        assert lines[10].startswith("    key 'image 9': 'name 9' is not a class")
        assert lines[11] == '    ... and 990 more'

    def test_a_name_that_is_wrong_once_is_no_other_label(self, write):
        path = write('labels.json', '{"a": ["Dog"], "a": ["dog"]}')
        with pytest.raises(ValueError, match=r"key 'a': 'Dog' is not a class; did you mean 'dog'\?"):
            read_json(path, CLASSES)

    def test_of_several_annotations(self, write, tmp_path):
        for name, wrong in (('a', 'dgo'), ('b', 'kat')):
            write(f'{name}.xml', f'<annotation><object><name>{wrong}</name></object></annotation>')
        with pytest.raises(ValueError, match=r"(?s)no classes.*a\.xml: 'dgo' is .*b\.xml: 'kat' is"):
            read_voc_xml(str(tmp_path), CLASSES, ['a', 'b'])


class TestVocXml:
    @staticmethod
    def xml(*objects):
        return f'<annotation><filename>a.jpg</filename>{"".join(objects)}</annotation>'

    def test_counts_difficult_objects_but_no_parts(self, write, tmp_path):
        part = '<part><name>head</name><bndbox/></part>'
        cat = f'<object><name>cat</name><difficult>0</difficult>{part}</object>'
        dog = '<object><name> dog </name><difficult>1</difficult></object>'
        write('a.xml', self.xml(cat, dog, dog))
        write('b.xml', self.xml())
        assert read_voc_xml(str(tmp_path), CLASSES, ['a', 'b', 'no_such_file']) == {'a': (0, 1), 'b': ()}

    def test_wrong_class(self, write, tmp_path):
        write('a.xml', self.xml('<object><name>dgo</name></object>'))
        with pytest.raises(ValueError, match=r"a\.xml: 'dgo' is not a class; did you mean 'dog'\?"):
            read_voc_xml(str(tmp_path), CLASSES, ['a'])

    def test_object_without_name(self, write, tmp_path):
        write('a.xml', self.xml('<object><part><name>head</name></part></object>'))
        with pytest.raises(ValueError, match=r"a\.xml: '' is not a class"):
            read_voc_xml(str(tmp_path), CLASSES, ['a'])

    def test_broken_file(self, write, tmp_path):
        write('a.xml', '<annotation><object>')
        with pytest.raises(ValueError, match=r'a\.xml: not well-formed XML'):
            read_voc_xml(str(tmp_path), CLASSES, ['a'])

    def test_missing_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match='Annotations: no such folder'):
            read_voc_xml(str(tmp_path / 'Annotations'), CLASSES, ['a'])


class TestJson:
    @pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig'])
    def test_reads(self, write, encoding):
        path = write('labels.json', '{"a": ["dog", "cat"], "sub/é.jpg": [], "a": ["cat", "dog"]}', encoding)
        assert read_json(path, CLASSES) == {'a': (0, 1), 'sub/é.jpg': ()}

    def test_wrong_class_names_file_and_key(self, write):
        path = write('labels.json', {'a': ['cat'], 'b': ['dgo']})
        with pytest.raises(ValueError, match=r"labels\.json, key 'b': 'dgo' is not a class; did you mean 'dog'\?"):
            read_json(path, CLASSES)

    def test_same_key_with_other_labels(self, write):
        path = write('labels.json', '{"a": ["dog"], "a": []}')
        with pytest.raises(ValueError, match=r"labels\.json, key 'a': appears twice, with dog and with no object"):
            read_json(path, CLASSES)

    @pytest.mark.parametrize(
        ('value', 'shown'), [('"cat"', "'cat'"), ('{"cat": 1}', 'an object'), ('null', 'None'), ('1', '1')]
    )
    def test_wrong_value(self, write, value, shown):
        path = write('labels.json', f'{{"a": {value}}}')
        with pytest.raises(ValueError, match=rf"labels\.json, key 'a': the value must be a list .*, not {shown}"):
            read_json(path, CLASSES)

    def test_wrong_entry(self, write):
        path = write('labels.json', {'a': ['cat', 2]})
        with pytest.raises(ValueError, match=r"labels\.json, key 'a': labels are names of classes, not 2"):
            read_json(path, CLASSES)

    def test_not_an_object(self, write):
        with pytest.raises(ValueError, match=r'labels\.json: must be one object'):
            read_json(write('labels.json', [['a', ['cat']]]), CLASSES)

    def test_not_json(self, write):
        with pytest.raises(ValueError, match=r'labels\.json: not JSON in UTF-8 .*line 1'):
            read_json(write('labels.json', '{"a": ["cat"],}'), CLASSES)

    def test_not_utf8(self, write):
        with pytest.raises(ValueError, match=r'labels\.json: not JSON in UTF-8'):
            read_json(write('labels.json', '{"é": []}', 'latin-1'), CLASSES)

    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r'labels\.json: no such file'):
            read_json(str(tmp_path / 'labels.json'), CLASSES)


class TestCsv:
    @pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig'])
    def test_list_of_names(self, write, encoding):
        path = write('labels.csv', 'image,labels\na.jpg,cat; dog\n\n"b,c.jpg",\n', encoding)
        assert read_csv(path, CLASSES) == {'a.jpg': (0, 1), 'b,c.jpg': ()}

    def test_one_column_a_class(self, write):
        path = write('labels.csv', 'image,pottedplant,cat,dog\r\na,1,0,1\r\nb, 0,0,0\r\n')
        assert read_csv(path, CLASSES) == {'a': (1, 2), 'b': ()}

    def test_a_class_may_be_called_labels(self, write):
        assert read_csv(write('labels.csv', 'image,labels\na,1\n'), ('background', 'labels')) == {'a': (0,)}

    @pytest.mark.parametrize(
        ('content', 'message'),
        [
            ('image,labels\na,cat\nb,dgo\n', r"line 3: 'dgo' is not a class; did you mean 'dog'\?"),
            ('image,labels\na,cat;\n', r"line 2: '' is not a class"),
            ('image,labels\na,cat\n\n\na,dog\n', r"line 5: image 'a' is already on line 2"),
            ('image,labels\na,cat,dog\n', r'line 2: 3 cells, but the header has 2'),
            ('image,labels\n,cat\n', r'line 2: the image is not named'),
            ('image,cat,dog,pottedplant\na,1,0,yes\n', r"line 2, column 'pottedplant': must be 0 or 1, not 'yes'"),
            ('image,cat,dog,potted\n', r"line 1: 'potted' is not a class; did you mean 'pottedplant'\?"),
            ('image,cat,dog\n', r'line 1: no column for pottedplant'),
            ('image,cat,dog,dog,pottedplant\n', r"line 1: column 'dog' appears twice"),
            ('file,labels\n', r'line 1: the header must be "image,labels" or .*not \'file,labels\''),
            ('image;labels\na;cat\n', r'line 1: the header must be'),
            ('', r'line 1: the header must be'),
            ('image,labels\n"a,cat\n', r'line \d: not CSV in UTF-8'),
        ],
    )
    def test_errors_carry_the_line(self, write, content, message):
        with pytest.raises(ValueError, match=r'labels\.csv, ' + message):
            read_csv(write('labels.csv', content), CLASSES)

    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r'labels\.csv: no such file'):
            read_csv(str(tmp_path / 'labels.csv'), CLASSES)


class TestClassFolders:
    def test_same_bytes_are_one_image_of_several_classes(self, write, tmp_path):
        contents = {
            'cat/1.jpg': 'one',
            'dog/1.jpg': 'one',
            'pottedplant/1.jpg': 'other',
            'dog/2.jpg': 'two',
            'background/3.jpg': 'three',
            'cat/deep/4.jpg': 'one',
            'stray.jpg': 'stray',
        }
        for path, content in contents.items():
            write(path, content)
        labels, copies = read_class_folders(str(tmp_path), list(contents), CLASSES)
        assert labels == {
            'cat/1.jpg': (0, 1),
            'pottedplant/1.jpg': (2,),
            'dog/2.jpg': (1,),
            'background/3.jpg': (),
            'cat/deep/4.jpg': (0,),
        }
        assert copies == {'dog/1.jpg': 'cat/1.jpg'}

    def test_wrong_folder(self, write, tmp_path):
        write('dogs/1.jpg', 'one')
        with pytest.raises(ValueError, match=r"dogs/1\.jpg, its folder: 'dogs' is not a class; did you mean 'dog'\?"):
            read_class_folders(str(tmp_path), ['dogs/1.jpg'], CLASSES)


class TestMasks:
    @staticmethod
    def save(path, values, mode='L'):
        Image.fromarray(np.asarray(values, dtype=np.uint8)).convert(mode).save(path)

    def test_classes_present(self, tmp_path):
        self.save(tmp_path / 'a.png', [[0, 1, 255], [3, 3, 0]])
        self.save(tmp_path / 'b.png', [[0, 255]])
        palette = Image.fromarray(np.array([[2, 0]], dtype=np.uint8))
        palette = palette.convert('P')
        palette.putdata([2, 0])
        palette.save(tmp_path / 'c.png')
        found = read_masks(str(tmp_path), CLASSES, ['a', 'b', 'c', 'no_such_file'])
        assert found == {'a': (0, 2), 'b': (), 'c': (1,)}

    def test_value_beyond_the_classes(self, tmp_path):
        self.save(tmp_path / 'a.png', [[0, 4, 9]])
        with pytest.raises(ValueError, match=r'a\.png: value 4, but the classes have the indices 0 to 3'):
            read_masks(str(tmp_path), CLASSES, ['a'])

    def test_colours_are_no_indices(self, tmp_path):
        self.save(tmp_path / 'a.png', [[0, 4, 9]], 'RGB')
        with pytest.raises(ValueError, match=r'a\.png: has mode RGB, but a mask holds class indices: a palette'):
            read_masks(str(tmp_path), CLASSES, ['a'])

    def test_unreadable(self, tmp_path):
        (tmp_path / 'a.png').write_bytes(b'no image')
        with pytest.raises(ValueError, match=r'a\.png: cannot identify'):
            read_masks(str(tmp_path), CLASSES, ['a'])


class TestCocoInstances:
    @staticmethod
    def content(**changes):
        content = {
            # Ids with a gap, not in order.
            'categories': [
                {'id': 90, 'name': 'pottedplant'},
                {'id': 1, 'name': 'cat'},
                {'id': 18, 'name': 'dog'},
            ],
            'images': [{'id': 5, 'file_name': 'e.jpg'}, {'id': 4, 'file_name': 'd.jpg'}],
            'annotations': [
                {'id': 1, 'image_id': 5, 'category_id': 90, 'iscrowd': 0, 'segmentation': [[0, 0, 1, 0, 1, 1]]},
                {'id': 2, 'image_id': 5, 'category_id': 18, 'iscrowd': 1, 'segmentation': {'counts': [], 'size': []}},
                {'id': 3, 'image_id': 5, 'category_id': 90, 'iscrowd': 0, 'segmentation': []},
            ],
        }
        return {**content, **changes}

    def test_contiguous_indices_crowds_and_empty_images(self, write):
        path = write('instances.json', self.content())
        assert read_coco_instances(path, CLASSES) == {'e.jpg': (1, 2), 'd.jpg': ()}

    def test_categories_must_be_the_classes_in_order(self, write):
        path = write('instances.json', self.content())
        with pytest.raises(
            ValueError, match=r'instances\.json, categories: in the order of their ids they are cat, dog'
        ):
            read_coco_instances(path, ('background', 'dog', 'cat', 'pottedplant'))
        with pytest.raises(
            ValueError, match=r"instances\.json, categories: 'pottedplant' is not a class; did you mean"
        ):
            read_coco_instances(path, ('background', 'cat', 'dog', 'potted plant'))

    @pytest.mark.parametrize(
        ('changes', 'message'),
        [
            ({'annotations': [{'id': 7, 'image_id': 9, 'category_id': 1}]}, 'annotation 7: image_id 9 is not among'),
            ({'annotations': [{'id': 7, 'image_id': 5, 'category_id': 2}]}, 'annotation 7: category_id 2 is not among'),
            ({'annotations': [{'id': 7, 'image_id': 5}]}, "entry 0 of 'annotations' has no 'category_id'"),
            ({'images': None}, "has no list 'images'"),
            (
                {'images': [{'id': 1, 'file_name': 7}]},
                "entry 0 of 'images' has the file_name 7, which must be a text",
            ),
            ({'images': [{'id': [1], 'file_name': 'a'}]}, r'has the id \[1\], which must be a number or a text'),
            ({'annotations': [{'id': 7, 'image_id': {}, 'category_id': 1}]}, 'has the image_id {}, which must be a'),
            ({'annotations': [{'id': 7, 'image_id': 5, 'category_id': '1'}]}, "has the category_id '1', which must be"),
            ({'categories': [{'id': 1, 'name': None}]}, 'has the name None, which must be a text'),
            ({'images': [{'id': 1, 'file_name': 'a'}] * 2}, 'two images have the id 1'),
            (
                {'images': [{'id': 1, 'file_name': 'a'}, {'id': 2, 'file_name': 'a'}]},
                "two images have the file_name 'a'",
            ),
        ],
    )
    def test_errors(self, write, changes, message):
        path = write('instances.json', self.content(**changes))
        with pytest.raises(ValueError, match=rf'instances\.json.*{message}'):
            read_coco_instances(path, CLASSES)
