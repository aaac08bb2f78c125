"""A hook of mkdocs: results/ becomes a part of the site.

Pages link to `../results/...`, which code hosts show as it stands. Here its pages and pictures are added to the site as
`results/...`, and the links of pages in docs/ are shortened by the one step that leads out of docs/.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(\]\()(?!\w+:|#|/)([^)\s]+)")


def on_files(files, config):
    """Adds pages and pictures of results/."""
    for path in sorted(ROOT.glob("results/**/*")):
        if path.suffix in (".md", ".png"):
            name = path.relative_to(ROOT).as_posix()
            options = {"dest_dir": config.site_dir, "use_directory_urls": config.use_directory_urls}
            files.append(File(name, src_dir=str(ROOT), **options))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turns the links of a page in docs/ to results/ into links within the site."""
    if page.file.src_uri.startswith("results/"):
        return markdown
    return LINK.sub(lambda found: found[1] + inside(found[2], page.file.src_uri), markdown)


def inside(target, page):
    """A link of a page of docs/, as the site has it.

    >>> inside("../../results/agents/README.md", "agents/ppo.md")
    '../results/agents/README.md'
    """
    folder = posixpath.dirname(page)
    place = posixpath.normpath(posixpath.join("docs", folder, target))
    return posixpath.relpath(place, folder or ".") if place.startswith("results/") else target
