"""Conversations: every way to give them, an example for each reply, and what is wrong with them in one sentence."""

import json

import pytest
from task_sections import task_section

from electra_jax.errors import UserError
from electra_jax.inference.reading import read_records, training_file_format
from electra_jax.tasks.protocol import RankingExample, RetrievedExample, Seq2SeqExample
from electra_jax.tasks.sources import load_examples

TALK = [("Ann", "Hi."), ("Bob", "Hello  you!"), ("Ann", "Well?")]
MESSAGES = [{"role": name, "content": text} for name, text in TALK]
SPOKEN = [{"speaker": name, "text": text} for name, text in TALK]
TEXTS = [text for _, text in TALK]
BYE = "Ann: Bye.\nBob: So soon?\n"


def _load(folder, conversations, needs=("train",), notes=None, **files):
    """Writes files, named by their split and extension, and loads the task that reads them."""
    task = {}
    for name, content in files.items():
        split, _, extension = name.partition("_")
        task[split] = str(folder / f"{split}.{extension}")
        (folder / f"{split}.{extension}").write_text(content)
    section = task_section(kind="seq2seq", conversations=conversations, **task)
    return load_examples("mine", section, needs=needs, notes=notes)


EXPECTED = [
    Seq2SeqExample("0:1", "you: Hi.", ("Hello you!",)),
    Seq2SeqExample("0:2", "me: Hi.\nyou: Hello you!", ("Well?",)),
]
GIVEN = {
    "messages": ("train_jsonl", json.dumps({"messages": MESSAGES}) + "\n", {}),
    "turns with speakers": ("train_json", json.dumps([{"turns": SPOKEN}]), {}),
    "texts that alternate": (
        "train_jsonl",
        json.dumps({"utterances": TEXTS}) + "\n",
        {"speakers": "alternate"},
    ),
    "a field of another name": ("train_jsonl", json.dumps({"said": SPOKEN}) + "\n", {"turns": "said"}),
    "plain text": ("train_txt", "\nAnn: Hi.\nBob:  Hello  you! \nAnn: Well?\n\n\n", {}),
    "plain text that alternates": ("train_txt", "\n".join(TEXTS), {"speakers": "alternate"}),
}


@pytest.mark.parametrize("what", GIVEN)
def test_every_turn_but_the_first_is_an_example(tmp_path, what):
    name, content, conversations = GIVEN[what]
    assert _load(tmp_path, conversations, **{name: content}) == {"train": EXPECTED}


def test_no_more_turns_are_put_together_than_can_be_read(tmp_path):
    """Or the contexts of a long conversation would take memory by the square of its turns."""
    (tmp_path / "train.txt").write_text("".join(f"Ann: turn {number}\n" for number in range(300)))
    section = task_section(kind="seq2seq", conversations={}, train=str(tmp_path / "train.txt"))
    found = load_examples("mine", section, needs=("train",), sequence_length=8)["train"]
    assert len(found) == 299
    assert found[-1].source.splitlines() == [f"me: turn {number}" for number in range(291, 299)]
    fewer = section.model_copy(
        update={"conversations": section.conversations.model_copy(update={"history": 2})}
    )
    assert load_examples("mine", fewer, sequence_length=8)["train"][-1].source.count("\n") == 1
    whole = load_examples("mine", section, needs=("train",))["train"]
    assert whole[-1].source.count("\n") == 298


def test_who_speaks_how_many_turns_and_whose_replies_are_settings(tmp_path):
    text = "".join(f"{name}: {said}\n" for name, said in TALK) + "\n" + BYE

    def sources(**conversations):
        return [(e.id, e.source) for e in _load(tmp_path, conversations, train_txt=text)["train"]]

    assert sources(history=1) == [("0:1", "you: Hi."), ("0:2", "you: Hello you!"), ("1:1", "you: Bye.")]
    assert sources(speakers="names", replies_by="Bob") == [
        ("0:1", "Ann: Hi.\nBob:"),
        ("1:1", "Ann: Bye.\nBob:"),
    ]
    dashes = _load(tmp_path, {"speakers": "none"}, train_jsonl=json.dumps({"turns": SPOKEN}))["train"]
    assert dashes[1].source == "- Hi.\n- Hello you!"


@pytest.mark.parametrize("extra", [[], ["for the next"]])
def test_what_was_retrieved_stands_beside_the_turns(tmp_path, extra):
    def load(retrieved):
        (tmp_path / "t.jsonl").write_text(json.dumps({"turns": SPOKEN, "retrieved": retrieved}))
        section = task_section(
            kind="seq2seq", conversations={}, retrieval={}, train=str(tmp_path / "t.jsonl")
        )
        return load_examples("mine", section, needs=("train",))["train"]

    first, second = EXPECTED
    assert load([None, "Hey.", None, *extra]) == [
        RetrievedExample(first.id, first.source, first.targets, "Hey."),
        RetrievedExample(second.id, second.source, second.targets),
    ]
    with pytest.raises(
        UserError, match="is a list of 1 and not a list with a text or null for each of the 3 turns"
    ):
        load(["Hey."])
    with pytest.raises(UserError, match=r"t\.jsonl has no text in 'retrieved'"):
        load([None, None, None, *extra])


def test_conversations_of_dev_that_are_in_train_are_left_out(tmp_path):
    notes = []
    splits = {"train_txt": BYE, "dev_txt": f"{BYE}\nAnn: Hi.\nBob: Yes?\n"}
    found = _load(tmp_path, {}, notes=notes, **splits)
    assert [example.id for example in found["dev"]] == ["1:1"]
    (note,) = notes
    assert note.startswith("1 of 2 dev conversations are left out, since train has them word for word")
    assert len(_load(tmp_path, {"keep_repeated": True}, **splits)["dev"]) == 2
    with pytest.raises(UserError, match="all 1 dev conversations are in train, too"):
        _load(tmp_path, {}, train_txt=BYE, dev_txt=BYE)


def _talks(count):
    return "\n\n".join(f"Ann: {number}?\nBob: {number}." for number in range(count))


def test_for_a_ranker_each_reply_of_dev_stands_among_others(tmp_path):
    (tmp_path / "train.txt").write_text(BYE)
    (tmp_path / "dev.txt").write_text(_talks(30))
    files = {split: str(tmp_path / f"{split}.txt") for split in ("train", "dev")}

    def load(**task):
        section = task_section(kind="ranking", conversations={}, **files, **task)
        return load_examples("mine", section, needs=("train", "dev"), notes=notes)

    notes: list[str] = []
    found = load()
    assert found["train"] == [RankingExample("0:1", "you: Bye.", ("So soon?",), (0,))]
    assert load() == found
    replies = {f"{number}." for number in range(30)}
    for number, example in enumerate(found["dev"]):
        assert (example.context, example.relevant) == (f"you: {number}?", (0,))
        assert example.candidates[0] == f"{number}."
        assert len({*example.candidates} & replies) == len(example.candidates) == 20
    assert {len(example.candidates) for example in load(distractors=4)["dev"]} == {5}
    assert not notes
    (tmp_path / "dev.txt").write_text("\n\n".join([_talks(3)] * 2))
    assert {len(example.candidates) for example in load()["dev"]} == {3}
    (note,) = notes
    assert note.startswith(
        "the dev conversations have 3 replies that differ, so each stands among 3 candidates at most and not 20"
    )
    (tmp_path / "dev.txt").write_text(_talks(1))
    with pytest.raises(UserError, match=r"mine\.dev has no two replies that differ"):
        load()


def _ranked(tmp_path, talks, notes, **conversations):
    path = tmp_path / "dev.jsonl"
    path.write_text("".join(json.dumps({"turns": turns}) + "\n" for turns in talks))
    section = task_section(kind="ranking", conversations={"speakers": "none", **conversations}, dev=str(path))
    return load_examples("mine", section, needs=("dev",), notes=notes)["dev"]


def test_what_follows_the_same_turns_is_no_distractor(tmp_path):
    notes: list[str] = []
    talks = [["Well?", "Fine."], ["Well?", "Good."], ["Bye.", "Go."], ["Bye.", "So soon?"], ["No.", "Yes."]]
    found = _ranked(tmp_path, talks, notes)
    assert [(one.candidates[0], {*one.candidates[1:]}) for one in found] == [
        ("Fine.", {"Go.", "So soon?", "Yes."}),
        ("Good.", {"Go.", "So soon?", "Yes."}),
        ("Go.", {"Fine.", "Good.", "Yes."}),
        ("So soon?", {"Fine.", "Good.", "Yes."}),
        ("Yes.", {"Fine.", "Good.", "Go.", "So soon?"}),
    ]
    assert notes[1:] == [
        "4 of 5 replies of the dev conversations stand among fewer candidates than 5, 4 at least, since too many "
        "others follow the same turns"
    ]
    notes.clear()
    found = _ranked(tmp_path, [["Well?", "Fine."], ["Well?", "Good."], ["Bye.", "Fine."]], notes)
    assert [one.candidates for one in found] == [("Fine.", "Good.")]
    assert notes[1:] == [
        "2 of 3 replies of the dev conversations are left out, since all others follow the same turns"
    ]
    with pytest.raises(UserError, match=r"mine\.dev: all replies follow the same turns, so there is nothing"):
        _ranked(tmp_path, [["Well?", "Fine."], ["Well?", "Good."]], notes)


def test_distractors_are_those_of_another_history_but_where_the_same_turns_come_before(tmp_path):
    talks = [
        [f"a{n}", "Thanks!" if n % 10 == 0 else f"b{n}", f"c{n}", f"d{n}"] for n in range(100)
    ]  # with history 1 ten replies, c0, c10 …, follow the same turn
    one, four = (_ranked(tmp_path, talks, [], history=history) for history in (1, 4))
    same = {f"c{n}" for n in range(0, 100, 10)}
    changed = 0
    for short, long in zip(one, four, strict=True):
        reply, *others = long.candidates
        if reply in same:
            assert {*others} - same <= {*short.candidates}
            assert not {*short.candidates[1:]} & same
            assert len({*short.candidates}) == 20
            changed += short.candidates != long.candidates
        else:
            assert short.candidates == long.candidates
    assert changed


def test_candidates_for_a_conversation_are_asked_as_training_read_it(tmp_path):
    section = task_section(kind="ranking", conversations={"history": 2})
    lines = [{"turns": SPOKEN, "candidates": ["a", "b"]}, {"context": "Hi.", "candidates": ["a", "b"]}]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = read_records(str(tmp_path / "asked.jsonl"), training_file_format("mine", section, ()))
    assert [(record.text("context"), record.fields["candidates"]) for record in found] == [
        ("me: Hello you!\nyou: Well?", ["a", "b"]),
        ("you: Hi.", ["a", "b"]),
    ]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"conversations": {}, "response": "a"}, "response is not read with conversations"),
        ({"distractors": 3}, "distractors is for conversations"),
        ({"conversations": {}, "positives_from": "dropout"}, "positives_from dropout reads texts alone"),
        ({"conversations": {}, "metric": "spearman"}, "metric spearman is of pairs of texts"),
    ],
)
def test_keys_of_a_ranker_that_conversations_do_not_go_with(task, message):
    with pytest.raises(ValueError, match=message):
        task_section(kind="ranking", **task)


REFUSED = {
    "one turn": ({"train_txt": "Ann: Hi.\n\nBob: Yes?\nAnn: No.\n"}, {}, "line 1 is a conversation of one turn"),
    "one turn in JSON": (
        {"train_jsonl": json.dumps({"turns": SPOKEN}) + "\n" + json.dumps({"turns": SPOKEN[:1]})},
        {},
        "train.jsonl, line 2 is a conversation of one turn, which has no reply; leave it out, or",
    ),
    "no turns": ({"train_jsonl": '{"turns": []}'}, {}, "'turns' is an empty list and not a list of turns"),
    "no list": ({"train_jsonl": '{"turns": "Hi."}'}, {}, "'turns' is text and not a list of turns"),
    "no such field": (
        {"train_jsonl": '{"said": []}'},
        {},
        "line 1 has no field 'turns', the list of turns (it has 'said'); name it in finetune.tasks.mine.conv",
    ),
    "an empty turn": ({"train_jsonl": '{"turns": ["a", " "]}'}, {"speakers": "none"}, "turn 2 is empty"),
    "a turn that is no text": ({"train_jsonl": '{"turns": [3]}'}, {"speakers": "none"}, "turn 1 is a whole number"),
    "a turn without text": (
        {"train_jsonl": '{"turns": [{"role": "a"}]}'},
        {},
        "turn 1 has no 'text', 'content', and so no text",
    ),
    "nobody says who speaks": (
        {"train_jsonl": json.dumps({"turns": TEXTS})},
        {},
        "turn 1 does not say who speaks; give it a speaker, or set finetune.tasks.mine.conversations.speakers to alt",
    ),
    "a line without a name": ({"train_txt": "Ann: Hi.\nWell.\n"}, {}, "train.txt, line 2 is no 'NAME: what is said'"),
    "nobody of that name": (
        {"train_txt": BYE},
        {"replies_by": "Eve"},
        "replies_by is 'Eve', by whom there is no reply in",
    ),
    "a table": ({"train_csv": "a,b\n1,2\n"}, {}, "train.csv is not a file seq2seq on conversations can be read from"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_wrong_is_named_in_one_sentence(tmp_path, what):
    files, conversations, message = REFUSED[what]
    with pytest.raises(UserError) as caught:
        _load(tmp_path, conversations, **files)
    assert message in str(caught.value)


def test_a_file_to_reply_to_is_read_as_training_read_it(tmp_path):
    """The reply is by who did not speak last; a line of plain text is all that was said."""
    section = task_section(kind="seq2seq", conversations={"history": 2})
    file_format = training_file_format("mine", section, ())
    (tmp_path / "asked.jsonl").write_text(
        "\n".join(
            json.dumps(record)
            for record in (
                {"turns": SPOKEN, "id": "a"},
                {"turns": SPOKEN[:1]},
                {"text": "Hi."},
                {"turns": [1]},
            )
        )
    )
    *read, wrong = read_records(str(tmp_path / "asked.jsonl"), file_format)
    assert [(record.id, record.text("text")) for record in read] == [
        ("a", "me: Hello you!\nyou: Well?"),
        ("2", "you: Hi."),
        ("3", "you: Hi."),
    ]
    assert "turn 1 is a whole number" in str(wrong)
    (tmp_path / "asked.txt").write_text("Hi.\nAnn: Hi.\n")
    found = read_records(str(tmp_path / "asked.txt"), file_format)
    assert [record.text("text") for record in found] == ["you: Hi.", "you: Ann: Hi."]
