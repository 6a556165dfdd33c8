"""How many characters of a text cleaning changes, by script, and where that is more than their case."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from electra_jax.errors import listed
from electra_jax.tokenizers import Tokenizer
from electra_jax.tokenizers.notes import NORMALIZERS
from electra_jax.tokenizers.pinned_unicode import UNASSIGNED, UNICODE, category

# Every character of so many is counted; behind them those of every sixteenth document, which is soon enough.
FULLY_COUNTED_CHARACTERS = 2_000_000
SAMPLED_DOCUMENT_EVERY = 16

# Shares of a script's characters from which on its damage is spoken of: é in an English text is no more than a name.
_MIN_SHARE = 0.001
_MAX_SCRIPTS = 8
# Unicode names begin with the script, behind these words.
_WIDTHS = ("FULLWIDTH", "HALFWIDTH")
_NO_SCRIPT = "signs and digits"


@dataclass
class CharacterCounts:
    """How often each character was met: in all text at first, in a sample of the documents beyond that."""

    counts: Counter[str] = field(default_factory=Counter)
    characters: int = 0
    documents: int = 0

    def add(self, text: str) -> None:
        """Count the characters of a document, or pass over it where enough were counted."""
        self.documents += 1
        if self.characters < FULLY_COUNTED_CHARACTERS or self.documents % SAMPLED_DOCUMENT_EVERY == 0:
            self.counts.update(text)
            self.characters += len(text)


def cleaning_lines(counts: Mapping[str, int], tokenizer: Tokenizer) -> list[str]:
    """Return a line with the share of characters that cleaning changes, and one where some lose more than their case.

    Each character is looked at alone. White space and invisible characters do not count, nor does what
    SentencePiece's NFKC does to compatible forms.
    """
    clean = NORMALIZERS[tokenizer.kind](**tokenizer.options)
    scripts: dict[str, _Script] = defaultdict(_Script)
    for char, count in counts.items():
        kind = category(char)
        if kind[0] == "Z" or kind in ("Cc", "Cf", "Cs"):
            continue
        script = scripts[_script(char, kind)]
        script.characters += count
        cleaned = clean(char).strip()
        if cleaned != char:
            script.changed += count
            if _folded(cleaned) != _folded(char):
                script.damaged[char, cleaned] += count
    total = sum(script.characters for script in scripts.values())
    changed = sum(script.changed for script in scripts.values())
    if not changed:
        return ["cleaning changes none of the characters"] if total else []
    ranked = sorted(scripts.items(), key=lambda item: -item[1].characters)
    shown = ", ".join(script.described(name) for name, script in ranked[:_MAX_SCRIPTS])
    lines = [f"cleaning changes {changed / total:.2%} of the characters: {shown}"]
    damaged = [script.example(name) for name, script in ranked if script.is_damaged]
    if damaged:
        remedy = (
            "; tokenizer.strip_accents=false keeps accents and vowel signs"
            if tokenizer.options["strip_accents"]
            else f"; cleaning for WordPiece removes private characters and those that Unicode {UNICODE} has not"
        )
        lines.append(f"note: more than case is lost in {listed(damaged, _MAX_SCRIPTS)}{remedy}")
    return lines


@dataclass
class _Script:
    characters: int = 0
    changed: int = 0
    damaged: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def damaged_share(self) -> float:
        return self.damaged.total() / self.characters

    @property
    def is_damaged(self) -> bool:
        return self.damaged_share >= _MIN_SHARE

    def described(self, name: str) -> str:
        alone = ", case alone" if self.changed and not self.damaged else ""
        return f"{name} {self.changed / self.characters:.2%} of {self.characters:,}{alone}"

    def example(self, name: str) -> str:
        (char, cleaned), _ = self.damaged.most_common(1)[0]
        # A mark is shown on a circle, as Unicode's charts do.
        shown = f"\u25cc{char}" if category(char).startswith("M") else char
        became = f"becomes {cleaned}" if cleaned else "is removed"
        return f"{name} ({self.damaged_share:.1%} of its characters; {shown} {became})"


def _script(char: str, kind: str) -> str:
    if kind == UNASSIGNED:
        return "newer characters"
    if kind[0] not in "LM":
        return _NO_SCRIPT
    words = unicodedata.name(char, _NO_SCRIPT).split()
    first = words[1] if words[0] in _WIDTHS and len(words) > 1 else words[0]
    return {"CJK": "Chinese characters", "COMBINING": "combining marks"}.get(first, first.capitalize())


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower()
