"""The HTML part says what the plain part says, on any screen, and fetches nothing."""

import re
from html.parser import HTMLParser

import pytest

from notifier.app import read_edition
from notifier.domain.layout import Block, Line, blocks
from notifier.domain.notification import Template
from notifier.domain.templates import PLACEHOLDERS, PLAIN_ONLY, Templates, in_body
from shared.policy.load import load_policy

EDITION = read_edition(load_policy())
TEMPLATES = Templates(EDITION)
WITH_HTML = [(one, language) for one in Template if one not in PLAIN_ONLY for language in EDITION.languages(one)]
everywhere = pytest.mark.parametrize(("template", "language"), WITH_HTML, ids=[f"{b}-{a}" for a, b in WITH_HTML])
VOID = {"meta", "br"}


class Page(HTMLParser):
    """What a mail program makes of it: well-formed elements with their attributes, and the text that is seen."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.seen = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        elif tag == "br":
            self.seen += "\n"

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        self.seen += "\n"

    def handle_data(self, data: str) -> None:
        if "title" not in self._open:
            self.seen += data


def written(template: Template, language: str, value: str = 'a long value with <b> & "quotes"') -> tuple[str, Page]:
    words = TEMPLATES.text(template, language).render(dict.fromkeys(PLACEHOLDERS[template], value))
    assert words.html is not None
    return words.body, Page(words.html)


def lines(text: str) -> list[str]:
    """Lines without the mark of a list, which HTML draws itself."""
    bare = (re.sub(r"^(- |\d{1,3}\. )", "", line.strip()) for line in text.splitlines())
    return [line for line in bare if line]


@everywhere
def test_both_parts_say_the_same_words_in_the_same_order(template: Template, language: str) -> None:
    """Beside the name above it, the HTML part adds and leaves out nothing (T1)."""
    body, page = written(template, language)
    assert lines(page.seen) == ["Storytailor", *lines(body)]


@everywhere
def test_it_is_read_on_a_narrow_screen_and_on_a_wide_one(template: Template, language: str) -> None:
    """It is as wide as the screen and 600 pixels at most, nothing has a width of its own, long words are broken."""
    _, page = written(template, language, "W" * 300)
    metas = [attributes for tag, attributes in page.elements if tag == "meta"]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in metas
    for _, attributes in page.elements:
        assert attributes.get("width", "100%") == "100%"
        style = attributes.get("style") or ""
        assert re.findall(r"(?:^|;)(?:min-)?width:", style) == []
        assert [int(width) for width in re.findall(r"max-width:(\d+)px", style) if int(width) > 600] == []
    assert any("overflow-wrap:anywhere" in (attributes.get("style") or "") for _, attributes in page.elements)
    assert dict(page.elements)["html"]["lang"] == language


@everywhere
def test_nothing_is_fetched_linked_hidden_or_run(template: Template, language: str) -> None:
    """No image, pixel, style sheet, script, form or link, whatever a value says."""
    _, page = written(template, language, '<img src="https://x.example/p.gif" onerror="x()"><script>x()</script>')
    tags = {tag for tag, _ in page.elements}
    assert tags <= {"html", "head", "meta", "title", "body", "table", "tr", "td", "p", "br", "ul", "ol", "li"}
    for _, attributes in page.elements:
        assert set(attributes) <= {
            "lang",
            "charset",
            "name",
            "content",
            "style",
            "role",
            "width",
            "cellpadding",
            "cellspacing",
            "align",
            "value",
        }
        style = attributes.get("style") or ""
        assert not re.search(r"url\(|display:none|visibility|opacity|font-size:0|//", style)


ATTACKS = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<svg/onload=alert(1)>",
    "<iframe srcdoc='<script>1</script>'>",
    "<a href='javascript:alert(1)'>x</a>",
    "<style>*{display:none}</style>",
    "<!-- <img src=x> -->",
    "<![CDATA[<b>x</b>]]>",
    "</td></tr></table><table><tr><td>",
    "</body></html><html><body>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;",
    "<meta http-equiv=refresh content='0;url=https://x.example'>",
    "<link rel=stylesheet href=https://x.example/x.css>",
    "<base href=https://x.example/>",
    "<form action=https://x.example><input name=password>",
    "<object data=x><embed src=x>",
    "<math><mtext><img src=x></mtext></math>",
    "<b onmouseover=alert(1)>x</b>",
    "<IMG SRC=x>",
    "<img\nsrc=x>",
    "\x00<img src=x>",
    "{{ 7*7 }}",
    "{{ self.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{% for x in range(10**9) %}x{% endfor %}",
    "{% include '/etc/passwd' %}",
    "{# comment #}",
    "${7*7}",
    "#{7*7}",
    "<%= 7*7 %>",
    "[User Name]",
    "%(user_name)s {user_name}",
    "{{ user_name }}",
    "1. one\n2. two",
    "- one\n- two",
    "\n\n\n",
    "\u2028<p>\u2029",
]


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
@pytest.mark.parametrize(
    "template", [one for one, language in WITH_HTML if language == "en" and one is not Template.RECEIPT]
)
def test_no_value_becomes_markup_or_is_expanded(template: Template, attack: str) -> None:
    """Whatever somebody calls themselves or writes: both parts show it as it is (31, 34, HD-67)."""
    body, page = written(template, "en", f"x {attack} x")
    _, harmless = written(template, "en", "x")
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in harmless.elements} | {"ul", "ol", "li", "p", "br"}
    assert lines(page.seen) == ["Storytailor", *lines(body)]
    assert in_body(f"x {attack} x") in body


@pytest.mark.parametrize("template", sorted(PLAIN_ONLY))
def test_what_wakes_somebody_has_no_html(template: Template) -> None:
    assert TEMPLATES.text(template, "en").render(dict.fromkeys(PLACEHOLDERS[template], "x")).html is None


def test_paragraphs_and_lists_are_told_from_their_lines() -> None:
    """A list may follow its sentence without an empty line, and numbers are kept."""
    body = "We have:\n1. Added\n3. Told\n\nThe rest:\n- one\n- two\nBest regards\nNoor\n"
    assert list(blocks(body)) == [
        Block("p", (Line("p", "We have:"),)),
        Block("ol", (Line("ol", "Added", "1"), Line("ol", "Told", "3"))),
        Block("p", (Line("p", "The rest:"),)),
        Block("ul", (Line("ul", "one"), Line("ul", "two"))),
        Block("p", (Line("p", "Best regards"), Line("p", "Noor"))),
    ]


@pytest.mark.parametrize("line", ["-5 degrees", "2024. was", "1.5 hours", "-- ", "1) x"])
def test_what_only_looks_like_a_list_stays_as_it_is(line: str) -> None:
    assert [block.tag for block in blocks(line)] == ["p"]
