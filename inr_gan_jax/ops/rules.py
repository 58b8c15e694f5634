"""Closed choices of the array functions, apart from the code that applies them.

Settings and `--help` list these names without loading JAX.
"""

from typing import Literal

DensifyRule = Literal["paper", "all", "pointwise"]
Between = Literal["nearest", "bilinear"]
Beyond = Literal["reflect", "clamp", "wrap"]
FactorActivation = Literal["demod", "sigmoid", "tanh"]
