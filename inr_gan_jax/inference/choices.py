"""Names and bounds that a user chooses from, apart from the code behind them.

Commands list them in --help, which loads no JAX.
"""

from typing import Literal, get_args

Space = Literal["z", "w", "image"]
CodeSpace = Literal["w", "w+", "modulation"]
Fit = Literal["crop", "extend", "stretch"]
Foreground = Literal["bright", "dark"]
FeaturesName = Literal["none", "digits", "squeezenet", "vgg16", "inception", "lpips"]
Measure = Literal["pixel_fd", "fsd", "fid"]

SPACES: tuple[Space, ...] = get_args(Space)
CODE_SPACES: tuple[CodeSpace, ...] = get_args(CodeSpace)
FEATURES_NAMES: tuple[FeaturesName, ...] = get_args(FeaturesName)
MEASURES: tuple[Measure, ...] = get_args(Measure)

INR_SUFFIX = ".inr.safetensors"
WEIGHTS_SUFFIXES = (".safetensors", ".npz")

# An image that is held in memory as a whole; `tile` renders larger ones.
MAX_PIXELS = 2**28
MAX_SIDE = 2**20
