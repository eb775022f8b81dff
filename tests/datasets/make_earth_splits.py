"""Write geodl/datasets/earth_splits.npy: seven orders of 12809 points, uint16.

    python tests/datasets/make_earth_splits.py geodl/datasets/earth_splits.npy

Once made, the file stays: numpy may change what ``permutation`` gives. Made with numpy 2.4.
"""

import sys

import numpy as np


SEEDS, POINTS = 7, 12809


if __name__ == "__main__":
    orders = [np.random.Generator(np.random.PCG64(s)).permutation(POINTS) for s in range(SEEDS)]
    np.save(sys.argv[1], np.array(orders, np.uint16))
