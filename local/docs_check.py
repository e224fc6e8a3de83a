"""Checks that the links between the project's Markdown pages lead somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

_LINK = re.compile(r"!?\[[^]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_HEADING = re.compile(r"^#+\s+(.*?)\s*$", re.MULTILINE)


def broken_links(root: Path) -> list[str]:
    """One line for each link to a file or heading that does not exist; addresses on the web are not asked."""
    return [problem for page in pages(root) for problem in _broken(page, root)]


def pages(root: Path) -> list[Path]:
    """The Markdown pages of the project."""
    return sorted([*root.glob("*.md"), *root.glob("docs/**/*.md")])


def anchor(heading: str) -> str:
    """The anchor that a rendered heading gets.

    >>> anchor("What `make up` does, in short")
    'what-make-up-does-in-short'
    """
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _broken(page: Path, root: Path) -> Iterator[str]:
    for link in _LINK.findall(_CODE.sub("", page.read_text())):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            yield f"{page.relative_to(root)}: {link} does not exist"
        elif fragment and target.suffix == ".md" and fragment not in map(anchor, _HEADING.findall(target.read_text())):
            yield f"{page.relative_to(root)}: {link} has no such heading"
