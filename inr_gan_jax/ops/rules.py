"""Names of the rules of denser grids and learned tables, apart from the code that applies them.

Commands list these names in --help, which loads no JAX.
"""

from typing import Literal

DensifyRule = Literal["paper", "all", "pointwise"]
Between = Literal["nearest", "bilinear"]
Beyond = Literal["reflect", "clamp", "wrap"]
