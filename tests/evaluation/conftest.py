"""The validation split that most tests of evaluation look at."""

import pytest
from scenes import SIZES, Scene, scene_of


@pytest.fixture
def scene(tmp_path) -> Scene:
    return scene_of(SIZES, tmp_path)
