"""What the site needs of pages written for the repository: links to its other files lead there."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"\]\(((?:\.\./)+[^)\s#]+)(#[^)\s]*)?\)")


# MkDocs and its types are in an environment of their own, where nothing is linted.
def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:  # noqa: ANN401
    """Let links that leave docs/ lead to the repository. A file that is not there stays as it is: MkDocs refuses it."""
    source = Path(page.file.abs_src_path)

    def leads(found: re.Match[str]) -> str:
        target = (source.parent / found[1]).resolve()
        if not target.exists() or not target.is_relative_to(ROOT) or target.is_relative_to(ROOT / "docs"):
            return found[0]
        kind = "tree" if target.is_dir() else "blob"
        return f"]({config['repo_url']}/{kind}/main/{quote(target.relative_to(ROOT).as_posix())}{found[2] or ''})"

    return _LINK.sub(leads, markdown)
