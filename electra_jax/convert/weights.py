"""A model on its way between two formats, and the checks that nothing is lost."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import numpy as np

from electra_jax.config.schema import Config
from electra_jax.convert.files.differences import shape_text
from electra_jax.convert.names import Row
from electra_jax.errors import UserError, listed
from electra_jax.model.sizes import NetworkSizes
from electra_jax.tasks.settings import TaskSettings
from electra_jax.tokenizers import Tokenizer

FlatParams = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class AdamMoments:
    """Adam's moments after ``Weights.step`` updates, by flat names like the parameters."""

    mu: FlatParams
    nu: FlatParams


@dataclass(frozen=True)
class Weights:
    """A model between two formats.

    Attributes:
        config: model, generator, objective and tokenizer are those of the source; the rest are defaults.
        parameters: float32 by flat name (see `names`); tables have ``vocab_size`` rows.
        vocab_size: entries of the vocabulary.
        tokenizer: None where the source has no vocabulary.
        step: updates it was trained for, as far as the source says.
        moments: those of the optimizer, if requested and present.
        notes: what a user should know about how the source was read.
        tasks: of a fine-tuned model, the meaning of its heads' outputs.
    """

    config: Config
    parameters: FlatParams
    vocab_size: int
    tokenizer: Tokenizer | None
    step: int = 0
    moments: AdamMoments | None = None
    notes: tuple[str, ...] = ()
    tasks: Mapping[str, TaskSettings] = field(default_factory=dict)


def _layer_numbers(names: Iterable[str], scope: str) -> set[int]:
    """Return the numbers of the layers that have any tensor."""
    start = f"{scope}/layers/"
    return {int(name[len(start) :].partition("/")[0]) for name in names if name.startswith(start)}


def num_layers_of(names: Iterable[str], scope: str) -> int:
    """Return how many layers an encoder has, judging by flat names.

    A layer may be missing, which is reported later; but one that is far after all others does not count.
    """
    numbers = sorted(_layer_numbers(names, scope))
    return max((n + 1 for count, n in enumerate(numbers, start=1) if n + 1 <= 2 * count), default=0)


def check_num_layers(where: str, names: Collection[str], sizes: NetworkSizes) -> None:
    """Refuse many more layers than there are weights for, before anything is sized by their number.

    Args:
        where: the checkpoint, for messages.
        names: flat names of what it holds.
        sizes: those of the configuration.

    Raises:
        UserError: there are weights for fewer layers.
    """
    check_layers_of(where, names, "encoder", sizes.discriminator.num_layers, "encoder")
    for scope in ("generator_encoder", "generator_ltr", "generator_rtl"):
        if _layer_numbers(names, scope):
            check_layers_of(where, names, scope, sizes.generator.num_layers, scope.replace("_", " "))


def check_layers_of(where: str, names: Collection[str], scope: str, num_layers: int, what: str) -> None:
    """Refuse many more layers of one encoder or decoder than there are weights for; see `check_num_layers`.

    Args:
        where: the checkpoint, for messages.
        names: flat names of what it holds.
        scope: of the layers.
        num_layers: of the configuration.
        what: has them, for messages.

    Raises:
        UserError: there are weights for fewer layers.
    """
    found = len(_layer_numbers(names, scope))
    if num_layers > 2 * max(found, 1):
        raise UserError(
            f"{where} is to have {num_layers} layers in its {what} and has weights of {found}: give the configuration "
            "that belongs to the weights"
        )


def check_complete(
    where: str,
    found: FlatParams,
    expected: Mapping[str, tuple[int, ...]],
    unexpected: Collection[str],
    foreign_or_same: Callable[[str], Row],
    allow_missing: Collection[str],
) -> None:
    """Refuse a checkpoint that lacks something, has something else, or has something of another shape.

    Args:
        where: the checkpoint, for messages.
        found: what was recognised, by flat name.
        expected: flat names and shapes of what the model needs.
        unexpected: names, as the checkpoint spells them, of what is not in the table.
        foreign_or_same: from a flat name to the checkpoint's, which messages use, see `NameTable.foreign_or_same`.
        allow_missing: patterns of names, ours or the checkpoint's, that may be missing or left out.

    Raises:
        UserError: it lists what is wrong.
    """
    rows = {name: foreign_or_same(name) for name in (*expected, *found)}

    def refused(names: Iterable[str]) -> list[str]:
        return [rows[n].foreign for n in names if not _allowed((n, rows[n].foreign), allow_missing)]

    absent = refused(name for name in expected if name not in found)
    extra = [name for name in unexpected if not _allowed((name,), allow_missing)]
    extra += refused(name for name in found if name not in expected)
    wrong = [
        f"{rows[name].foreign} is {_stored_shape(found[name].shape, rows[name])}, "
        f"expected {_stored_shape(shape, rows[name])}"
        for name, shape in expected.items()
        if name in found and found[name].shape != shape
    ]
    problems = [
        f"{what}: {listed(names)}"
        for what, names in (
            ("missing", absent),
            ("not part of this model", extra),
            ("of another shape", wrong),
        )
        if names
    ]
    if problems:
        remedy = "; --allow-missing PATTERN goes on without those it matches" if absent or extra else ""
        raise UserError(f"{where} is not what its configuration says: {'; '.join(problems)}{remedy}")


def check_patterns_used(where: str, names: Iterable[str], allow_missing: Collection[str]) -> None:
    """Refuse a pattern of --allow-missing that can match nothing, most likely a typing error.

    Args:
        where: the checkpoint, for the message.
        names: of everything that it has or needs, in every spelling.
        allow_missing: the patterns.

    Raises:
        UserError: it can match nothing.
    """
    known = list(names)
    for pattern in allow_missing:
        if not any(_allowed((name,), (pattern,)) for name in known):
            raise UserError(
                f"--allow-missing {pattern}: {where} neither has nor needs a parameter of such a name, look at the "
                "names in the error without it"
            )


def is_rounded(stored: np.ndarray, floats: np.ndarray) -> bool:
    """Return whether float32 cannot hold the stored double precision exactly; it always holds half precision."""
    return stored.dtype == np.float64 and not np.array_equal(stored, floats, equal_nan=True)


def non_finite_parameters(parameters: FlatParams) -> list[str]:
    """Return the names of the parameters with infinite values or NaN."""
    return [name for name, array in parameters.items() if not np.isfinite(array).all()]


def _allowed(spellings: Collection[str], patterns: Collection[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in spellings for pattern in patterns)


def _stored_shape(shape: tuple[int, ...], row: Row) -> str:
    """Return the shape as the checkpoint stores it."""
    return shape_text(shape[::-1] if row.transposed else shape)


def check_vocabulary(where: str, tokenizer: Tokenizer, rows: int) -> None:
    """Refuse a vocabulary that has another size than the embeddings.

    Raises:
        UserError: the sizes differ.
    """
    if tokenizer.vocab_size != rows:
        raise UserError(
            f"{where}: its vocabulary has {tokenizer.vocab_size} entries, but its embeddings {rows} rows: "
            "give the right one with --vocab FILE"
        )
