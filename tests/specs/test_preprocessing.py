"""Which preprocessing belongs to which weights: declared, known by the bytes, by the name, by the preset, or assumed."""

from pathlib import Path

import pytest

from swdb.core.errors import BadInput, MissingArtefact, SwdbError
from swdb.specs.preprocessing import (
    IMAGENET_BGR_CAFFE,
    IMAGENET_RGB,
    IMAGENET_RGB_CAFFE,
    KNOWN,
    NAMED,
    Preprocessing,
    by_suffix,
    choose,
    parsed,
    read_preprocessing,
    written,
)

OTHER = "0" * 64
MINE = Preprocessing("BGR", (1.0, 2.0, 3.0), (4.0, 5.0, 6.5))


def chosen(name="w.pth", digest=OTHER, weights="file", **digests):
    return choose(Path(name), {"file": digest, **digests}, weights)


@pytest.mark.parametrize("name", ["w.pth", "w.npz", "renamed"])
@pytest.mark.parametrize("start", KNOWN)
@pytest.mark.parametrize("weights", ["file", "imagenet", "pretext"])
def test_bytes_that_are_known_decide_whatever_they_are_called(name, start, weights):
    choice = chosen(name, (start + OTHER)[:64], weights)
    assert choice.preprocessing == KNOWN[start][1] and choice.sure and not choice.doubt
    assert KNOWN[start][0] in choice.why


def test_what_is_declared_goes_before_all_and_what_speaks_against_it_is_said():
    choice = chosen(digest="397923af" + OTHER[8:], preprocessing=written(MINE))
    assert choice.preprocessing == MINE and choice.sure
    assert "declared" in choice.why and "torchvision's VGG16" in choice.why
    agreed = chosen(digest="397923af" + OTHER[8:], preprocessing=written(IMAGENET_RGB))
    assert agreed.why == "as declared"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vgg16-397923af.npz", IMAGENET_RGB),
        ("vgg16-00b39a1b.pth", IMAGENET_BGR_CAFFE),
        ("vgg16-00b39a1b-updated.pth", IMAGENET_BGR_CAFFE),
        ("vgg16_features-amdegroot-88682ab5.pth", IMAGENET_RGB_CAFFE),
        ("vgg16_reducedfc.pth", IMAGENET_RGB_CAFFE),
        ("vgg16_caffe-292e1171.pth", IMAGENET_RGB_CAFFE),
    ],
)
def test_other_bytes_under_a_public_name_are_taken_for_a_copy_and_that_is_said(name, expected):
    choice = chosen(name)
    assert choice.preprocessing == expected and not choice.sure and "name" in choice.why


@pytest.mark.parametrize("word", ["imagenet", "imagenet-caffe"])
def test_a_file_that_stands_for_a_download_keeps_its_preprocessing(word):
    choice = chosen(weights=word)
    assert choice.preprocessing == NAMED[word] and not choice.doubt and repr(word) in choice.why


def test_a_npz_that_stands_for_torchvisions_weights_may_be_either_and_a_word_decides():
    choice = chosen("w.npz", weights="imagenet")
    assert str(IMAGENET_RGB) in choice.doubt and str(IMAGENET_BGR_CAFFE) in choice.doubt
    assert not chosen("w.npz", weights="imagenet", preprocessing=written(IMAGENET_BGR_CAFFE)).doubt
    assert chosen("w.npz", weights="imagenet-caffe").preprocessing == IMAGENET_RGB_CAFFE


@pytest.mark.parametrize("weights", ["file", "random", "pretext"])
@pytest.mark.parametrize(
    ("name", "expected"), [("w.npz", IMAGENET_BGR_CAFFE), ("w.pth", IMAGENET_RGB), ("w", IMAGENET_RGB)]
)
def test_where_nothing_is_known_the_assumption_says_that_it_is_one(weights, name, expected):
    choice = chosen(name, weights=weights)
    assert choice.preprocessing == expected == by_suffix(Path(name))
    assert choice.why.startswith("assumed") and not choice.sure and not choice.doubt


# ---------------------------------------------------------------- what is declared


@pytest.mark.parametrize("word", NAMED)
def test_a_name_is_read(word):
    assert read_preprocessing(word) == NAMED[word]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mine.toml", 'order = "BGR"\nmean = [1, 2.0, 3]\nstd = [4.0, 5.0, 6.5]\n'),
        ("mine.json", '{"order": "BGR", "mean": [1, 2, 3], "std": [4, 5, 6.5]}'),
    ],
)
def test_a_file_is_read(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_preprocessing(str(tmp_path / name)) == MINE


def refused(text: str, kind: type[SwdbError] = BadInput) -> SwdbError:
    with pytest.raises(kind) as caught:
        read_preprocessing(text)
    assert str(caught.value.subject).startswith("--preprocessing") and "\n" not in str(caught.value)
    return caught.value


def test_another_word_gets_the_nearest_name():
    assert refused("cafe").near == "caffe"


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert refused(str(tmp_path / "no.toml"), MissingArtefact).found == "no such file"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("mean = [1, 2, 3]\nstd = [1, 1, 1]", "order"),
        ('order = "GBR"\nmean = [1, 2, 3]\nstd = [1, 1, 1]', "order"),
        ('order = "RGB"\nmean = [1, 2]\nstd = [1, 1, 1]', "mean"),
        ('order = "RGB"\nmean = [1, 2, nan]\nstd = [1, 1, 1]', "mean"),
        ('order = "RGB"\nmean = [1, 2, 300]\nstd = [1, 1, 1]', "mean"),
        ('order = "RGB"\nmean = [1, 2, 3]\nstd = [1, 1, 0]', "std"),
        ('order = "RGB"\nmean = [1, 2, 3]\nstd = [1, 1, -1]', "std"),
        ('order = "RGB"\nmean = [1, 2, 3]\nstd = [1, 1, inf]', "std"),
        ('order = "RGB"\nmean = [1, 2, 3]\nstd = [1, 1, 1]\nscale = 2', "scale"),
    ],
)
def test_values_that_are_no_preprocessing_are_refused_by_key(tmp_path, text, key):
    (tmp_path / "mine.toml").write_text(text)
    assert key in str(refused(str(tmp_path / "mine.toml")))


def test_what_is_written_is_read_again_and_anything_else_is_damage():
    assert all(parsed(written(one)) == one for one in (MINE, *NAMED.values()))
    for text in ("", "BGR", "[]", '["BGR", [1, 2], [3]]', '["BGR", [1, 2, 3], [0, 0, 0]]'):
        with pytest.raises(MissingArtefact):
            parsed(text)


@pytest.mark.parametrize(
    ("mean", "std"),
    [("[0.485, 0.456, 0.406]", "[0.229, 0.224, 0.225]"), ("[123.7, 116.3, 103.5]", "[0.229, 0.224, 0.225]")],
)
def test_values_of_pixels_of_0_to_1_are_refused(tmp_path, mean, std):
    path = tmp_path / "p.toml"
    path.write_text(f'order = "RGB"\nmean = {mean}\nstd = {std}\n')
    with pytest.raises(BadInput) as caught:
        read_preprocessing(str(path))
    assert "0..1" in caught.value.found and "0..255" in caught.value.expected


def test_json_that_is_nested_too_deeply_is_refused(tmp_path):
    (tmp_path / "p.json").write_text("[" * 100_000)
    with pytest.raises(BadInput) as caught:
        read_preprocessing(str(tmp_path / "p.json"))
    assert "not valid JSON" in caught.value.found


def test_json_with_a_key_twice_is_refused(tmp_path):
    (tmp_path / "p.json").write_text('{"order": "RGB", "mean": [1, 2, 3], "std": [4, 5, 6], "order": "BGR"}')
    assert "a key stands there twice" in refused(str(tmp_path / "p.json")).found
