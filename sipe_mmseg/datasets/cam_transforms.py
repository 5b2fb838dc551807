"""CAM files on their way into a test pipeline."""

from pathlib import Path
from typing import Any

import torch
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from .cam_files import read_cam
from .result_folder import ResultFolder


@TRANSFORMS.register_module()
class LoadCAM(BaseTransform):
    """Load the IS-CAM of an image, which ``PackImageLevelInputs`` puts into the sample as ``cam``.

    Adds ``cam_classes``, the int64 tensor (n,) of present classes (1..K), and ``is_cam``, the float32 tensor
    (n + 1, h, w), background first. Nothing that changes an image's size or place may come before it or after it: the
    map does not follow.

    Args:
        cam_dir: Folder that ``tools/generate_labels.py --cams`` has written.

    Raises:
        FileNotFoundError: If the folder does not exist.
    """

    def __init__(self, cam_dir: str) -> None:
        self.folder = ResultFolder(Path(cam_dir), '.npz')
        if not self.folder.root.is_dir():
            raise FileNotFoundError(
                f'LoadCAM: there is no folder {cam_dir}, which tools/generate_labels.py --cams writes; '
                'the environment variable CAM_FILES names it in the shipped configs'
            )
        self.digest = self.folder.digest() or None

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load the map of ``img_id``.

        Raises:
            FileNotFoundError: If the image has none.
            ValueError: If the file is broken, or not of this image, data set or folder.
        """
        path = self.folder.path(results['img_id'])
        cam = read_cam(path, results.get('num_classes'), self.digest)
        if cam.size != tuple(results['img_shape']):
            raise ValueError(
                f'{path}: made from an image of {cam.size[0]} x {cam.size[1]} pixels, but {results["img_path"]} has '
                f'{results["img_shape"][0]} x {results["img_shape"][1]}'
            )
        results['cam_classes'] = torch.from_numpy(cam.classes)
        results['is_cam'] = torch.from_numpy(cam.is_cam)
        return results
