"""What only tasks on conversations have: where the turns are, and how they become text."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from electra_jax.config.fields import Section, field


class ConversationsConfig(Section):
    """How files of conversations are read: every turn but the first is a reply to those before it."""

    turns: str | None = field(
        None,
        "JSON: field with the list of turns, each a text or an object with text (or content) and speaker (or role); "
        "null: turns, utterances or messages.",
    )
    speakers: Literal["sides", "names", "alternate", "none"] = field(
        "sides",
        "How who speaks becomes text: sides: whoever replies is me, others are you; names: as files have them; "
        "alternate: files do not say, but two take turns (me and you); none: not at all, each turn has a dash.",
    )
    history: int | None = field(
        None, "Most turns that are read before a reply; null: as many as data.sequence_length holds.", ge=1
    )
    replies_by: str | None = field(
        None, "Only turns of this speaker are replies to learn and to evaluate; null: everybody's."
    )
    keep_repeated: bool = field(
        False, "Evaluate on conversations, too, that are among those of train word for word."
    )

    @property
    def form(self) -> Literal["sides", "names", "none"]:
        """How the text of turns says who speaks."""
        return "sides" if self.speakers == "alternate" else self.speakers

    @property
    def names_speakers(self) -> bool:
        """Whether files have to say who speaks."""
        return self.speakers in ("sides", "names")

    @model_validator(mode="after")
    def _check(self) -> ConversationsConfig:
        if self.replies_by is not None and not self.names_speakers:
            raise ValueError(
                f"replies_by needs to know who speaks, which speakers {self.speakers} does not: leave one of them out"
            )
        return self
