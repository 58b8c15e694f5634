"""How near two computations of the same numbers must be: bounds that hold on every processor.

Another instruction set, number of threads, number of devices or batch size changes the order of sums, the use of fused
multiply-adds and the approximation of sine, exponential and the like. All of these change the last bits of a result
relative to the values that are summed. So bounds are multiples of the rounding error of the dtype, relative to the
largest value, and never absolute. Results are only expected to be equal where the same program gets the same inputs.
"""

import numpy as np

# What a network of a few layers may lose: ten of the bits of a number. Measured between instruction sets: up to eight.
_EPSILONS = 1024
# Bytes of values within rounding of a half differ by one.
_MAX_SHARE_OF_BYTES = 0.01


def assert_close(found: object, expected: object, epsilons: float = _EPSILONS, err_msg: str = "") -> None:
    """Asserts that two results are the same but for rounding.

    Args:
        found: array of floats, or something that NumPy makes one of.
        expected: the same of equal shape; one of lower precision decides the bound.
        epsilons: allowed difference as a multiple of the machine epsilon times the largest value expected.
        err_msg: shown on failure.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    epsilon = max(np.finfo(array.dtype).eps for array in (found, expected) if array.dtype.kind in "fc")
    bound = epsilons * float(epsilon) * float(np.max(np.abs(expected), initial=0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=bound, err_msg=err_msg)


def assert_bytes_close(found: np.ndarray, expected: np.ndarray) -> None:
    """Asserts that two pictures of bytes, made by different programs, are the same but for values between two bytes."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype == np.uint8
    assert found.shape == expected.shape
    differences = np.abs(found.astype(int) - expected)
    assert differences.max() <= 1
    assert np.count_nonzero(differences) <= max(2, _MAX_SHARE_OF_BYTES * differences.size)
