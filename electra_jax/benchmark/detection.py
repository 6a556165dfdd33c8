"""How well a discriminator finds wrong words: those of the exam, and those that people wrote."""

from collections.abc import Sequence

import numpy as np

from electra_jax.benchmark.exam import Corrupted, Exam, Replace, corrupt
from electra_jax.benchmark.measured import Measured, fingerprint
from electra_jax.errors import UserError
from electra_jax.inference.error_detection import MarkedSentence, area_under_roc
from electra_jax.inference.model import Model
from electra_jax.inference.reviewing import check_reviewer, room_of_training, word_suspicions
from electra_jax.inference.suggesting import Suspect, suggest
from electra_jax.inference.words import tokens_of_words, word_spans, write_words
from electra_jax.scoring.methods import usable_methods
from electra_jax.tasks.measures import Measure

_PROPOSED = 50  # words of a generator that a replacement is drawn from


def detection_auc(model: Model, kind: str, sentences: Sequence[Corrupted]) -> Measured:
    """Measure the area under the ROC curve, by word, of the discriminator's p(replaced).

    Args:
        model: with a discriminator.
        kind: of corruption, for the name.
        sentences: corrupted.

    Raises:
        UserError: it has no discriminator.
    """
    check_reviewer(model.config.objective, model._params, 0)
    return _detection(model, f"exam, {kind}: AUC", sentences)


def errors_auc(model: Model, name: str, sentences: Sequence[MarkedSentence]) -> Measured:
    """Measure the same of words that people got wrong; arguments as those of `detection_auc`.

    Raises:
        UserError: it has no discriminator.
    """
    check_reviewer(model.config.objective, model._params, 0)
    written = [(*write_words(sentence.words), sentence.wrong) for sentence in sentences]
    return _detection(
        model, f"{name}: AUC", [Corrupted(text, tuple(spans), wrong) for text, spans, wrong in written]
    )


def _detection(model: Model, name: str, sentences: Sequence[Corrupted]) -> Measured:
    encodings = [model.tokenizer.encode_with_offsets(sentence.text) for sentence in sentences]
    scores = word_suspicions(model, encodings, [sentence.words for sentence in sentences])
    wrong = [np.array(sentence.wrong) for sentence in sentences]
    return Measured(name, [_area(scores, wrong)], len(sentences), fingerprint(sentences))


def _area(scores: Sequence[np.ndarray], wrong: Sequence[np.ndarray]) -> Measure:
    def measure(chosen: np.ndarray) -> float:
        area = area_under_roc(
            np.concatenate([scores[number] for number in chosen]),
            np.concatenate([wrong[number] for number in chosen]),
        )
        return float("nan") if area is None else 100 * area

    return measure


def corrupt_by_generator(exam: Exam, generator: Model) -> list[Corrupted]:
    """Replace the chosen words by what a frozen generator writes there, each masked alone in the sentence as it was.

    Drawn are words of the text among the likeliest, as often as the generator has them. Words that its vocabulary
    cannot mask stay.

    Args:
        exam: the sentences and the chosen words.
        generator: any ELECTRA with a generator, or a masked language model, which is one; it is the teacher of the
            exam, and the same for all runs.

    Raises:
        UserError: it has no generator, and is none.
    """
    if "pll" not in usable_methods(generator.config.objective, generator._params):
        raise UserError(
            "--generator needs a generator (an ELECTRA with one, or a masked language model), which this run does not "
            "have: name another"
        )
    keys, suspects = [], []
    for sentence, chosen in zip(exam.sentences, exam.chosen, strict=True):
        spans = word_spans(sentence)
        encoding = generator.tokenizer.encode_with_offsets(sentence)
        tokens = tokens_of_words(spans, encoding.offsets)
        words = tuple(sentence[begin:end].lower() for begin, end in spans)
        for place in chosen:
            if tokens[place]:
                keys.append((words, place))
                suspects.append(Suspect(sentence, encoding, spans[place], tokens[place]))
    proposed = dict(
        zip(keys, suggest(generator, suspects, _PROPOSED, room_of_training(generator)), strict=True)
    )

    def replace(words: Sequence[str], place: int, rng: object) -> str | None:
        draw = rng.random()  # type: ignore[attr-defined]
        known = [
            (some.word.lower(), some.probability)
            for some in proposed.get((tuple(words), place), ())
            if some.word.lower() in exam.counts and some.word.lower() != words[place]
        ]
        if not known:
            return None
        sums = np.cumsum([probability for _, probability in known])
        return known[min(int(np.searchsorted(sums, draw * sums[-1], side="right")), len(known) - 1)][0]

    typed: Replace = replace
    return corrupt(exam, typed)
