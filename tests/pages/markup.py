"""Reading a page as a browser does, with nothing but the standard library."""

from html.parser import HTMLParser
from itertools import pairwise

VOID = {"meta", "img", "br", "input", "link", "hr"}


class Page(HTMLParser):
    """The elements of a page: tags with attributes, and the text within each kind of element.

    Raises an AssertionError where an element is closed that is not open, or left open.
    """

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.texts = [], [], {}
        self.feed(text)
        self.close()
        assert self.open == [], self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID and self.get_starttag_text()[-2:] != "/>":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data):
        for tag in set(self.open):
            self.texts.setdefault(tag, []).append(data)

    def all(self, tag):
        """Attributes of all elements of a tag."""
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, tag="body"):
        """All text within elements of a tag."""
        return " ".join(" ".join(self.texts.get(tag, [])).split())

    @property
    def ids(self):
        return [a["id"] for _, a in self.elements if "id" in a]

    @property
    def visible(self):
        """Text that a reader sees: without scripts and styles."""
        hidden = set(self.texts.get("script", [])) | set(self.texts.get("style", []))
        kept = [part for part in self.texts.get("body", []) if part not in hidden]
        return " ".join(" ".join(kept).split())


def check_self_contained(page):
    """Nothing on the page is fetched, and no element runs code of its own."""
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "srcset", "poster", "data"):
            value = attributes.get(name)
            if value is not None and not (tag == "form" and value == ""):
                assert value.startswith(("data:image/", "#")), (tag, name, value[:60])
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        assert tag not in ("iframe", "object", "embed", "link", "base")
    style = " ".join(page.texts.get("style", []))
    assert "url(" not in style and "@import" not in style


def check_accessible(page):
    """What can be said without a browser: names, one h1, no level of headings left out."""
    levels = [int(tag[1]) for tag, _ in page.elements if tag in ("h1", "h2", "h3", "h4")]
    assert levels.count(1) == 1 and levels[0] == 1
    # The page is drawn by a script as well, but only below headings that are there.
    assert all(b - a <= 1 for a, b in pairwise(levels)), levels
    assert all("alt" in image for image in page.all("img"))
    assert len(set(page.ids)) == len(page.ids)
    targets = {a["href"][1:] for a in page.all("a")}
    assert targets <= set(page.ids)
    assert page.all("html") == [{"lang": "en"}]
