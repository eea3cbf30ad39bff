"""What the site needs beyond docs/: files that pages link to, folders in the menu, examples of docstrings.

On the site, a file outside docs/ that a page links to or shows is under repository/, and so are the files
that it links to itself.
"""

import os
import re
from pathlib import Path

import griffe
from mkdocs.structure.files import File, InclusionLevel

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
OUTSIDE = "repository/"
CODE = re.compile(r"(^ *```.*?^ *```$|`[^`\n]*`)", re.MULTILINE | re.DOTALL)
FOLDER = re.compile(r"(?<!!)\[([^\]\n]+)\]\(([^)\s#:]+)\)")
LINK = re.compile(r"(\]\(|src=\")(?!https?:|mailto:|#)([^)\s\"#]+)")


def _source(uri: str) -> Path:
    """The file of the repository that a source of the site is."""
    return ROOT / uri.removeprefix(OUTSIDE) if uri.startswith(OUTSIDE) else DOCS / uri


def _uri(file: Path) -> str:
    """Its inverse."""
    inside = file.is_relative_to(DOCS)
    return file.relative_to(DOCS).as_posix() if inside else OUTSIDE + file.relative_to(ROOT).as_posix()


def _targets(uri: str):
    """Files of the repository that a page links to."""
    here = _source(uri)
    for _, link in LINK.findall(here.read_text()):
        target = (here.parent / link).resolve()
        if target.is_file() and target.is_relative_to(ROOT):
            yield target


def on_config(config):
    """An entry of the menu that ends in / stands for the pages of that folder, index.md first."""

    def expanded(items):
        for item in items:
            ((title, value),) = item.items()
            if isinstance(value, list):
                yield {title: list(expanded(value))}
            elif value.endswith("/"):
                pages = sorted(
                    (DOCS / value).glob("*.md"), key=lambda page: (page.stem != "index", page.stem)
                )
                if pages:
                    yield {title: [_uri(page) for page in pages]}
            else:
                yield item

    config.nav = list(expanded(config.nav))
    return config


def on_files(files, config):
    waiting = [file.src_uri for file in files.documentation_pages()]
    while waiting:
        for target in _targets(waiting.pop()):
            uri = _uri(target)
            if files.get_file_from_path(uri) is None:
                added = File.generated(
                    config, uri, abs_src_path=str(target), inclusion=InclusionLevel.NOT_IN_NAV
                )
                files.append(added)
                if added.is_documentation_page():
                    waiting.append(uri)
    return files


def on_page_markdown(markdown, page, config, files):
    """Links between docs/ and the rest of the repository, as the site has them."""
    uri = page.file.src_uri
    here = _source(uri)

    def moved(match):
        target = (here.parent / match[2]).resolve()
        if not target.is_relative_to(ROOT) or files.get_file_from_path(_uri(target)) is None:
            return match[0]
        return match[1] + os.path.relpath(_uri(target), os.path.dirname(uri) or ".")

    # A folder is no page of a site: what was said of it is left.
    markdown = FOLDER.sub(lambda m: m[1] if (here.parent / m[2]).is_dir() else m[0], markdown)
    parts = CODE.split(markdown)
    # Two pairs of brackets in a formula are no link.
    parts[::2] = [LINK.sub(moved, text).replace("][", "]\\[") for text in parts[::2]]
    return "".join(parts)


class Examples(griffe.Extension):
    """Examples of docstrings, which Markdown would take for quotations, as blocks of code."""

    def on_instance(self, *, obj, **_):
        if obj.docstring is not None:
            text = re.sub(r"(?m)^(>>> .*\n?(?:^(?!$).*\n?)*)", r"```pycon\n\1\n```\n", obj.docstring.value)
            obj.docstring.value = text.replace("\n\n```\n", "\n```\n")
