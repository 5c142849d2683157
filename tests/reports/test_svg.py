"""A drawing of matplotlib as a part of a page: its words, its colours, its bytes."""

import xml.etree.ElementTree as ET

import matplotlib
import pytest

from swdb.reports.svg import GOOD, VARIABLES, Chart, as_file, canvas, chart, label

HOSTILE = '</text></svg><script>alert("1")</script>'


def drawn(key: str = "key", text: str = "a word") -> Chart:
    with canvas(key, 200, 100) as figure:
        axes = figure.subplots()
        axes.plot([0, 1, 2.34567], [0, 1, 4], color=GOOD, label=text)
        axes.legend()
        return chart(key, figure, f"Title {text}", f"What {text} shows", ("x", "y"), [("0", "0")])


def test_the_element_is_an_image_with_a_title_and_a_description():
    root = ET.fromstring(drawn().svg)
    assert root.tag == "svg" and root.attrib["role"] == "img" and root.attrib["viewBox"] == "0 0 200 100"
    named = {one.attrib["id"]: one.text for one in root.iter() if "id" in one.attrib and one.text}
    assert [named[name] for name in root.attrib["aria-labelledby"].split()] == ["Title a word", "What a word shows"]


def test_it_has_no_size_no_date_no_program_and_no_style_of_its_own():
    svg = drawn().svg
    assert not [word for word in ("<style", "metadata", "Matplotlib", "<?xml", "xmlns", 'width="200') if word in svg]


def test_colours_are_the_pages_and_none_is_left_over():
    svg = drawn().svg
    assert "var(--good)" in svg and "var(--muted)" in svg and "var(--font)" in svg
    assert not [colour for colour in VARIABLES if colour in svg] and "DejaVu" not in svg


def test_the_same_drawing_has_the_same_bytes_whatever_matplotlib_is_set_to():
    before = drawn().svg
    with matplotlib.rc_context({"lines.linewidth": 9, "svg.fonttype": "path", "font.size": 30, "axes.grid": True}):
        assert drawn().svg == before


def test_the_settings_of_matplotlib_are_as_they_were():
    before = dict(matplotlib.rcParams)
    drawn()
    assert dict(matplotlib.rcParams) == before


def test_two_drawings_of_a_page_share_no_id():
    def ids(one: Chart) -> set[str]:
        return {element.attrib["id"] for element in ET.fromstring(one.svg).iter() if "id" in element.attrib}

    first, second = ids(drawn("first")), ids(drawn("second"))
    assert len(first) > 2 and first.isdisjoint(second)


def test_every_reference_leads_to_an_id_of_the_drawing():
    root = ET.fromstring(drawn().svg)
    ids = {one.attrib["id"] for one in root.iter() if "id" in one.attrib}
    named = {one.attrib["href"][1:] for one in root.iter() if "href" in one.attrib}
    clips = {one.attrib["clip-path"][5:-1] for one in root.iter() if "clip-path" in one.attrib}
    assert named and clips and named | clips <= ids


@pytest.mark.parametrize("text", [HOSTILE, "$\\frac{1}$", "a\x00b\x1b[31m\n\u2028c", "類別", "_hidden", "&amp; %s {x}"])
def test_a_hostile_word_stays_text(text):
    one = drawn(text=label(text))
    root = ET.fromstring(one.svg)
    assert {element.tag for element in root.iter()} <= {
        "svg",
        "g",
        "path",
        "text",
        "defs",
        "use",
        "clipPath",
        "rect",
        "title",
        "desc",
    }
    assert "<script" not in one.svg and "\x1b" not in one.svg
    if not text.startswith("_"):  # which matplotlib keeps out of legends
        assert label(text) in {element.text for element in root.iter("text")}


def test_a_label_is_short_printable_and_on_one_line():
    assert label("a\tb\n c") == "a b c"
    assert label("x" * 50, 10) == "xxxxxxxxx…"
    assert label("a\x07b") == "a b"


def test_a_file_of_its_own_has_a_size_a_ground_its_title_and_the_pages_colours_light_and_dark():
    text = as_file(drawn())
    root = ET.fromstring(text)
    names = [one.tag.rpartition("}")[2] for one in root.iter()]
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and root.attrib["viewBox"] == "0 -22 200 122"
    assert (root.attrib["width"], root.attrib["height"]) == ("200", "122")
    (style,) = (one.text for one in root.iter("{http://www.w3.org/2000/svg}style"))
    light, dark = style.split("prefers-color-scheme: dark")
    for name in {*VARIABLES.values(), "font"}:
        assert f"--{name}:" in light
    assert all(f"--{name}:" in dark for name in VARIABLES.values()) and style.count("{") == style.count("}")
    assert "@media print" not in style and 'fill="var(--page)"' in text
    assert names.index("rect") < names.index("g") and "Title a word" in [one.text for one in root.iter()]


def test_a_file_has_the_same_bytes_and_shows_hostile_words_as_words():
    assert as_file(drawn()) == as_file(drawn())
    root = ET.fromstring(as_file(drawn(text=HOSTILE)))
    assert not [one for one in root.iter() if one.tag.endswith("script")]


def test_a_title_that_is_wider_than_its_drawing_is_cut():
    (title, *_) = [one for one in ET.fromstring(as_file(drawn(text="word " * 30))).iter() if one.tag.endswith("}text")]
    assert title.text.endswith("…") and len(title.text) < 40
