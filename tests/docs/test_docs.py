"""Every code block of the docs runs, every link between pages leads somewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("docs_pages", Path(__file__).with_name("pages.py"))
assert _spec is not None
assert _spec.loader is not None
pages = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(pages)

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def name(page):
    return str(page.relative_to(pages.ROOT))


def is_slow(page):
    return any(block.slow for block in pages.blocks(page.read_text(encoding="utf-8")))


def has_code(page):
    found = pages.blocks(page.read_text(encoding="utf-8"))
    return any(block.language in ("python", "console") and not block.skipped for block in found)


LONG = ("write-a-policy", "plan-a-site", "route-by-the-store")
QUICK = [page for page in pages.pages() if has_code(page) and not is_slow(page)]
SLOW = [page for page in pages.pages() if has_code(page) and is_slow(page)]


@pytest.mark.parametrize(
    "page",
    [pytest.param(one, marks=pytest.mark.slow) if one.stem in LONG else one for one in QUICK],
    ids=name,
)
def test_the_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pages.run(page, page.read_text(encoding="utf-8"))


@pytest.mark.e2e
@pytest.mark.parametrize("page", SLOW, ids=name)
def test_the_slow_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pages.run(page, page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", pages.pages(), ids=name)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{name(page)}: {link}"
        if anchor:
            assert anchor in anchors(path), f"{name(page)}: {link}"


def anchors(page):
    words = (re.sub(r"[^\w\- ]", "", head.lower()) for head in HEADING.findall(page.read_text()))
    return {word.strip().replace(" ", "-") for word in words}


def test_every_page_is_reached_from_the_index():
    index = pages.ROOT / "docs" / "README.md"
    linked = {
        (index.parent / link.partition("#")[0]).resolve()
        for link in LINK.findall(index.read_text())
    }
    decisions = pages.ROOT / "docs" / "decisions"
    linked |= {
        (decisions / link).resolve() for link in LINK.findall((decisions / "README.md").read_text())
    }
    missing = [name(page) for page in pages.pages()[1:] if page.resolve() not in linked | {index}]
    assert missing == []


def test_the_harness_sees_a_block_that_fails(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZeroDivisionError):
        pages.run(Path("page.md"), "```python\n1 / 0\n```\n")
    with pytest.raises(AssertionError, match="left with 2"):
        pages.run(Path("page.md"), "```console\n$ baseload simulate azure-chat -p nobody\n```\n")


def test_the_harness_writes_files_keeps_names_and_knows_its_comments(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = """
```yaml
# file: my.yaml
a: 1
```

```python
from pathlib import Path
x = Path("my.yaml").read_text()
```

<!-- not run: needs a GPU -->

```python
raise RuntimeError
```

```python
assert "a: 1" in x
```

<!-- exit: 2 -->

```console
$ baseload simulate azure-chat -p nobody
an error
```
"""
    pages.run(Path("page.md"), page)
    assert pages.blocks("<!-- e2e -->\n\n```console\n$ baseload x \\\n  y\n```\n")[0].slow
    assert pages.commands("$ baseload x \\\n  y # why\nout\n$ other") == [["x", "y"]]
