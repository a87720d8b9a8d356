"""Check a built site: nothing is loaded from elsewhere, and every link inside it leads somewhere.

``check_site.py docs/_build/html``; ends with exit code 1 and the list of what is wrong.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Elements whose address a browser loads by itself.
LOADED = {
    "img": "src",
    "script": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "object": "data",
}
LINKS_ONLY = {"next", "prev", "index", "search", "canonical", "author", "copyright"}
_CSS = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")


class Page(HTMLParser):
    """Addresses and anchors of one page."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect."""
        given = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := given.get(name))}
        address = given.get(LOADED.get(tag, ""))
        if address and not (tag == "link" and given.get("rel") in LINKS_ONLY):
            self.loaded.append(address)
        if tag == "a" and (href := given.get("href")):
            self.links.append(href)
        self.loaded += [a or b for a, b in _CSS.findall(given.get("style") or "")]


def from_elsewhere(address: str) -> bool:
    """Whether something would be loaded over a network."""
    return address.startswith(("http:", "https:", "//", "ftp:"))


def problems(root: Path) -> list[str]:
    """What is wrong with the pages below a folder."""
    pages = {}
    for path in sorted(root.rglob("*.html")):
        page = Page()
        page.feed(path.read_text(encoding="utf-8"))
        pages[path] = page
    found = []
    for path, page in pages.items():
        here = path.relative_to(root)
        found += [f"{here}: loads {a}" for a in page.loaded if from_elsewhere(a)]
        for address in page.links:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                found.append(f"{here}: {address} leads nowhere")
            elif target in pages and unquote(parts.fragment) not in {"", *pages[target].anchors}:
                found.append(f"{here}: {address} has no such place")
    for path in sorted(root.rglob("*.css")):
        addresses = [a or b for a, b in _CSS.findall(path.read_text(encoding="utf-8"))]
        found += [f"{path.relative_to(root)}: loads {a}" for a in addresses if from_elsewhere(a)]
    return found


if __name__ == "__main__":
    folder = Path(sys.argv[1]).resolve()
    listed = problems(folder)
    count = len(list(folder.rglob("*.html")))
    print("\n".join(listed) or f"{count} pages: no address from elsewhere, no broken link")
    sys.exit(bool(listed))
