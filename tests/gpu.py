"""A mark for tests that need a real GPU. torch's warning about a driver that it cannot use would be an error here."""

import pytest

from swdb.nn.cuda import cuda_works

needs_gpu = pytest.mark.skipif(not cuda_works(), reason="needs a GPU")
