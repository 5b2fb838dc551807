"""The snippets of docs/interchange.md do what they say."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from sipe_mmseg.datasets.cam_files import write_cam

PAGE = Path(__file__).parents[2] / 'docs' / 'interchange.md'


def test_cam_files_are_read_by_numpy_alone(tmp_path: Path) -> None:
    (snippet,) = (code for code in re.findall(r'```python\n(.*?)```', PAGE.read_text(), re.DOTALL) if 'np.load' in code)
    is_cam = np.random.default_rng(0).random((3, 5, 7)).astype(np.float16)
    write_cam(tmp_path / 'work_dirs' / 'cams' / 'val_0000.npz', np.array([3, 15]), is_cam, (19, 27))
    code = (
        "import sys\nsys.modules.update(dict.fromkeys(('sipe_mmseg', 'torch', 'mmengine')))\n"
        f"{snippet}\nnp.savez('found', is_cam=is_cam, classes=classes, size=[height, width], labels=labels)\n"
    )
    subprocess.run([sys.executable, '-I', '-c', code], cwd=tmp_path, check=True)
    found = np.load(tmp_path / 'found.npz')
    np.testing.assert_array_equal(found['is_cam'], is_cam)
    assert found['classes'].tolist() == [3, 15] and found['size'].tolist() == [19, 27]
    expected = np.array([0, 3, 15])[is_cam.argmax(axis=0)]
    np.testing.assert_array_equal(found['labels'], expected)
