"""The page that lists what the site ships of others, and under which licences."""

from collections.abc import Iterator

from posbench.site.context import Page, Site

PATH = "licences.html"


def pages(site: Site) -> Iterator[Page]:
    """One page; ``build`` gives it the licences of what the other pages load."""
    yield Page(PATH, "licences.html", "Licences")
