import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sipe_mmseg  # noqa: F401
from sipe_mmseg.datasets.atomic_write import temporary_name
from sipe_mmseg.datasets.coco_masks import (
    AnnotatedImage,
    Instance,
    load_annotated_images,
    render_label_map,
    segmentation_mask,
)
from sipe_mmseg.datasets.folder_lock import folder_lock
from sipe_mmseg.datasets.palette import voc_palette
from sipe_mmseg_cli.main import main

CONVERTER = Path(__file__).parents[2] / 'tools' / 'dataset_converters' / 'coco14.py'


def inside(x, y, polygon):
    """The textbook's even-odd test: how many edges cross the line from the point to the left."""
    crossings = 0
    corners = list(zip(polygon[::2], polygon[1::2], strict=True))
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        if min(y0, y1) <= y < max(y0, y1) and x0 + (y - y0) * ((x1 - x0) / (y1 - y0)) <= x:
            crossings += 1
    return crossings % 2 == 1


def slow_mask(polygons, height, width):
    return np.array(
        [
            [any(inside(column + 0.5, row + 0.5, polygon) for polygon in polygons) for column in range(width)]
            for row in range(height)
        ]
    )


def rectangle(left, top, right, bottom):
    return [left, top, right, top, right, bottom, left, bottom]


class TestPolygons:
    def test_rectangle(self):
        expected = np.zeros((6, 8), dtype=bool)
        expected[1:4, 2:7] = True
        np.testing.assert_array_equal(segmentation_mask([rectangle(2, 1, 7, 4)], 6, 8), expected)

    def test_a_pixel_belongs_when_its_centre_does(self):
        expected = np.zeros((4, 4), dtype=bool)
        expected[1:3, 1:3] = True
        for edges in (0.6, 0.9, 1.4):
            polygon = rectangle(edges, edges, 4 - edges, 4 - edges)
            np.testing.assert_array_equal(segmentation_mask([polygon], 4, 4), expected)
        assert not segmentation_mask([rectangle(1.6, 1.6, 2.4, 2.4)], 4, 4).any()

    @pytest.mark.parametrize('seed', range(40))
    def test_against_the_slow_test(self, seed):
        random = np.random.default_rng(seed)
        height, width = (int(side) for side in random.integers(1, 30, 2))
        # Corners in any order (so the outline crosses itself), beyond the image too; every other case on the half grid,
        # where corners and edges hit centres of pixels.
        polygons = [
            random.uniform(-10, 40, 2 * int(random.integers(1, 12))).round(2) for _ in range(int(random.integers(1, 4)))
        ]
        if seed % 2:
            polygons = [np.round(2 * polygon) / 2 for polygon in polygons]
        polygons = [polygon.tolist() for polygon in polygons]
        np.testing.assert_array_equal(segmentation_mask(polygons, height, width), slow_mask(polygons, height, width))

    def test_even_odd_within_a_polygon_but_union_of_polygons(self):
        outer, inner = rectangle(0, 0, 8, 8), rectangle(2, 2, 6, 6)
        assert segmentation_mask([outer, inner], 8, 8).sum() == 64
        assert segmentation_mask([[*outer, 0, 0, *inner, 2, 2]], 8, 8).sum() == 64 - 16

    @pytest.mark.parametrize('polygon', [[], [1, 1], [1, 1, 5, 5], rectangle(-9, -9, -2, -2), rectangle(9, 0, 12, 4)])
    def test_nothing_to_fill(self, polygon):
        assert not segmentation_mask([polygon], 6, 8).any()

    def test_far_beyond_the_image(self):
        assert segmentation_mask([rectangle(-1e30, -1e30, 1e30, 1e30)], 6, 8).all()

    @pytest.mark.parametrize('polygon', [[1, 2, 3], ['a', 1], [float('nan'), 1], [[1, 2], [3, 4]], 7])
    def test_wrong_polygon(self, polygon):
        with pytest.raises(ValueError, match='a polygon must be a list of numbers'):
            segmentation_mask([polygon], 6, 8)


class TestRuns:
    def test_runs_go_down_the_columns(self):
        mask = segmentation_mask({'size': [2, 3], 'counts': [1, 3, 2]}, 2, 3)
        np.testing.assert_array_equal(mask, [[False, True, False], [True, True, False]])
        assert segmentation_mask({'size': [2, 3], 'counts': [0, 6]}, 2, 3).all()
        np.testing.assert_array_equal(segmentation_mask({'size': [2, 3], 'counts': '132'}, 2, 3), mask)

    @pytest.mark.parametrize(
        ('runs', 'message'),
        [
            ({'size': [2, 3], 'counts': 'PP'}, "not compressed runs: 'PP'"),
            ({'size': [2, 3], 'counts': None}, 'runs must have a list of counts or a text, not None'),
            ({'size': [2, 3], 'counts': '131'}, 'runs cover 5 pixels, but the image has 6'),
            ({'size': [3, 2], 'counts': [6]}, r'runs have size \[3, 2\], but the image has \[2, 3\]'),
            ({'size': [2, 3], 'counts': [1, 3]}, 'runs cover 4 pixels, but the image has 6'),
            ({'size': [2, 3], 'counts': [7, -1]}, 'counts of runs must be integers, 0 or more'),
            ({'size': [2, 3], 'counts': [6.0]}, 'counts of runs must be integers, 0 or more'),
            ('PPYo0', "segmentation must be a list of polygons or runs, not 'PPYo0'"),
        ],
    )
    def test_wrong_runs(self, runs, message):
        with pytest.raises(ValueError, match=message):
            segmentation_mask(runs, 2, 3)


class TestRenderLabelMap:
    @staticmethod
    def image():
        """A small object of class 1, then a large one of class 2 over it, and a crowd of class 3 everywhere."""
        crowd = {'size': [6, 8], 'counts': [0, 48]}
        return AnnotatedImage(
            'a.jpg',
            6,
            8,
            [
                Instance(1, 1, [rectangle(0, 0, 2, 2)], False),
                Instance(2, 2, [rectangle(1, 1, 5, 5)], False),
                Instance(3, 3, crowd, True),
            ],
        )

    @pytest.mark.parametrize(('overlap', 'shared'), [('later', 2), ('smaller', 1)])
    @pytest.mark.parametrize(('crowds', 'elsewhere'), [('background', 0), ('ignore', 255)])
    def test_options(self, overlap, shared, crowds, elsewhere):
        expected = np.full((6, 8), elsewhere)
        expected[0:2, 0:2] = 1
        expected[1:5, 1:5] = 2
        expected[1, 1] = shared
        label_map = render_label_map(self.image(), overlap=overlap, crowds=crowds)
        assert label_map.dtype == np.uint8
        np.testing.assert_array_equal(label_map, expected)

    def test_of_equal_areas_the_later_is_on_top(self):
        instances = [Instance(1, 5, [rectangle(0, 0, 3, 3)], False), Instance(2, 4, [rectangle(1, 0, 4, 3)], False)]
        label_map = render_label_map(AnnotatedImage('a.jpg', 3, 4, instances), overlap='smaller')
        np.testing.assert_array_equal(label_map, [[5, 4, 4, 4]] * 3)

    def test_no_objects(self):
        assert not render_label_map(AnnotatedImage('a.jpg', 3, 4, [])).any()

    def test_errors_name_image_and_annotation(self):
        image = AnnotatedImage('a.jpg', 3, 4, [Instance(17, 1, [[1, 2, 3]], False)])
        with pytest.raises(ValueError, match=r'a\.jpg, annotation 17: a polygon must be'):
            render_label_map(image)

    @pytest.mark.parametrize('option', ['overlap', 'crowds'])
    def test_wrong_option(self, option):
        with pytest.raises(ValueError, match=f"{option} must be '.*', not 'other'"):
            render_label_map(self.image(), **{option: 'other'})


@pytest.fixture
def instances(tmp_path):
    content = {
        'categories': [{'id': 7, 'name': 'dog'}, {'id': 3, 'name': 'cat'}],
        'images': [
            {'id': 1, 'file_name': 'one.jpg', 'height': 6, 'width': 8},
            {'id': 2, 'file_name': 'empty.jpg', 'height': 5, 'width': 4},
        ],
        'annotations': [
            {'id': 1, 'image_id': 1, 'category_id': 7, 'iscrowd': 0, 'segmentation': [rectangle(0, 0, 2, 2)]},
            {'id': 2, 'image_id': 1, 'category_id': 3, 'iscrowd': 0, 'segmentation': [rectangle(1, 1, 5, 5)]},
            {
                'id': 3,
                'image_id': 1,
                'category_id': 3,
                'iscrowd': 1,
                'segmentation': {'size': [6, 8], 'counts': [0, 48]},
            },
        ],
    }
    path = tmp_path / 'instances.json'
    path.write_text(json.dumps(content))
    return path


class TestLoadAnnotatedImages:
    def test_reads(self, instances):
        classes, images = load_annotated_images(str(instances))
        assert classes == ('background', 'cat', 'dog')
        assert [(image.file_name, image.height, image.width) for image in images] == [
            ('one.jpg', 6, 8),
            ('empty.jpg', 5, 4),
        ]
        assert [(item.annotation_id, item.class_index, item.crowd) for item in images[0].instances] == [
            (1, 2, False),
            (2, 1, False),
            (3, 1, True),
        ]
        assert not images[1].instances

    @pytest.mark.parametrize(
        ('place', 'key', 'message'),
        [
            ('images', 'height', r'image one\.jpg: height None and width 8 are no size'),
            ('annotations', 'segmentation', 'annotation 1: has no segmentation'),
        ],
    )
    def test_missing_keys(self, instances, place, key, message):
        content = json.loads(instances.read_text())
        del content[place][0][key]
        instances.write_text(json.dumps(content))
        with pytest.raises(ValueError, match=rf'instances\.json, {message}'):
            load_annotated_images(str(instances))


class TestConverter:
    @staticmethod
    def convert(instances, out_dir, *options):
        command = [sys.executable, str(CONVERTER), str(instances), str(out_dir), '--workers', '1', *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    def test_writes_goes_on_and_does_not_mix(self, instances, tmp_path):
        out_dir = tmp_path / 'masks'
        result = self.convert(instances, out_dir)
        assert result.returncode == 0, result.stderr
        assert f'2 masks written to {out_dir}, 0 were there already' in result.stdout
        assert {path.name for path in out_dir.iterdir()} == {'one.png', 'empty.png', 'conversion.json'}

        expected = np.zeros((6, 8), dtype=np.uint8)
        expected[0:2, 0:2] = 2
        expected[1:5, 1:5] = 1
        with Image.open(out_dir / 'one.png') as image:
            assert image.mode == 'P'
            assert image.getpalette()[: 3 * 81] == [value for colour in voc_palette(81) for value in colour]
            np.testing.assert_array_equal(np.asarray(image), expected)
        with Image.open(out_dir / 'empty.png') as image:
            np.testing.assert_array_equal(np.asarray(image), np.zeros((5, 4)))

        # A mask that was cut off is written again, a complete one is not.
        complete, cut = (out_dir / 'one.png').stat().st_mtime_ns, (out_dir / 'empty.png').read_bytes()
        (out_dir / 'empty.png').write_bytes(cut[:-8])
        result = self.convert(instances, out_dir)
        assert '1 masks written' in result.stdout, result.stderr
        assert (out_dir / 'one.png').stat().st_mtime_ns == complete
        assert (out_dir / 'empty.png').read_bytes() == cut

        result = self.convert(instances, out_dir, '--overlap', 'smaller')
        assert result.returncode == 1
        assert 'conversion.json: the masks in this folder are made with' in result.stderr

    def test_options(self, instances, tmp_path):
        result = self.convert(instances, tmp_path / 'masks', '--overlap', 'smaller', '--crowds', 'ignore')
        assert result.returncode == 0, result.stderr
        with Image.open(tmp_path / 'masks' / 'one.png') as image:
            label_map = np.asarray(image)
        assert (label_map[1, 1], label_map[4, 4], label_map[5, 7]) == (2, 1, 255)

    def test_one_run_in_a_folder_and_nothing_left_of_a_killed_one(self, instances, tmp_path, capsys):
        words = ['convert', 'coco14', str(instances), str(tmp_path / 'masks'), '--workers', '1']
        with folder_lock(tmp_path / 'masks'):
            assert main(words) == 1
            assert 'masks: another run is at work there' in capsys.readouterr().err
            assert [path.name for path in (tmp_path / 'masks').iterdir()] == ['.lock']
        (tmp_path / 'masks' / temporary_name('one.png', 999999999)).touch()
        assert main(words) == 0
        assert {path.name for path in (tmp_path / 'masks').iterdir()} == {'one.png', 'empty.png', 'conversion.json'}

    def test_error(self, tmp_path):
        result = self.convert(tmp_path / 'instances.json', tmp_path / 'masks')
        assert result.returncode == 1
        assert 'instances.json: no such file' in result.stderr
        assert 'Traceback' not in result.stderr
