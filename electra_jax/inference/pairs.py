"""Minimal pairs: files of texts of which one is good and one bad, and how often a score prefers the good one.

BLiMP (Warstadt et al., TACL 2020) reports the mean over its paradigms, the groups here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from electra_jax.data.sources.compressed import source_name
from electra_jax.errors import UserError, quoted
from electra_jax.inference.reading import read_records
from electra_jax.inference.records import Record

_COLUMNS = (("good", "bad"), ("sentence_good", "sentence_bad"))
_GROUPS = ("uid", "UID", "group")


@dataclass(frozen=True)
class Pair:
    """Two texts that differ in little.

    Attributes:
        good: the one that should have the larger score.
        bad: the other.
        group: what they test; None where the file has no groups.
    """

    good: str
    bad: str
    group: str | None = None


def read_pairs(path: str, group: str | None = None) -> list[Pair]:
    """Read a file of minimal pairs, compressed or not.

    Lines of .jsonl are objects, .csv and .tsv have a first line that names the columns: good and bad, or sentence_good
    and sentence_bad.

    Args:
        path: of the file.
        group: the field that says which group a pair belongs to; None: uid or group, where there is one.

    Raises:
        UserError: it cannot be read, holds no pair, or a pair lacks something.
    """
    pairs: list[Pair] = []
    for record in read_records(path):
        if isinstance(record, UserError):
            raise record
        if group is None and not pairs:
            group = next((name for name in _GROUPS if name in record.fields), None)
        pairs.append(_pair(record, group))
    if not pairs:
        raise UserError(f"{source_name(path)} holds no pairs")
    return pairs


def _pair(record: Record, group: str | None) -> Pair:
    columns = next((names for names in _COLUMNS if record.fields.keys() >= {*names}), None)
    if columns is None:
        raise UserError(
            f"{record.where} has neither good and bad nor sentence_good and sentence_bad, which a pair needs (there is "
            f"{quoted(record.fields)})"
        )
    good, bad = (record.text(name) for name in columns)
    for name, text in zip(columns, (good, bad), strict=True):
        if not text.strip():
            raise UserError(f"{record.where}: {name} is empty, so there is nothing to score")
    if group is None:
        return Pair(good, bad)
    number = record.fields.get(group)
    is_number = isinstance(number, int) and not isinstance(number, bool)
    return Pair(good, bad, str(number) if is_number else record.text(group))


@dataclass(frozen=True)
class PairAccuracy:
    """How often the good text of a pair has the larger score; a tie counts as a half.

    Attributes:
        accuracy: the mean over groups, as BLiMP reports it; over pairs where there are no groups.
        over_pairs: over all pairs alike.
        groups: of each, in the order of the file.
        ties: pairs of which neither text has the larger score.
    """

    accuracy: float
    over_pairs: float
    groups: Mapping[str, float]
    ties: int


def points_of_pair(good: float, bad: float) -> float:
    """Return 1 where the good text has the larger score, 0 where the bad one has; ½ where neither has.

    A text without tokens has a score that is not a number, which is neither larger nor smaller than another.
    """
    return (1 + int(good > bad) - int(good < bad)) / 2


def pair_accuracy(pairs: Sequence[Pair], good: Iterable[float], bad: Iterable[float]) -> PairAccuracy:
    """Count how often the good texts have the larger scores.

    Args:
        pairs: in order.
        good: scores of their good texts.
        bad: scores of their bad texts.
    """
    by_group: dict[str | None, list[float]] = {}
    for pair, better, worse in zip(pairs, good, bad, strict=True):
        by_group.setdefault(pair.group, []).append(points_of_pair(better, worse))
    everything = [points for some in by_group.values() for points in some]
    means = {name: sum(some) / len(some) for name, some in by_group.items()}
    return PairAccuracy(
        accuracy=sum(means.values()) / len(means),
        over_pairs=sum(everything) / len(everything),
        groups={name: mean for name, mean in means.items() if name is not None},
        ties=everything.count(0.5),
    )
