"""From a documentation string to its paragraphs of prose: what is code, table or markup is left out.

Reads the three dialects found in Python sources, reStructuredText, numpydoc and Google style, line by line.
"""

from __future__ import annotations

import inspect
import re

from electra_jax.data.sources.english import clean_markup, is_english_prose

_UNDERLINE = re.compile(r"([=\-~^\"'#*+`.])\1{2,}$")
_TABLE_BORDER = re.compile(r"[=\-]{2,}(\s+[=\-]{2,})+$|\+[-=+]+\+?$|\|.*\|$")
_DIRECTIVE = re.compile(r"\.\.\s+([\w:+.-]+)::\s*(.*)$")
_FIELD = re.compile(r":([A-Za-z]+)(\s[^:`]*)?:(?:\s+(.*)|$)")
_BULLET = re.compile(r"(?:[*\-+•]|\(?\d{1,3}[.)]|\(?[a-z]\)|#\.)\s+(.*)$")
_ITEM = re.compile(r"\*{0,2}[\w.`\[\]]+(?:,\s*\*{0,2}[\w.`]+)*\s*(?:\([^()]*(?:\([^()]*\)[^()]*)*\))?:\s+(.*)$")
_GOOGLE_HEADER = re.compile(r"([A-Z][A-Za-z]+(?: [A-Za-z]+)?):$")
_PROMPT = re.compile(r">>>|\.\.\.(\s|$)|In \[\d+\]:|Out\[\d+\]:|\$ |%\w+ ")

_KEPT_DIRECTIVES = frozenset("note warning tip important hint caution danger attention admonition".split())
_KEPT_FIELDS = frozenset("param parameter arg argument key keyword return returns raises raise yields".split())
_TYPED_SECTIONS = frozenset(
    ("parameters", "other parameters", "returns", "yields", "receives", "raises", "warns", "warnings", "attributes")
    + ("keyword arguments", "arguments", "keywords", "methods")
)
_ITEM_SECTIONS = _TYPED_SECTIONS | {"args", "keyword args", "kwargs", "return", "note", "notes", "warning", "yield"}
_DROPPED_SECTIONS = frozenset(
    "references reference|see also|usage|sample usage|example usage|example|examples|citation|todo|copyright".replace(
        "references reference", "references|reference"
    ).split("|")
)


def paragraphs(documentation: str) -> list[str]:
    """Returns the paragraphs of English prose in a documentation string, each as one line without markup."""
    reader = _Reader()
    lines = inspect.cleandoc(documentation).splitlines()
    for number, line in enumerate(lines):
        following = lines[number + 1].strip() if number + 1 < len(lines) else ""
        reader.read(line, following)
    reader.flush()
    cleaned = (clean_markup(paragraph) for paragraph in reader.found)
    return [paragraph for paragraph in cleaned if is_english_prose(paragraph)]
