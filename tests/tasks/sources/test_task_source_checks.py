"""Labels, warnings and the hash of examples."""

from dataclasses import replace

import pytest
from compared_label import ComparedLabel
from task_sections import task_section

from electra_jax.errors import UserError
from electra_jax.tasks.protocol import Answer, QuestionExample, TextExample, WordsExample
from electra_jax.tasks.sources import BENCHMARKS, collect_labels, example_warnings, examples_fingerprint
from electra_jax.tasks.sources.checks import check_examples
from electra_jax.tasks.sources.load import hold_out_dev

TEXTS = [TextExample("0", "a", None, "yes"), TextExample("1", "b", None, "no")]
WORDS = [WordsExample("0", ("a", "b"), ("O", "B-X")), WordsExample("1", ("c",), ("I-X",))]
QUESTION = QuestionExample("0", "Who?", "Ann did.", (Answer("Ann", 0), Answer("did", 4)))


def test_labels_are_configured_or_the_benchmarks_or_those_of_train():
    assert collect_labels(None, None, TEXTS) == ("no", "yes")
    assert collect_labels(["yes", "no", "maybe"], BENCHMARKS["rte"], TEXTS) == (
        "yes",
        "no",
        "maybe",
    )
    assert collect_labels(None, BENCHMARKS["rte"], TEXTS) == ("no", "yes")
    official = [TextExample("0", "a", None, "not_entailment")]
    assert collect_labels(None, BENCHMARKS["rte"], official) == ("entailment", "not_entailment")
    assert collect_labels(None, None, WORDS) == ("B-X", "I-X", "O")
    assert collect_labels(None, None, [TextExample("0", "a", None, 1.5)]) == ()
    assert collect_labels(None, BENCHMARKS["squad"], [QUESTION]) == ()
    with pytest.raises(UserError, match="labels has 'a' twice"):
        collect_labels(["a", "b", "a"], None, TEXTS)


def test_a_label_is_not_looked_for_among_all_others():
    examples = [TextExample(str(n), "a", None, ComparedLabel(n)) for n in range(300)]
    ComparedLabel.count = 0
    check_examples({"train": examples, "dev": examples}, task_section(), None, "here")
    assert ComparedLabel.count <= 1000


def test_a_label_that_is_not_known_names_the_file():
    config = task_section(labels=["yes"], train="mine.tsv")
    with pytest.raises(UserError, match=r"has the label 'no', .* 'yes' \(in mine.tsv\)"):
        check_examples({"train": TEXTS}, config, None, "here")


def test_configured_labels_are_all_there_are():
    config = task_section(labels=["yes"])
    with pytest.raises(
        UserError, match=r"the train example '1' has the label 'no', which is not known; .* 'yes'"
    ):
        check_examples({"train": TEXTS}, config, None, "here")
    # Tags of dev that train does not have are the scorer's business, not an error.
    check_examples({"train": WORDS[1:], "dev": WORDS}, task_section(kind="tagging"), None, "here")


@pytest.mark.parametrize(
    ("splits", "lines"),
    [
        ({"train": TEXTS, "dev": TEXTS}, []),
        ({"train": [TEXTS[0]] * 2}, ["all 2 train examples have the label 'yes'"]),
        ({"test": [TextExample("0", "a"), TextExample("1", "a")]}, []),
        (
            {"train": [*TEXTS, TextExample("2", "c", None, "rare")], "dev": TEXTS},
            ["no dev example has the label 'rare'"],
        ),
        (
            {"train": [*TEXTS, TextExample("2", " ", None, "no")]},
            ["1 of 3 train examples have an empty text"],
        ),
        ({"train": WORDS[1:]}, ["all words of the train examples have the tag 'I-X'"]),
        ({"train": WORDS, "dev": [QUESTION]}, []),
        (
            {"dev": [replace(QUESTION, answers=(Answer("Ann", 0), Answer("did", 5)))]},
            ["1 of 2 dev answers are not in the context where it says"],
        ),
    ],
)
def test_warnings(splits, lines):
    assert example_warnings(splits) == lines


def test_the_fingerprint_covers_everything():
    base = {"train": [*TEXTS, *WORDS, QUESTION], "dev": TEXTS}
    variants = [
        base,
        {"train": base["train"], "dev": []},
        {"train": base["train"], "test": TEXTS},
        {"train": base["train"][::-1], "dev": TEXTS},
        {"train": base["train"][:-1], "dev": [*TEXTS, QUESTION]},
    ]
    changes = [
        *(
            replace(TEXTS[0], **{k: v})
            for k, v in {"id": "9", "text": "b", "pair": "a", "label": 1.0}.items()
        ),
        replace(TEXTS[0], label="1.0"),
        replace(TEXTS[0], label=None),
    ]
    variants += [{**base, "dev": [change, TEXTS[1]]} for change in changes]
    for change in (
        replace(QUESTION, hidden=True),
        replace(QUESTION, answers=(Answer("Ann", 0), Answer("did", 3))),
        replace(QUESTION, context="Ann did!"),
        replace(WORDS[0], tags=None),
        replace(WORDS[0], words=("a", "B")),
    ):
        variants.append({**base, "dev": [change]})
    prints = [examples_fingerprint(variant) for variant in variants]
    assert len(set(prints)) == len(prints)
    assert examples_fingerprint({"dev": TEXTS, "train": base["train"]}) == prints[0]


@pytest.mark.parametrize(
    ("how", "dev"), [("end", ["18", "19"]), ("every_tenth", ["9", "19"])]
)  # fmt: skip
def test_a_tenth_of_train_is_held_out(how, dev):
    train = [TextExample(str(number), "a") for number in range(20)]
    moved = hold_out_dev({"train": train, "test": TEXTS}, how)
    assert [example.id for example in moved["dev"]] == dev
    assert sorted([*moved["train"], *moved["dev"]], key=lambda e: int(e.id)) == train
    assert moved["test"] == TEXTS
    assert hold_out_dev({"train": train, "dev": TEXTS}, how)["train"] == train


def test_the_hash_of_examples_stays_what_earlier_versions_wrote():
    """Work directories hold it; another value, by a new field for instance, would refuse to go on in all of them."""
    examples = {
        "train": [
            TextExample("0", "Ein Satz.", "Noch einer.", "yes"),
            TextExample("1", "\u00e9", None, 2.5),
        ],
        "dev": [WordsExample("a", ("Ann", "sang"), ("B-PER", "O"))],
        "test": [
            QuestionExample("q", "Who?", "Ann did.", (Answer("Ann", 0),)),
            QuestionExample("r", "Why?", "Ann did.", hidden=True),
        ],
    }
    assert (
        examples_fingerprint(examples) == "7490c26fab8c7cd13b9c4ba06945920fbf083e4ea80d9cde8fa6986a43a8bb94"
    )
