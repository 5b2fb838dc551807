"""mmseg's ResNet with one more map: what its stem leaves after pooling."""

from mmseg.models.backbones import ResNet
from mmseg.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class ResNetWithStem(ResNet):
    """ResNet whose first map is the pooled stem (stride 4), which IRN takes besides the stages (IRN, section 3.1).

    The arguments and the names of the weights are those of mmseg's ``ResNet``.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps of images (N, 3, H, W): the pooled stem, then the stages of ``out_indices``."""
        x = self.stem(x) if self.deep_stem else self.relu(self.norm1(self.conv1(x)))
        x = self.maxpool(x)
        maps = [x]
        for index, name in enumerate(self.res_layers):
            x = getattr(self, name)(x)
            if index in self.out_indices:
                maps.append(x)
        return tuple(maps)
