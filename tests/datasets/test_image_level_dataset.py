import json

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

import sipe_mmseg  # noqa: F401
from sipe_mmseg.datasets.image_level_dataset import ImageLevelDataset

METAINFO = {'classes': ('background', 'cat', 'dog', 'bird')}


@pytest.fixture
def root(tmp_path):
    """Images a, b, c and sub/d, each with its own pixels, and masks of the same size."""
    for value, name in enumerate(('a.jpg', 'b.jpg', 'c.png', 'sub/d.jpg')):
        image, mask = tmp_path / 'images' / name, (tmp_path / 'masks' / name).with_suffix('.png')
        for path in (image, mask):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (40, 30), (value, value, value)).save(image)
        Image.new('L', (40, 30), value).save(mask)
    return tmp_path


@pytest.fixture
def capture_log(monkeypatch):
    messages = []
    monkeypatch.setattr(
        'sipe_mmseg.datasets.image_level_dataset.print_log', lambda message, logger: messages.append(message)
    )
    return lambda: '\n'.join(messages)


def labels_file(root, name='labels.json', **changes):
    labels = {'a': ['cat', 'dog'], 'b.jpg': ['cat'], 'c.png': ['bird'], 'sub/d': ['dog'], **changes}
    (root / name).write_text(json.dumps({key: value for key, value in labels.items() if value is not None}))
    return {name.rsplit('.')[-1]: name}


def build(root, labels=None, **options):
    defaults = {'data_prefix': {'img_path': 'images'}, 'metainfo': METAINFO}
    if labels is None:
        labels = labels_file(root)
    return ImageLevelDataset(labels, data_root=str(root), **{**defaults, **options})


def labels_by_id(dataset):
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    return {info['img_id']: info['image_labels'].tolist() for info in infos}


class TestSamples:
    def test_all_images_of_the_folder(self, root):
        dataset = build(root)
        assert labels_by_id(dataset) == {'a': [0, 1], 'b': [0], 'c': [2], 'sub/d': [1]}
        info = dataset.get_data_info(0)
        assert info['image_labels'].dtype == np.int64
        del info['image_labels']
        assert info == {
            'img_path': f'{root}/images/a.jpg',
            'img_id': 'a',
            'num_classes': 4,
            'label_map': None,
            'reduce_zero_label': False,
            'seg_fields': [],
            'sample_idx': 0,
        }

    def test_is_registered(self, root):
        config = {'type': 'ImageLevelDataset', 'labels': labels_file(root), 'data_root': str(root)}
        config.update(data_prefix={'img_path': 'images'}, metainfo=METAINFO)
        assert len(DATASETS.build(config)) == 4

    def test_masks_only_when_asked_for(self, root):
        dataset = build(root, data_prefix={'img_path': 'images', 'seg_map_path': 'masks'})
        assert dataset.get_data_info(3)['seg_map_path'] == f'{root}/masks/sub/d.png'
        dataset = build(root, data_prefix={'img_path': 'images', 'seg_map_path': None})
        assert 'seg_map_path' not in dataset.get_data_info(3)

    def test_pseudo_labels_lie_where_we_work(self, root, monkeypatch):
        monkeypatch.chdir(root)
        dataset = build(root, {}, pseudo_labels='masks')
        assert dataset.get_data_info(3)['seg_map_path'] == f'{root}/masks/sub/d.png'
        assert 'image_labels' not in dataset.get_data_info(3)
        with pytest.raises(ValueError, match=r'pseudo_labels=.* and data_prefix\.seg_map_path=.* give one of them'):
            build(root, data_prefix={'img_path': 'images', 'seg_map_path': 'masks'}, pseudo_labels='masks')
        with pytest.raises(FileNotFoundError, match="pseudo_labels: there is no folder 'labels'"):
            build(root, pseudo_labels='labels')

    def test_no_mask_is_opened_in_training(self, root):
        for path in root.glob('masks/**/*.png'):
            path.write_bytes(b'no image')
        assert len(build(root)) == 4

    def test_list_gives_images_and_order(self, root):
        (root / 'list.txt').write_text('\nsub/d\n\nb.jpg\n a \n')
        dataset = build(root, ann_file='list.txt')
        assert list(labels_by_id(dataset).items()) == [('sub/d', [1]), ('b', [0]), ('a', [0, 1])]

    def test_labels_of_images_not_listed_do_not_matter(self, root):
        (root / 'list.txt').write_text('a\n')
        labels = labels_file(root, b=['dog'], no_such_image=['cat'])
        with pytest.raises(ValueError, match=r"'b\.jpg' and 'b' are the same image, with different labels: cat; dog"):
            build(root, labels, ann_file='list.txt')
        labels = labels_file(root, no_such_image=['cat'])
        assert labels_by_id(build(root, labels, ann_file='list.txt')) == {'a': [0, 1]}

    def test_indices_and_lazy_init(self, root):
        assert len(build(root, indices=2)) == 2
        (root / 'labels.json').unlink()
        dataset = build(root, {'json': 'labels.json'}, lazy_init=True)
        with pytest.raises(FileNotFoundError, match=r'labels\.json: no such file'):
            dataset.full_init()

    def test_absolute_paths(self, root):
        labels = {'json': str(root / labels_file(root)['json'])}
        dataset = ImageLevelDataset(labels, data_prefix={'img_path': str(root / 'images')}, metainfo=METAINFO)
        assert len(dataset) == 4

    def test_prediction_without_labels(self, root):
        for labels in (None, {}, {'json': None}):
            dataset = ImageLevelDataset(
                labels,
                data_root=str(root),
                data_prefix={'img_path': 'images'},
                metainfo=METAINFO,
                test_mode=True,
            )
            assert [dataset.get_data_info(index)['img_id'] for index in range(4)] == ['a', 'b', 'c', 'sub/d']
            assert 'image_labels' not in dataset.get_data_info(0)


class TestSources:
    def test_csv(self, root):
        (root / 'labels.csv').write_text('image,labels\na,cat\nb,dog\nc,bird\nsub/d.jpg,cat;dog\n')
        assert labels_by_id(build(root, {'csv': 'labels.csv'})) == {'a': [0], 'b': [1], 'c': [2], 'sub/d': [0, 1]}

    def test_xml(self, root):
        (root / 'xml' / 'sub').mkdir(parents=True)
        for image_id in ('a', 'b', 'c', 'sub/d'):
            (root / 'xml' / f'{image_id}.xml').write_text('<annotation><object><name>dog</name></object></annotation>')
        assert labels_by_id(build(root, {'xml': 'xml'})) == {'a': [1], 'b': [1], 'c': [1], 'sub/d': [1]}

    def test_masks(self, root):
        # The masks have one value each: 0 (nothing but background) to 3.
        dataset = build(root, {'masks': 'masks'}, on_unlabelled='drop')
        assert labels_by_id(dataset) == {'b': [0], 'c': [1], 'sub/d': [2]}

    def test_coco(self, root):
        content = {
            'categories': [{'id': 3, 'name': 'cat'}, {'id': 5, 'name': 'dog'}, {'id': 9, 'name': 'bird'}],
            'images': [
                {'id': index, 'file_name': name} for index, name in enumerate(('a.jpg', 'b.jpg', 'c.png', 'sub/d.jpg'))
            ],
            'annotations': [{'id': index, 'image_id': index, 'category_id': 5} for index in range(3)],
        }
        (root / 'instances.json').write_text(json.dumps(content))
        dataset = build(root, {'coco': 'instances.json'}, on_unlabelled='keep')
        assert labels_by_id(dataset) == {'a': [1], 'b': [1], 'c': [1], 'sub/d': []}

    def test_folders(self, tmp_path):
        for name, value in (('cat/1.png', 1), ('dog/1.png', 1), ('bird/1.png', 9), ('dog/2.png', 2)):
            (tmp_path / 'images' / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new('L', (20, 20), value).save(tmp_path / 'images' / name)
        dataset = ImageLevelDataset({'folders': 'images'}, data_root=str(tmp_path), metainfo=METAINFO)
        assert labels_by_id(dataset) == {'bird/1': [2], 'cat/1': [0, 1], 'dog/2': [1]}

        # A list may name any of the copies.
        (tmp_path / 'list.txt').write_text('dog/2\ndog/1.png\n')
        dataset = ImageLevelDataset({'folders': 'images'}, 'list.txt', str(tmp_path), metainfo=METAINFO)
        assert labels_by_id(dataset) == {'dog/2': [1], 'cat/1': [0, 1]}

    def test_folders_are_the_image_folder(self, root):
        with pytest.raises(ValueError, match=r'labels: folders=.*masks must be the image folder, which is .*images'):
            build(root, {'folders': 'masks'})

    def test_sources_agree(self, root):
        (root / 'labels.csv').write_text('image,cat,dog,bird\na.jpg,1,1,0\n')
        dataset = build(root, {**labels_file(root), 'csv': 'labels.csv'})
        assert labels_by_id(dataset)['a'] == [0, 1]

    def test_sources_disagree(self, root):
        (root / 'labels.csv').write_text('image,labels\nb,cat\na,bird;cat\n')
        with pytest.raises(ValueError) as caught:
            build(root, {**labels_file(root), 'csv': 'labels.csv'})
        assert str(caught.value) == (
            f'a.jpg: two label sources disagree: json {root}/labels.json has cat, dog;'
            f' csv {root}/labels.csv has cat, bird'
        )

    def test_no_object_is_a_statement_too(self, root):
        (root / 'labels.csv').write_text('image,labels\na,\n')
        with pytest.raises(ValueError, match=r'disagree: json .* has cat, dog; csv .* has no object'):
            build(root, {**labels_file(root), 'csv': 'labels.csv'})

    def test_none_removes_a_source(self, root):
        assert len(build(root, {'xml': None, **labels_file(root)})) == 4

    def test_unknown_source(self, root):
        with pytest.raises(ValueError, match="labels: no source is called 'jsno'; there are xml, json, csv"):
            build(root, {'jsno': 'labels.json'})

    def test_training_needs_labels(self, root):
        with pytest.raises(ValueError, match='labels: training needs at least one source of image-level labels'):
            build(root, {})

    def test_wrong_class(self, root):
        labels = labels_file(root, b=None, **{'b.jpg': ['kat']})
        with pytest.raises(ValueError, match=r"labels\.json, key 'b\.jpg': 'kat' is not a class; did you mean 'cat'\?"):
            build(root, labels)

    def test_wrong_classes_and_images_that_are_not_there_are_told_at_once(self, root):
        (root / 'labels.csv').write_text('image,labels\na.jpg,Cat;ring\nb.jpg,cat\ngone.jpg,cat\n')
        with pytest.raises(ValueError) as caught:
            build(root, {'csv': 'labels.csv'})
        lines = str(caught.value).splitlines()
        assert lines[0] == f'ImageLevelDataset ({root}/images): 2 problems'
        assert lines[1].startswith(f'  {root}/labels.csv: has names that are no classes. The classes are: cat, ')
        assert lines[2] == "    line 2: 'Cat' is not a class; did you mean 'cat'?"
        assert lines[3] == "    line 2: 'ring' is not a class."
        assert lines[4] == f"  csv {root}/labels.csv, 'gone.jpg': no such image in {root}/images"
        assert len(lines) == 5, 'images with a wrong label are not said to have none'


class TestUnlabelled:
    @pytest.mark.parametrize('changes', [{'c.png': None}, {'c.png': []}])
    def test_error_counts_and_names(self, root, changes):
        with pytest.raises(
            ValueError, match=r'1 of 4 images have no label in json .*labels\.json \(c\.png\); on_unlabelled='
        ):
            build(root, labels_file(root, **changes))

    @pytest.mark.parametrize('changes', [{'c.png': None}, {'c.png': []}])
    def test_drop(self, root, changes, capture_log):
        dataset = build(root, labels_file(root, **changes), on_unlabelled='drop')
        assert list(labels_by_id(dataset)) == ['a', 'b', 'sub/d']
        assert f'1 of 4 images have no label in json {root}/labels.json (c.png) and are left out' in capture_log()

    @pytest.mark.parametrize('changes', [{'c.png': None}, {'c.png': []}])
    def test_keep(self, root, changes, capture_log):
        dataset = build(root, labels_file(root, **changes), on_unlabelled='keep')
        assert labels_by_id(dataset)['c'] == []
        assert (
            f'1 of 4 images have no label in json {root}/labels.json (c.png) and are taken for background only'
            in capture_log()
        )

    def test_dropped_images_are_not_checked(self, root):
        (root / 'images' / 'c.png').write_bytes(b'no image')
        assert len(build(root, labels_file(root, **{'c.png': None}), on_unlabelled='drop')) == 3

    def test_a_source_that_knows_no_image(self, root):
        (root / 'labels.csv').write_text('image,labels\nimages/a.jpg,cat\n')
        (root / 'list.txt').write_text('a\n')
        with pytest.raises(ValueError, match=r'csv .*labels\.csv: knows none of the images; images are named by'):
            build(root, {'csv': 'labels.csv'}, ann_file='list.txt', on_unlabelled='keep')

    def test_wrong_option(self, root):
        with pytest.raises(ValueError, match=r"on_unlabelled must be one of \('error', 'drop', .*\), not 'ignore'"):
            build(root, on_unlabelled='ignore')

    @pytest.mark.parametrize('changes', [{'c.png': None}, {'c.png': []}])
    def test_predict_leaves_the_label_out(self, root, changes, capture_log):
        dataset = build(root, labels_file(root, **changes), on_unlabelled='predict', test_mode=True)
        without = [
            info['img_id'] for info in map(dataset.get_data_info, range(len(dataset))) if 'image_labels' not in info
        ]
        assert without == ['c']
        assert 'are left to the classifier' in capture_log()

    def test_predict_is_not_for_training(self, root):
        with pytest.raises(ValueError, match=r"on_unlabelled='predict' .* needs test_mode=True"):
            build(root, on_unlabelled='predict')

    def test_labels_without_their_kind(self, root):
        with pytest.raises(TypeError, match=r"such as dict\(json='labels.json'\), not 'labels.json'"):
            build(root, 'labels.json')


class TestCheck:
    def test_all_problems_in_one_error(self, root):
        (root / 'list.txt').write_text('a\nx.jpg\nb\na.jpg\nc\n')
        (root / 'images' / 'b.jpg').write_bytes((root / 'images' / 'b.jpg').read_bytes()[:-20])
        Image.new('RGB', (40, 12)).save(root / 'images' / 'c.png')
        with pytest.raises(ValueError) as caught:
            build(root, labels_file(root, a=None), ann_file='list.txt')
        lines = str(caught.value).splitlines()
        assert lines[0] == f'ImageLevelDataset ({root}/images): 5 problems'
        assert lines[1].startswith(f'  1 of 3 images have no label in json {root}/labels.json (a.jpg);')
        assert lines[2] == f"  {root}/list.txt, line 2: no image 'x.jpg' in {root}/images"
        assert lines[3] == f"  {root}/list.txt, line 4: 'a.jpg' is already on line 1"
        assert lines[4].startswith(f'  {root}/images/b.jpg: not a readable image')
        assert lines[5] == f'  {root}/images/c.png: 40x12 pixels, but both sides must have at least 16'

    def test_label_without_image(self, root):
        with pytest.raises(ValueError, match=r"json .*labels\.json, 'e\.jpg': no such image in .*images"):
            build(root, labels_file(root, **{'e.jpg': ['cat']}))

    def test_mask_of_another_size(self, root):
        Image.new('L', (30, 40)).save(root / 'masks' / 'b.png')
        with pytest.raises(ValueError, match=r'masks/b\.png: 30x40 pixels, but its image .*b\.jpg has 40x30'):
            build(root, data_prefix={'img_path': 'images', 'seg_map_path': 'masks'})

    def test_can_be_left_out(self, root):
        (root / 'images' / 'b.jpg').write_bytes(b'no image')
        assert len(build(root, check_files=False)) == 4

    def test_smallest_side_is_an_option(self, root):
        with pytest.raises(ValueError, match=r'a\.jpg: 40x30 pixels, but both sides must have at least 32'):
            build(root, min_side=32)

    def test_images_that_share_their_id(self, root):
        Image.new('RGB', (40, 30)).save(root / 'images' / 'a.png')
        labels = labels_file(root, a=None, **{'a.jpg': ['cat'], 'a.png': ['dog']})
        with pytest.raises(ValueError, match=r'images/a\.png: differs from a\.jpg in its suffix only; rename'):
            build(root, labels)
        (root / 'list.txt').write_text('b\na.png\n')
        assert labels_by_id(build(root, labels, ann_file='list.txt')) == {'b': [0], 'a': [1]}

    def test_nothing_left(self, root):
        labels = labels_file(root, **{'a': [], 'b.jpg': [], 'c.png': [], 'sub/d': []})
        with pytest.raises(ValueError, match=r'no sample is left of 4 images \(.*images, 4 without labels\)'):
            build(root, labels, on_unlabelled='drop')
        (root / 'list.txt').write_text('\n')
        with pytest.raises(ValueError, match=r'no sample is left of 0 images \(.*list\.txt'):
            build(root, ann_file='list.txt')

    def test_missing_list_or_folder(self, root):
        with pytest.raises(FileNotFoundError, match=r'ann_file .*list\.txt: no such file'):
            build(root, ann_file='list.txt')
        with pytest.raises(FileNotFoundError, match=r"no image folder '.*pictures'.*data_prefix.img_path"):
            build(root, data_prefix={'img_path': 'pictures'})


class TestClasses:
    @pytest.mark.parametrize(
        ('classes', 'message'),
        [
            (('cat', 'dog', 'background'), "the first class must be 'background', not 'cat'"),
            (('background', 'cat', 'cat'), 'classes must be different names'),
            (('background', 1), 'classes must be different names'),
            (('background',), 'classes must be a list of names'),
            (None, 'classes must be a list of names'),
            (('background', *map(str, range(255))), '256 classes, but label maps have room for 255'),
        ],
    )
    def test_wrong_classes(self, root, classes, message):
        with pytest.raises(ValueError, match=f'metainfo: {message}'):
            build(root, metainfo={'classes': classes})

    def test_palette(self, root):
        assert build(root).metainfo['palette'] == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
        palette = [[1, 2, 3]] * 4
        assert build(root, metainfo={**METAINFO, 'palette': palette}).metainfo['palette'] == palette

    def test_background_cannot_be_taken_away(self, root):
        with pytest.raises(ValueError, match='reduce_zero_label: index 0 is the background'):
            build(root, reduce_zero_label=True)


class TestPipeline:
    def test_runs(self, root):
        dataset = build(root, pipeline=[{'type': 'LoadImageFromFile'}])
        assert dataset[1]['img'].shape == (30, 40, 3)

    def test_greyscale_rgba_and_16_bit_images_come_as_8_bit_colour(self, root):
        grey = np.arange(30 * 40, dtype=np.uint8).reshape(30, 40)
        Image.fromarray(grey).save(root / 'images' / 'c.png')
        dataset = build(root, pipeline=[{'type': 'LoadImageFromFile'}])
        expected = np.stack([grey] * 3, axis=-1)
        np.testing.assert_array_equal(dataset[2]['img'], expected)
        alpha = np.full_like(grey, 7)
        Image.fromarray(np.dstack([expected, alpha]), 'RGBA').save(root / 'images' / 'c.png')
        np.testing.assert_array_equal(dataset[2]['img'], expected)
        Image.fromarray(grey.astype(np.uint16) * 257).save(root / 'images' / 'c.png')
        np.testing.assert_array_equal(dataset[2]['img'], expected)

    def test_an_empty_result_is_an_error(self, root):
        dataset = build(root, pipeline=[lambda results: None])
        with pytest.raises(RuntimeError, match=r'images/b\.jpg: the pipeline returned no sample'):
            dataset[1]

    def test_a_loading_error_is_an_error(self, root):
        dataset = build(root, pipeline=[{'type': 'LoadImageFromFile'}])
        (root / 'images' / 'b.jpg').unlink()
        with pytest.raises(FileNotFoundError, match=r'b\.jpg'):
            dataset[1]
