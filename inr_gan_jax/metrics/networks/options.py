"""Where files of weights come from and how a user names them, apart from the networks that read them.

Commands list these options in --help, which loads no JAX.
"""

import dataclasses
import os
from collections.abc import Mapping
from typing import Literal

from inr_gan_jax.errors import UserError

NetworkName = Literal["inception", "squeezenet", "vgg16", "digits"]

INCEPTION_SOURCE = (
    "one of pt_inception-2015-12-05-6726825d.pth (sha256 "
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2, "
    "https://github.com/mseitzer/pytorch-fid/releases/tag/fid_weights), inception-2015-12-05.pt (sha256 "
    "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4, "
    "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt) and "
    "classify_image_graph_def.pb (in http://download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz)"
)
SQUEEZENET_SOURCE = (
    "SqueezeNet 1.0 of https://github.com/songhan/SqueezeNet-Deep-Compression as .npz: conv1/w, conv1/b, "
    "fire2/conv1x1_1/w ... conv_final/b, kernels [out, in, height, width]"
)
VGG16_SOURCE = (
    "the state_dict of torchvision's vgg16 (https://download.pytorch.org/models/vgg16-397923af.pth, sha256 "
    "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0) as .pth, .npz or .safetensors"
)
LPIPS_HEADS_SOURCE = (
    "the LPIPS v0.1 heads of {name} (https://github.com/richzhang/PerceptualSimilarity, lpips/weights/v0.1/{name}.pth) "
    "as .pth, .npz or .safetensors"
)


@dataclasses.dataclass(frozen=True)
class WeightsOption:
    """How a user names a file of weights.

    Attributes:
        flag: of the commands, without dashes.
        variable: of the environment, when the flag is not given.
        source: what the file should be and where the field gets it.
    """

    flag: str
    variable: str
    source: str

    def find(self, given: str | os.PathLike[str] | None) -> str:
        """The path given, else the one in the environment, else nothing."""
        return os.fspath(given) if given else os.environ.get(self.variable, "")

    def resolve(self, given: str | os.PathLike[str] | None) -> str:
        """The path given, else the one in the environment.

        Raises:
            UserError: if there is neither.
        """
        path = self.find(given)
        if not path:
            raise UserError(f"give --{self.flag} or ${self.variable}: {self.source}")
        return path


WEIGHTS_OPTIONS: Mapping[str, WeightsOption] = {
    "inception": WeightsOption("inception_weights", "INR_GAN_INCEPTION_WEIGHTS", INCEPTION_SOURCE),
    "squeezenet": WeightsOption("squeezenet_weights", "INR_GAN_SQUEEZENET_WEIGHTS", SQUEEZENET_SOURCE),
    "vgg16": WeightsOption("vgg16_weights", "INR_GAN_VGG16_WEIGHTS", VGG16_SOURCE),
}
# Of the heads that the feature maps of LPIPS are weighted by.
LPIPS_HEADS = WeightsOption("lpips_vgg_heads", "INR_GAN_LPIPS_VGG_HEADS", LPIPS_HEADS_SOURCE.format(name="vgg"))
