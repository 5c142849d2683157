"""Image-level labels as others write them: used as they are meant, or refused by file and line; nothing is dropped."""

import codecs
import random
from pathlib import Path

import pytest

from swdb.core.errors import BadInput
from swdb.data.sources.archives import Member
from swdb.data.sources.tags import class_names, read_classes, read_label_file
from swdb.data.voc import CLASSES

A, B = "2007_000001", "2007_000002"
RIGHT = {A: ["cat", "person"], B: ["diningtable"]}


def read(tmp_path: Path, content: str | bytes) -> dict[str, list[str]]:
    path = tmp_path / "labels.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_label_file(path)


def refused(tmp_path: Path, content: str | bytes) -> BadInput:
    with pytest.raises(BadInput) as caught:
        read(tmp_path, content)
    assert str(caught.value).isprintable() and str(tmp_path / "labels.csv") in str(caught.value.subject)
    return caught.value


# ---------------------------------------------------------------- CSVs

TEXT = f"image,classes\n{A},cat person\n{B},diningtable\n"


@pytest.mark.parametrize(
    "content",
    [
        TEXT,
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("\n", "\r"),
        TEXT.rstrip("\n"),
        TEXT.replace("\n", "\n\n"),
        TEXT.replace("cat person", "cat,person"),
        TEXT.replace("cat person", '"cat, person"'),
        TEXT.replace("cat person", "cat;person"),
        TEXT.replace("cat person", "cat|person"),
        TEXT.replace("cat person", "cat,,person,"),
        TEXT.replace("cat person", "Cat,PERSON"),
        TEXT.replace(",", ";"),
        TEXT.replace(",", "\t"),
        TEXT.replace("image,classes", "Image, Classes"),
        TEXT.replace("image,classes", "image,classes,,"),
        TEXT.replace("diningtable", "Dining table"),
        TEXT.replace("diningtable", "dining-table"),
        TEXT.replace("diningtable", "DINING_TABLE"),
        TEXT.replace(A, f"{A}.jpg").replace(B, f"{B}.JPG"),
        f"image,classes\n{A},cat\n{A},person\n{B},diningtable\n",  # a line an object
        f"image,classes\n{A},cat\n{A},person\n{A},person\n{B},diningtable\n{B},diningtable\n",
        TEXT + f"{A},person cat\n",  # once more, and the same
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
    ],
)
def test_a_csv_is_read_as_it_is_meant(tmp_path, content):
    found = read(tmp_path, content)
    assert {image_id: sorted(names) for image_id, names in found.items()} == RIGHT


def test_an_image_may_have_no_class(tmp_path):
    assert read(tmp_path, f"image,classes\n{A},\n{B}\n") == {A: [], B: []}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"image,classes\n{A},cat dog\n{A},person\n", ["line 3", f"names image {A} again", "line 2"]),
        (f"image,classes\n{A},cat\n{B},cat\n{A},person\n", ["line 4", f"names image {A} again", "line 2"]),
        (f"image,classes\n{A},\n{A},person\n", ["line 3", "again"]),
        (f"image,classes\n{A},person\n{A},\n", ["line 3", "again"]),
        (f"image,classes\n{A},cat tiger\n", [f"image {A}: class 'tiger'", "unknown"]),
        (f"image,classes\n{A},background\n", ["class 'background'", "unknown"]),
        (f"image,classes\n{A},8 15\n", ["class '8'", "unknown"]),
        (f"image,classes\n{A},airplane\n", ["class 'airplane'", "unknown"]),
        (f"image,classes\n{A},catdog\n", ["class 'catdog'", "unknown"]),
        (f"image,classes\n{A},cat -dog\n", ["class '-dog'", "unknown"]),
        (f"image,classes\n{A} cat person\n", ["line 2", "for an image"]),
        (f"image,classes\nJPEGImages/{A},cat\n", ["line 2", "for an image"]),
        ("image,classes\n,cat\n", ["line 2", "for an image"]),
        (f"filename,width,height,class\n{A}.jpg,500,375,cat\n", ["begins with", "filename"]),
        (f"image,aeroplane,bicycle\n{A},0,1\n", ["begins with", "aeroplane"]),
        (f"image,classes,xmin\n{A},cat,3\n", ["begins with", "xmin"]),
        (f"{A},cat\n", ["begins with", A]),
        ("", ["begins with"]),
        (f'image,classes\n{A},"cat\n{B},dog\n', ["not a CSV"]),
        (TEXT.replace("cat", "größer").encode("latin-1"), ["not a CSV"]),
        (TEXT.encode("utf-16-le"), ["not a CSV", "zero bytes"]),
        (b"PK\3\4\0\0", ["not a CSV"]),
    ],
)
def test_what_is_not_meant_so_is_refused(tmp_path, content, words):
    error = refused(tmp_path, content)
    assert [word for word in words if word not in f"{error.subject}: {error.found}"] == []
    assert error.expected or error.near


@pytest.mark.parametrize("seed", range(20))
def test_made_up_spellings_are_the_class_or_refused(tmp_path, seed):
    draw = random.Random(seed)
    name = draw.choice(CLASSES[1:])
    spelled = "".join(draw.choice([letter.upper(), letter]) for letter in name)
    for short in ("table", "bike", "plant", "monitor", "plane"):
        if name.endswith(short) and name != short:
            at = len(name) - len(short)
            spelled = spelled[:at] + draw.choice(["", " ", "-", "_"]) + spelled[at:]
    spelled = draw.choice(["", " "]) + spelled + draw.choice(["", " ", "  "])
    assert read(tmp_path, f"image,classes\n{A},{spelled}\n") == {A: [name]}
    letters = list(name)
    letters.insert(draw.randrange(len(name) + 1), draw.choice("qxz"))
    assert "class" in str(refused(tmp_path, f"image,classes\n{A},{''.join(letters)}\n").subject)


def test_names_of_two_words_stand_among_others():
    text = "tv monitor potted plant, Dining Table cat"
    assert class_names(text, "x") == ["tvmonitor", "pottedplant", "diningtable", "cat"]


# ---------------------------------------------------------------- annotations


def annotation(content: str | bytes) -> list[str] | BadInput:
    data = content if isinstance(content, bytes) else content.encode()
    return read_classes(Member(f"Annotations/{A}.xml", len(data), None, lambda: data), "--voc v")


def xml(*names: str, head: str = "") -> str:
    return f"{head}<annotation>{''.join(f'<object><name>{name}</name></object>' for name in names)}</annotation>"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "gb2312", "big5", "shift_jis", "cp1251"]
)
@pytest.mark.parametrize("declared", [True, False])
def test_an_annotation_of_any_encoding_is_read(encoding, declared):
    if not declared and encoding not in ("utf-8", "utf-8-sig", "utf-16"):
        pytest.skip("nothing says so")
    head = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>\n' if declared else ""
    assert annotation(xml("person", "cat", "cat", head=head).encode(encoding)) == ["cat", "person"]


@pytest.mark.parametrize("name", ["Cat", " cat ", "CAT\n"])
def test_a_class_of_an_annotation_may_be_spelled_otherwise(name):
    assert annotation(xml(name, "tv-monitor")) == ["cat", "tvmonitor"]


def test_parts_of_bodies_are_no_classes():
    assert annotation(xml("person", "head", "hand", "foot")) == ["person"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (xml("cat", "tiger"), ["class 'tiger'", "unknown"]),
        (xml("cat", ""), ["class ''", "unknown"]),
        ("<annotation><object><bndbox/></object></annotation>", ["class ''", "unknown"]),
        ("<annotation>", ["not XML"]),
        ("", ["not XML"]),
        (xml("cat", head='<?xml version="1.0" encoding="klingon"?>'), ["not XML"]),
        (xml("größer", head='<?xml version="1.0" encoding="utf-8"?>').encode("latin-1"), ["not XML"]),
        (xml("cat", head='<?xml version="1.0" encoding="big5"?>').encode() + b"\xff\xff", ["not XML"]),
        (b"\x89PNG", ["not XML"]),
        ("<html><body/></html>", ["XML of <html>"]),
    ],
)
def test_what_is_no_annotation_of_voc_s_is_said_in_one_line(content, words):
    error = annotation(content)
    assert isinstance(error, BadInput) and str(error).isprintable()
    assert [word for word in [f"Annotations/{A}.xml", *words] if word not in str(error)] == []
