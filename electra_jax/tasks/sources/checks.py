"""Checks of examples before any device is used, the classes among them, and a hash of all examples."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields

from electra_jax.config.task import TaskConfig
from electra_jax.config.tasks import ClassificationConfig
from electra_jax.errors import UserError, quoted
from electra_jax.tasks.protocol import (
    Answer,
    ChoiceExample,
    Example,
    QuestionExample,
    Seq2SeqExample,
    TextExample,
    WordsExample,
)
from electra_jax.tasks.sources.benchmarks import Benchmark

Splits = Mapping[str, Sequence[Example]]


def collect_labels(
    labels: Sequence[str] | None, benchmark: Benchmark | None, train_examples: Sequence[Example]
) -> tuple[str, ...]:
    """Return the classes, or the tags, in the order of their numbers; () for regression and questions.

    They are ``labels`` if given, else the benchmark's if the training examples have no others, else those of the
    training examples, sorted.

    Raises:
        UserError: ``labels`` has one twice.
    """
    if labels is not None:
        if twice := [label for label, count in Counter(labels).items() if count > 1]:
            raise UserError(f"labels has {quoted(twice)} twice; name every class once.")
        return tuple(labels)
    found: set[str] = set()
    for example in train_examples:
        if isinstance(example, TextExample):
            found.update(example.classes)
        elif isinstance(example, WordsExample):
            found.update(example.tags or ())
    if benchmark is not None and benchmark.labels and found <= set(benchmark.labels):
        return benchmark.labels
    return tuple(sorted(found))


def check_examples(splits: Splits, config: TaskConfig, benchmark: Benchmark | None, where: str) -> None:
    """Refuse examples that cannot be trained on, or evaluated.

    Args:
        splits: the examples.
        config: section of the task, for its classes.
        benchmark: the one whose official files they come from, or None.
        where: name of the section, which begins messages.

    Raises:
        UserError: an empty split, an identifier twice in a split, a class that is not in training.
    """
    known: tuple[str, ...] = ()
    source = "known"
    if isinstance(config, ClassificationConfig):
        if benchmark is not None and config.labels is None:
            known = benchmark.labels
        else:
            known = collect_labels(config.labels, None, splits.get("train", ()))
            source = "known" if config.labels is not None else "in the training examples"
    classes = frozenset(known)
    for split, examples in splits.items():
        if not examples:
            raise UserError(
                f"{where}: there are no {split} examples{_in_files(config, split)}; give a file with examples in it."
            )
        counts = Counter(example.id for example in examples)
        name, count = counts.most_common(1)[0]
        if count > 1:
            raise UserError(
                f"{where}: {count} {split} examples have the id {name!r}; ids must differ, or leave the id out."
            )
        for example in examples if known else ():
            unknown = (
                [c for c in example.classes if c not in classes] if isinstance(example, TextExample) else []
            )
            if unknown:
                files = f" ({found.strip()})" if (found := _in_files(config, split)) else ""
                raise UserError(
                    f"{where}: the {split} example {example.id!r} has the label {unknown[0]!r}, which is not "
                    f"{source}; the labels are {quoted(known)}{files}."
                )


def example_warnings(splits: Splits) -> list[str]:
    """Return warnings, a line each, about examples that are allowed but probably a mistake.

    These are the same label for all examples, never two labels where there may be several, classes of train that
    another split never has, empty texts, answers that are not where in the context they are said to begin, and a right
    option that always is at the same place.
    """
    lines = []
    known = _classes(splits.get("train", ()))
    for split, examples in splits.items():
        if (classes := _classes(examples)) and (never := sorted(known - classes)) and len(classes) > 1:
            lines.append(f"no {split} example has the label {quoted(never)}")
        labels = {example.label for example in examples if isinstance(example, TextExample)}
        if len(labels) == 1 and None not in labels and len(examples) > 1:
            (label,) = labels
            what = f"the label {label!r}"
            if isinstance(label, tuple):
                what = f"the labels {quoted(label)}" if label else "no label"
            lines.append(f"all {len(examples):,} {split} examples have {what}")
        elif (
            split == "train"
            and all(isinstance(label, tuple) and len(label) < 2 for label in labels)
            and labels
        ):
            lines.append(
                "no train example has more than one label; is label_separator what stands between them?"
            )
        tags = {
            tag for example in examples if isinstance(example, WordsExample) for tag in example.tags or ()
        }
        if len(tags) == 1:
            lines.append(f"all words of the {split} examples have the tag {tags.pop()!r}")
        answers = {example.answer for example in examples if isinstance(example, ChoiceExample)}
        if len(answers) == 1 and None not in answers and len(examples) > 1:
            lines.append(f"of all {len(examples):,} {split} examples option {answers.pop()} is the right one")
        texts = [
            example.text if isinstance(example, TextExample) else example.source
            for example in examples
            if isinstance(example, TextExample | Seq2SeqExample)
        ]
        if empty := sum(not text.strip() for text in texts):
            lines.append(f"{empty:,} of {len(examples):,} {split} examples have an empty text")
        placed = [(e, a) for e, a in _answers(examples) if a.start is not None]
        if misplaced := sum(not is_in_place(e, a) for e, a in placed):
            total = len(placed)
            lines.append(f"{misplaced:,} of {total:,} {split} answers are not in the context where it says")
    return lines


def is_in_place(example: QuestionExample, answer: Answer) -> bool:
    """Return whether the context has the answer, character for character, where it is said to begin."""
    return answer.start is not None and example.context.startswith(answer.text, answer.start)


def examples_fingerprint(examples: Splits) -> str:
    """Return the SHA-256, in hex, of everything in the splits.

    The order of the examples counts, that of the splits does not.
    """
    digest = hashlib.sha256()
    for split in sorted(examples):
        digest.update(f"{json.dumps(split)} {len(examples[split])}\n".encode("ascii"))
        for example in examples[split]:
            compared = (field.name for field in fields(example) if field.compare)
            values = [type(example).__name__, *(getattr(example, name) for name in compared)]
            digest.update(json.dumps(values, default=_answer_values).encode("ascii") + b"\n")
    return digest.hexdigest()


def _classes(examples: Sequence[Example]) -> set[str]:
    return {name for e in examples if isinstance(e, TextExample) for name in e.classes}


def _answers(examples: Sequence[Example]) -> list[tuple[QuestionExample, Answer]]:
    return [(e, answer) for e in examples if isinstance(e, QuestionExample) for answer in e.answers]


def _answer_values(answer: Answer) -> list[str | int | None]:
    return [answer.text, answer.start]


def _in_files(config: TaskConfig, split: str) -> str:
    named = getattr(config, split, None) or config.data
    files = list(named.values()) if isinstance(named, dict) else [named]
    return f" in {', '.join(map(str, files))}" if named else ""
