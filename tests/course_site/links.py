"""What the pages of a built site point to."""

from html.parser import HTMLParser
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}  # when a page is opened


class Page(NamedTuple):
    """One page: what opens with it, what it links to, and the names that can be linked to."""

    loads: list[str]
    links: list[str]
    ids: set[str]


class Reader(HTMLParser):
    """Gathers a Page."""

    def __init__(self):
        super().__init__()
        self.page = Page([], [], set())

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if attributes.get("id"):
            self.page.ids.add(attributes["id"])
        if tag == "a" and attributes.get("href"):
            self.page.links.append(attributes["href"])
        if attributes.get(LOADED.get(tag)):
            self.page.loads.append(attributes[LOADED[tag]])


def read(path):
    """The Page in an HTML file."""
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader.page


def dangling(site):
    """The links and loads that lead nowhere within a site, as "page: target"."""
    pages = {path: read(path) for path in site.rglob("*.html")}
    found = []
    for path, page in pages.items():
        for target in page.loads + page.links:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            fragment = unquote(parts.fragment)
            if not there.is_file() or (fragment and there in pages and fragment not in pages[there].ids):
                found.append(f"{path.relative_to(site)}: {target}")
    return found


def from_elsewhere(site):
    """What pages load from other places than the site."""
    loads = {(path, target) for path in site.rglob("*.html") for target in read(path).loads}
    return [
        f"{path.relative_to(site)}: {url}"
        for path, url in loads
        if urlsplit(url).scheme not in ("", "data") or urlsplit(url).netloc
    ]
