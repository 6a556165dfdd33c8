"""Examples out of conversations: every turn but the first is a reply to those before it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from electra_jax.config.conversations import ConversationsConfig
from electra_jax.config.ranking_task import RankingConfig
from electra_jax.config.seq2seq_task import Seq2SeqConfig
from electra_jax.data.sources.read_many import read_all
from electra_jax.dialogue.turns import replies, reply_text, turns_text
from electra_jax.errors import UserError, quoted
from electra_jax.tasks.negatives import drawn_texts, no_negatives_of
from electra_jax.tasks.protocol import Example, RankingExample, RetrievedExample, Seq2SeqExample
from electra_jax.tasks.sources.conversations import EXTENSIONS, Conversation, ConversationReader
from electra_jax.tasks.sources.own_files import checked_extension
from electra_jax.tasks.sources.retrieved import check_retrieved

# With the reply itself twenty candidates, as published figures of dialogue have them.
_DISTRACTORS = 19

Conversations = dict[str, list[Conversation]]


def reply_examples(
    paths: Mapping[str, Path],
    config: Seq2SeqConfig | RankingConfig,
    conversations: ConversationsConfig,
    where: str,
    notes: list[str],
    sequence_length: int | None = None,
) -> dict[str, list[Example]]:
    """Read files of conversations, and return an example for each reply, by split.

    Its identifier is the conversation's, a colon, and the number of the turn from 0.

    Args:
        paths: of the files, by split.
        config: section of the task.
        conversations: its section ``conversations``.
        where: name of the task's section, for messages.
        notes: which conversations were left out, and where there are fewer distractors than are wanted, is appended.
        sequence_length: tokens that are read of the turns before a reply. As each has one or more, no more turns than
            that are put together, or a long conversation would take memory by the square of its length.

    Raises:
        UserError: a file that cannot be read; a conversation of one turn; nothing that is left to evaluate on.
    """
    retrieval = config.retrieval if isinstance(config, Seq2SeqConfig) else None
    reader = ConversationReader(conversations, config.id, where, retrieval)
    read = read_all(partial(_read, path, reader, config.kind, where) for path in paths.values())
    found = dict(zip(paths, read, strict=True))
    if not conversations.keep_repeated:
        found = _without_repeated(found, where, notes)
    examples: dict[str, list[Example]] = {}
    for split, some in found.items():
        replied = [example for one in some for example in _examples(one, conversations, sequence_length)]
        if retrieval is not None:
            check_retrieved(replied, retrieval, where, paths[split])
        if isinstance(config, RankingConfig):
            count = 0 if split == "train" else config.distractors or _DISTRACTORS
            examples[split] = list(_ranked(replied, count, where, split, notes))
        else:
            examples[split] = list(replied)
        if some and not examples[split]:
            names = {turn.speaker for one in some for turn in one.turns if turn.speaker}
            raise UserError(
                f"{where}.conversations.replies_by is {conversations.replies_by!r}, by whom there is no reply in "
                f"{paths[split]} (who speaks there: {quoted(sorted(names))}); name one of them, or leave it out."
            )
    return examples


def _read(path: Path, reader: ConversationReader, kind: str, where: str) -> list[Conversation]:
    found = list(reader.records(path, checked_extension(path, f"{kind} on conversations", EXTENSIONS, where)))
    for one in found:
        if len(one.turns) < 2:
            raise UserError(
                f"{one.place} is a conversation of one turn, which has no reply; leave it out, or give it another turn."
            )
    return found


def _examples(
    conversation: Conversation, config: ConversationsConfig, sequence_length: int | None
) -> Iterator[Seq2SeqExample]:
    history = min((most for most in (config.history, sequence_length) if most is not None), default=None)
    for number, before, reply in replies(conversation.turns, history):
        if config.replies_by in (None, reply.speaker):
            context = turns_text(before, reply.speaker, config.form)
            known = (f"{conversation.id}:{number}", context, (reply_text(reply),))
            if conversation.retrieved:
                yield RetrievedExample(*known, conversation.retrieved[number])
            else:
                yield Seq2SeqExample(*known)


def _ranked(
    replied: Sequence[Seq2SeqExample], distractors: int, where: str, split: str, notes: list[str]
) -> Iterator[RankingExample]:
    """Yield each reply as the right candidate, the first, among so many others of the same split.

    What is a reply to the same turns elsewhere is none of the others: texts that were not drawn yet take its place. So
    the others of most examples are the same however many turns are read, and by whom they are. A reply that has no
    others is left out.

    Raises:
        UserError: there are no others.
    """
    if not distractors:
        yield from (_alone(example) for example in replied)
        return
    pool = sorted({text for example in replied for text in example.targets or ()})
    if replied and len(pool) < 2:
        raise UserError(
            f"{where}.{split} has no two replies that differ, so there is nothing to rank; give more of them."
        )
    if len(pool) <= distractors:
        notes.append(
            f"the {split} conversations have {len(pool):,} replies that differ, so each stands among {len(pool):,} "
            f"candidates at most and not {distractors + 1:,} ({where}.distractors)"
        )
    no_others = no_negatives_of((example.source, example.targets or ()) for example in replied)
    rng = np.random.default_rng(0)
    lengths = []
    for number, example in enumerate(replied):
        (reply,) = example.targets or ("",)
        drawn = drawn_texts(rng, pool, {reply}, distractors)
        but = no_others[example.source]
        others = [text for text in drawn if text not in but]
        if missing := len(drawn) - len(others):
            others += drawn_texts(np.random.default_rng([1, number]), pool, {*but, *others}, missing)
        lengths.append(len(others))
        if others:
            yield replace(_alone(example), candidates=(reply, *others))
    left = [length for length in lengths if length]
    if replied and not left:
        raise UserError(
            f"{where}.{split}: all replies follow the same turns, so there is nothing to rank; give more of them."
        )
    if alone := len(lengths) - len(left):
        notes.append(
            f"{alone:,} of {len(replied):,} replies of the {split} conversations are left out, since all others follow "
            "the same turns"
        )
    most = min(distractors, len(pool) - 1)
    if fewer := sum(length < most for length in left):
        notes.append(
            f"{fewer:,} of {len(left):,} replies of the {split} conversations stand among fewer candidates than "
            f"{most + 1:,}, {min(left) + 1:,} at least, since too many others follow the same turns"
        )


def _alone(example: Seq2SeqExample) -> RankingExample:
    return RankingExample(example.id, example.source, example.targets or ("",), (0,))


def _without_repeated(found: Conversations, where: str, notes: list[str]) -> Conversations:
    """Return the conversations without those of dev and test that are among those of train, word for word."""

    def words(one: Conversation) -> tuple[str, ...]:
        return tuple(map(reply_text, one.turns))

    known = {words(one) for one in found.get("train", ())}
    kept: Conversations = {}
    for split, some in found.items():
        kept[split] = some if split == "train" else [one for one in some if words(one) not in known]
        key = f"{where}.conversations.keep_repeated"
        if some and not kept[split]:
            raise UserError(
                f"{where}: all {len(some):,} {split} conversations are in train, too, word for word; give others, or "
                f"set {key} to true."
            )
        if left_out := len(some) - len(kept[split]):
            notes.append(
                f"{left_out:,} of {len(some):,} {split} conversations are left out, since train has them word for word "
                f"({key})"
            )
    return kept
