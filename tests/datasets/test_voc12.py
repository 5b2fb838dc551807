from importlib import resources

import pytest
from mmseg.datasets import PascalVOCDataset
from mmseg.registry import DATASETS
from PIL import Image

import sipe_mmseg  # noqa: F401
from sipe_mmseg.datasets.palette import voc_palette
from sipe_mmseg.datasets.voc12 import VOC12ImageLevelDataset


def shipped_list(name):
    return (resources.files('sipe_mmseg.datasets') / 'lists' / f'voc12_{name}.txt').read_text().split()


@pytest.fixture
def root(tmp_path):
    """The devkit's layout with the first three train images and the first val image."""
    objects = {
        '2007_000032': ['aeroplane', 'person'],
        '2007_000039': ['tvmonitor'],
        '2007_000063': ['dog', 'chair', 'dog'],
        '2007_000033': ['aeroplane'],
    }
    for folder in ('JPEGImages', 'Annotations', 'SegmentationClass'):
        (tmp_path / folder).mkdir()
    for image_id, names in objects.items():
        Image.new('RGB', (50, 40)).save(tmp_path / 'JPEGImages' / f'{image_id}.jpg')
        Image.new('P', (50, 40)).save(tmp_path / 'SegmentationClass' / f'{image_id}.png')
        content = ''.join(
            f'<object><name>{name}</name><difficult>{number % 2}</difficult><part><name>head</name></part></object>'
            for number, name in enumerate(names)
        )
        (tmp_path / 'Annotations' / f'{image_id}.xml').write_text(f'<annotation>{content}</annotation>')
    (tmp_path / 'list.txt').write_text('2007_000063\n2007_000032\n')
    return tmp_path


def test_shipped_lists():
    train, val, trainaug = (shipped_list(name) for name in ('train', 'val', 'trainaug'))
    assert [len(set(ids)) for ids in (train, val, trainaug)] == [1464, 1449, 10582]
    assert set(train) < set(trainaug)
    assert not set(val) & set(trainaug)


@pytest.mark.parametrize(('name', 'number'), [('train', 1461), ('val', 1448), ('trainaug', 10579)])
def test_list_by_name(root, name, number):
    with pytest.raises(ValueError, match=rf'{number} problems\n.*voc12_{name}\.txt, line \d+: no image'):
        VOC12ImageLevelDataset(name, str(root))


def test_own_list_and_labels_of_the_xml(root):
    dataset = DATASETS.build({'type': 'VOC12ImageLevelDataset', 'ann_file': 'list.txt', 'data_root': str(root)})
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    assert [(info['img_id'], info['image_labels'].tolist()) for info in infos] == [
        ('2007_000063', [8, 11]),
        ('2007_000032', [0, 14]),
    ]
    assert all('seg_map_path' not in info for info in infos)


def test_child_config_replaces_the_source(root):
    (root / 'labels.json').write_text('{"2007_000063": ["dog"], "2007_000032": ["person"]}')
    labels = {'xml': None, 'json': 'labels.json'}
    dataset = VOC12ImageLevelDataset('list.txt', str(root), labels)
    assert dataset.get_data_info(0)['image_labels'].tolist() == [11]
    labels = {'xml': 'Annotations', 'json': 'labels.json'}
    with pytest.raises(ValueError, match=r'2007_000063\.jpg: two label sources disagree: xml .* has chair, dog; json'):
        VOC12ImageLevelDataset('list.txt', str(root), labels)


def test_masks_for_scoring(root):
    dataset = VOC12ImageLevelDataset('list.txt', str(root), data_prefix={'seg_map_path': 'SegmentationClass'})
    info = dataset.get_data_info(0)
    assert info['img_path'] == f'{root}/JPEGImages/2007_000063.jpg'
    assert info['seg_map_path'] == f'{root}/SegmentationClass/2007_000063.png'


def test_image_without_annotation(root):
    (root / 'Annotations' / '2007_000032.xml').unlink()
    with pytest.raises(ValueError, match=r'1 of 2 images have no label in xml .*Annotations \(2007_000032\.jpg\)'):
        VOC12ImageLevelDataset('list.txt', str(root))


def test_wrong_class(root):
    path = root / 'Annotations' / '2007_000032.xml'
    path.write_text('<annotation><object><name>airplane</name></object></annotation>')
    with pytest.raises(ValueError, match=r"2007_000032\.xml: 'airplane' is not a class; did you mean 'aeroplane'\?"):
        VOC12ImageLevelDataset('list.txt', str(root))


def test_classes_are_fixed(root):
    assert VOC12ImageLevelDataset.METAINFO == PascalVOCDataset.METAINFO
    with pytest.raises(ValueError, match='VOC12ImageLevelDataset always has its own 21 classes; use ImageLevelDataset'):
        VOC12ImageLevelDataset('list.txt', str(root), metainfo={'classes': ('background', 'dog')})


def test_voc_palette():
    assert voc_palette(21) == PascalVOCDataset.METAINFO['palette']
    everything = voc_palette(256)
    assert everything[255] == [224, 224, 192]  # the devkit's colour of the void label
    assert len({tuple(colour) for colour in everything}) == 256
    # The slow way, on the index written as bits: bit 3i + channel of the index is bit 7 - i of the channel.
    for index, colour in enumerate(everything):
        bits = f'{index:09b}'[::-1]
        assert colour == [int(bits[channel::3].ljust(8, '0'), 2) for channel in range(3)]
    with pytest.raises(ValueError, match='a palette has 0 to 256 colours, not 257'):
        voc_palette(257)
