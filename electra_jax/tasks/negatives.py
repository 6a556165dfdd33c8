"""Which wrong candidates an example is trained against, besides those of other examples in its batch."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np

from electra_jax.config.ranking_task import RankingConfig
from electra_jax.errors import UserError
from electra_jax.tasks.protocol import RankingExample

# With the right one sixteen texts.
_DRAWN = 15
# From so many texts that may not be drawn on, others are drawn by trial, so often as many as are wanted.
_MANY, _TRIES = 1_000, 20


def with_negatives(
    examples: Sequence[RankingExample], config: RankingConfig, where: str
) -> tuple[list[RankingExample], np.ndarray]:
    """Return an example for each right candidate, the right one first, and the numbers of the examples they are of.

    Of the file's own negatives the first are kept, as many as there may be. With ``negatives_from: drawn`` those that
    are missing are right candidates of examples with other contexts, drawn once, the same in every run; never the
    context itself, as pairs that are there both ways round would have it.

    Args:
        examples: as they were read.
        config: section of the task.
        where: name of the section, for messages.

    Raises:
        UserError: no right candidate is known, or there is nothing to compare it with.
    """
    drawn, most = _are_drawn(config), negatives_wanted(config)
    pairs = [(e.context, [e.candidates[n] for n in e.relevant or ()]) for e in examples]
    pool = sorted({text for _, rights in pairs for text in rights})
    no_negatives = no_negatives_of(pairs)
    rng = np.random.default_rng(0)
    made, owners = [], []
    for owner, example in enumerate(examples):
        if not example.relevant:
            raise UserError(
                f"{where}: the example {example.id!r} has no right candidate to train on; leave it out, or give it one"
            )
        rights = dict.fromkeys(example.candidates[n] for n in example.relevant)  # a text may be there twice
        own = [text for text in example.candidates if text not in rights]
        for right in rights:
            negatives = own if most is None else own[:most]
            if drawn and most is not None and len(negatives) < most:
                but = {*no_negatives[example.context], *negatives}
                negatives = negatives + drawn_texts(rng, pool, but, most - len(negatives))
            if not negatives and not config.negatives_of_batch:
                raise UserError(
                    f"{where}: the example {example.id!r} has no negatives to be told from; "
                    f"{_how_to_have_negatives(config, where)}"
                )
            made.append(replace(example, candidates=(right, *negatives), relevant=(0,)))
            owners.append(owner)
    return made, np.array(owners, np.int32)


def no_negatives_of(pairs: Iterable[tuple[str, Iterable[str]]]) -> dict[str, set[str]]:
    """Return what is no wrong candidate of each context: what is right after it anywhere, and the context itself.

    Args:
        pairs: contexts, which may be there several times, with what is right after them.
    """
    found: dict[str, set[str]] = {}
    for context, rights in pairs:
        found.setdefault(context, {context}).update(rights)
    return found


def negatives_wanted(config: RankingConfig) -> int | None:
    """Return the negatives of an example's own, at most; None is all there are."""
    own = config.negatives_per_example
    return _DRAWN if own is None and _are_drawn(config) else own


def _how_to_have_negatives(config: RankingConfig, where: str) -> str:
    if config.negatives_per_example == 0:
        return f"raise {where}.negatives_per_example, which is 0, or leave it out"
    if _are_drawn(config):
        return "give it some, or more examples: no other has another right candidate that could be drawn"
    others = "drawn" if config.encoder == "cross" else "batch or drawn"
    return f"give it some, or set {where}.negatives_from to {others}"


def _are_drawn(config: RankingConfig) -> bool:
    return config.negatives_from == "drawn" or (config.encoder == "cross" and config.negatives_from is None)


def drawn_texts(rng: np.random.Generator, pool: Sequence[str], but: Collection[str], count: int) -> list[str]:
    """Return different texts of a pool, drawn at random, at most ``count`` of them and none of ``but``."""
    wanted = count + len(but)
    if (
        len(but) >= _MANY
    ):  # to draw all of these only to leave them out, for each example, takes the square of the time
        tried = dict.fromkeys(rng.integers(len(pool), size=_TRIES * count).tolist())
        found = [pool[n] for n in tried if pool[n] not in but][:count]
        if len(found) == count:
            return found
    if len(pool) <= 4 * wanted:
        numbers = rng.permutation(len(pool))[:wanted]
    else:
        numbers = rng.choice(len(pool), wanted, replace=False)
    return [pool[n] for n in numbers if pool[n] not in but][:count]
