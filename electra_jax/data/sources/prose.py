"""From a documentation string to its paragraphs of prose: code, tables and other markup are left out.

Reads the dialects found in Python sources, reStructuredText, numpydoc, Google style and Markdown, line by line.
"""

from __future__ import annotations

import inspect
import re

from electra_jax.data.sources.english import clean_markup, is_english_prose

_UNDERLINE = re.compile(r"([=\-~^\"'#*+`.])\1{2,}$")
_TABLE_BORDER = re.compile(r"[=\-]{2,}(\s+[=\-]{2,})+$|\+[-=+]+$|\|.*\|$")
_MARKUP = re.compile(r"\.\.(\s|$)|__\s")
_DIRECTIVE = re.compile(r"\.\.\s+([\w:+.-]+)::\s*(.*)$")
_FIELD = re.compile(r":([A-Za-z]+)(?:\s[^:`]*)?:(?:\s+(.*)|$)")
_BULLET = re.compile(r"(?:[*\-+•]|\(?\d{1,3}[.)]|\(?[a-z]\)|#\.)\s+(.*)$")
_ITEM = re.compile(
    r"\*{0,2}[\w.`\[\]]+(?:,\s*\*{0,2}[\w.`]+)*\s*(?:\([^()]*(?:\([^()]*\)[^()]*)*\))?:\s+(.*)$"
)
_HEADER = re.compile(r"([A-Z]\w+(?: [A-Za-z]+)?):$")
_PROMPT = re.compile(r">>>|\.\.\.(\s|$)|In \[\d+\]:|Out\[\d+\]:|\$ |%\w+ ")
_FENCES = ("```", "~~~")
_WRAPPED_AT = 60  # A line at least this long may have been wrapped, its continuation indented.

_KEPT_DIRECTIVES = frozenset(
    ("note", "warning", "tip", "important", "hint", "caution", "danger", "attention")
)
_KEPT_FIELDS = frozenset(("param", "parameter", "arg", "argument", "return", "returns", "raises", "raise"))
_LISTING_SECTIONS = frozenset(
    (
        "parameters",
        "other parameters",
        "returns",
        "yields",
        "receives",
        "raises",
        "warns",
        "attributes",
        "args",
    )
    + ("arguments", "keyword args", "keyword arguments", "methods", "return", "yield", "kwargs")
)
_DROPPED_SECTIONS = frozenset(("references", "reference", "see also", "citation", "copyright", "license"))


def paragraphs(documentation: str) -> list[str]:
    """Return the paragraphs of English prose in a documentation string, each as one line without markup."""
    lines = inspect.cleandoc(documentation).splitlines()
    reader = _Reader()
    for line, following in zip(lines, [*lines[1:], ""]):
        reader.read(line, following.strip())
    reader.end_paragraph()
    cleaned = (clean_markup(paragraph) for paragraph in reader.paragraphs)
    return [paragraph for paragraph in cleaned if is_english_prose(paragraph)]


class _Reader:
    """The paragraphs of the lines read so far; every ``_skip...`` and section is a kind of context."""

    def __init__(self) -> None:
        self.paragraphs: list[str] = []
        self._lines: list[str] = []  # of the paragraph being read
        self._indent = 0  # of its first line
        self._hanging = False  # whether deeper lines continue it, as in a list
        self._skip_deeper_than: int | None = None  # inside a literal block or a dropped directive
        self._skip_to_blank = False  # inside a doctest or a table
        self._fence: str | None = None  # inside a fenced code block
        self._dropped_section = False
        self._types_at: int | None = None  # numpydoc: lines at this indent are names and types
        self._items_below: int | None = None  # Google style: deeper lines may begin with a name and a colon

    def end_paragraph(self) -> None:
        if self._lines:
            self.paragraphs.append(" ".join(self._lines))
        self._lines = []
        self._hanging = False

    def read(self, line: str, following: str) -> None:
        """Read one line; ``following`` is the next one, stripped, because an underline makes this one a heading."""
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        if not text:
            self.end_paragraph()
            self._skip_to_blank = False
        elif self._is_skipped(text, indent) or self._is_heading(text, indent, following):
            return
        elif _TABLE_BORDER.match(text) or _PROMPT.match(text):
            if _TABLE_BORDER.match(text):
                self._lines = []  # The lines above belong to the table.
            self.end_paragraph()
            self._skip_to_blank = True
        elif not self._is_markup(text, indent):
            self._read_text(text, indent)

    def _is_skipped(self, text: str, indent: int) -> bool:
        if self._fence is not None:
            if text.startswith(self._fence):
                self._fence = None
            return True
        if text.startswith(_FENCES):
            self.end_paragraph()
            self._fence = text[:3] if text.count(text[:3]) == 1 else None
            return True
        if self._skip_deeper_than is not None:
            if indent > self._skip_deeper_than:
                return True
            self._skip_deeper_than = None
        return self._skip_to_blank

    def _is_heading(self, text: str, indent: int, following: str) -> bool:
        """Return whether the line is a heading or its underline; a heading opens a section."""
        if _UNDERLINE.match(text):
            self.end_paragraph()
            return True
        if _UNDERLINE.match(following) and not self._lines:
            name = text.lower()
            self._dropped_section = name in _DROPPED_SECTIONS
            self._types_at = indent if name in _LISTING_SECTIONS else None
            self._items_below = None
            return True
        if text.startswith("#") and text.lstrip("#").startswith(" "):  # Markdown
            self.end_paragraph()
            self._dropped_section = text.strip("# ").lower() in _DROPPED_SECTIONS
            return True
        return self._dropped_section

    def _is_markup(self, text: str, indent: int) -> bool:
        """Return whether the line is markup rather than text; what it keeps of it becomes the paragraph being read."""
        if directive := _DIRECTIVE.match(text):
            self.end_paragraph()
            if directive[1].lower() in _KEPT_DIRECTIVES:
                self._start(directive[2], indent, hanging=True)
            else:
                self._skip_deeper_than = indent
            return True
        if _MARKUP.match(text):
            self.end_paragraph()
            self._skip_deeper_than = indent
            return True
        if field := _FIELD.match(text):
            self.end_paragraph()
            if field[1].lower() in _KEPT_FIELDS:
                self._start(field[2] or "", indent, hanging=True)
            else:
                self._skip_deeper_than = indent
            return True
        header = _HEADER.match(text)
        if header and not self._lines:
            name = header[1].lower()
            self._items_below = indent if name in _LISTING_SECTIONS else None
            if name in _DROPPED_SECTIONS:
                self._skip_deeper_than = indent
            return True
        if self._types_at is not None and indent <= self._types_at:
            self.end_paragraph()
            return True
        return False

    def _read_text(self, text: str, indent: int) -> None:
        if self._items_below is not None and indent <= self._items_below:
            self._items_below = None
        continues = self._continues(indent)
        item = _ITEM.match(text) if self._items_below is not None and not continues else None
        bullet = _BULLET.match(text)
        if item or bullet:
            self.end_paragraph()
            self._start((item or bullet)[1], indent, hanging=True)  # type: ignore[index]
        elif continues:
            self._lines.append(text)
        else:
            self.end_paragraph()
            self._start(text, indent, hanging=False)
        if text.endswith("::"):
            self._lines[-1] = self._lines[-1][:-1]
            self._skip_deeper_than = self._indent
            self.end_paragraph()

    def _continues(self, indent: int) -> bool:
        """Return whether the line goes on with the paragraph being read."""
        if not self._lines:
            return False
        if indent == self._indent:
            return not self._hanging
        if indent < self._indent or self._hanging:
            return indent > self._indent
        last = self._lines[-1]
        self._hanging = len(last) + self._indent >= _WRAPPED_AT and not last.endswith((".", ":", "!", "?"))
        return self._hanging

    def _start(self, text: str, indent: int, *, hanging: bool) -> None:
        self._lines = [text] if text else []
        self._indent = indent
        self._hanging = hanging
