"""A page as the tests see it: parsed, its tags balanced, and what it refers to."""

from html.parser import HTMLParser

VOID = {"meta", "line", "rect", "polyline", "path", "circle", "img", "br", "wbr", "link", "input"}


class Page(HTMLParser):
    """Collects tags with their attributes, and the visible text; AssertionError if tags are not balanced."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(html)
        self.close()
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        """The attributes of every element of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]
