"""Files of one tokenizer that do not say the same: what transformers follows, or one sentence."""

import json

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from electra_jax.convert.vocabulary import find_tokenizer
from electra_jax.errors import UserError

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "abc", "ABC", "é", "e", "É", "E"]
TEXT = "ABC é É abc"
GENERIC = {"tokenizer_class": "PreTrainedTokenizerFast"}
ELECTRA = {"tokenizer_class": "ElectraTokenizer"}


def fast(tokens=TOKENS, *, added=TOKENS[:5], cls="[CLS]", cut=None, **cleaning):
    made = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(**cleaning)
    made.pre_tokenizer = cut or pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens([AddedToken(token, special=True) for token in added])
    pairs = [(token, made.token_to_id(token)) for token in (cls, "[SEP]")]
    made.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A [SEP]", pair=f"{cls} $A [SEP] $B:1 [SEP]:1", special_tokens=pairs
    )
    return json.loads(made.to_str())


def with_model(**changes):
    made = fast()
    return {**made, "model": {**made["model"], **changes}}


def with_template(single, pair="[CLS] $A [SEP] $B:1 [SEP]:1"):
    tokens = [("[CLS]", 2), ("[SEP]", 3)]
    made = processors.TemplateProcessing(single=single, pair=pair, special_tokens=tokens)
    bare = Tokenizer(models.WordPiece({}))
    bare.post_processor = made
    return {**fast(), "post_processor": json.loads(bare.to_str())["post_processor"]}


def folder(tmp_path, *, json_=None, config=None, special=None, tokens=TOKENS):
    (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens))
    for name, value in (
        ("tokenizer.json", json_),
        ("tokenizer_config.json", config),
        ("special_tokens_map.json", special),
    ):
        if value is not None:
            (tmp_path / name).write_text(json.dumps(value))
    return tmp_path


SWAPPED = [*TOKENS[:5], "ABC", "abc", *TOKENS[7:]]
DISAGREEMENTS = {
    "two ids": ({"json_": fast(SWAPPED)}, r"tokenizer\.json is not of .*'ABC' has id 5 there, here it is 6"),
    "another token": ({"json_": fast([*TOKENS[:10], "F"])}, "'F' has id 10 there, here it is none"),
    "a token more": ({"json_": fast([*TOKENS, "F"])}, "'F' has id 11 there, here it is none"),
    "a token fewer": ({"json_": fast(TOKENS[:10])}, "it has no 'E', here id 10"),
    "special tokens in another order": (
        {"json_": fast([TOKENS[0], "[CLS]", "[UNK]", *TOKENS[3:]])},
        r"'\[CLS\]' has id 1 there, here it is 2",
    ),
    "an added token with another id": (
        {"json_": {**fast(), "added_tokens": [{"id": 3, "content": "[MASK]", "special": True}]}},
        r"gives '\[MASK\]' the id 3 among its added tokens, which in the vocabulary is '\[SEP\]'",
    ),
    "another beginning of a text": (
        {
            "json_": {
                **fast(),
                "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 1]},
            }
        },
        r"gives '\[CLS\]' the id 1 among its tokens around a text",
    ),
    "another name": ({"config": {"cls_token": "<s>"}}, r"has '<s>' as cls_token, where ELECTRA's is \[CLS\]"),
    "another name in the map": (
        {"special": {"mask_token": {"content": "<mask>"}}},
        r"special_tokens_map\.json has '<mask>' as mask_token",
    ),
    "another kind": (
        {"json_": {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}},
        "'a' has id 0 there",
    ),
    "no vocabulary": ({"json_": {"model": {"vocab": {"a": "0"}}}}, "no list of tokens with ids"),
}


@pytest.mark.parametrize("name", DISAGREEMENTS)
def test_ids_that_differ_are_refused(tmp_path, name):
    files, message = DISAGREEMENTS[name]
    with pytest.raises(UserError, match=message):
        find_tokenizer(folder(tmp_path, **files), None)


def test_the_vocabulary_that_is_named_is_the_one(tmp_path):
    home = folder(tmp_path, json_=fast(SWAPPED))
    (tmp_path / "mine.txt").write_bytes((home / "vocab.txt").read_bytes())
    assert find_tokenizer(home, tmp_path / "mine.txt")[0].token(5) == "abc"


@pytest.mark.parametrize(
    ("files", "note"),
    [
        ({}, None),
        ({"config": {"cls_token": "[CLS]", "mask_token": {"content": "[MASK]"}, **GENERIC}}, None),
        (
            {"json_": fast(added=[*TOKENS[:5], "<new>"])},
            "'<new>' whole wherever a text has them (1 added tokens)",
        ),
        ({"json_": fast(added=[*TOKENS[:5], "abc"])}, "'abc' whole"),
        ({"json_": fast(cut=pre_tokenizers.WhitespaceSplit())}, "cuts text into words by 'WhitespaceSplit'"),
        ({"json_": with_model(unk_token="abc")}, "has 'abc' as unk_token, here it is '[UNK]'"),
        ({"json_": with_model(continuing_subword_prefix="@@")}, "as continuing_subword_prefix"),
        ({"json_": with_model(max_input_chars_per_word=9)}, "of more than 9 characters"),
        ({"json_": {**fast(), "post_processor": None}}, "puts nothing around a text"),
        ({"json_": with_template("$A [SEP]")}, "makes A:0 [SEP]:0 of one text"),
        (
            {"json_": with_template("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]")},
            "makes [CLS]:0 A:0 [SEP]:0 B:0 [SEP]:0 of two texts",
        ),
        ({"json_": {**fast(), "normalizer": None}, "config": GENERIC}, "cleans nothing"),
    ],
)
def test_what_agrees_and_what_is_noted(tmp_path, files, note):
    home = folder(tmp_path, **{"json_": fast(), **files})
    notes = [one for one in find_tokenizer(home, None)[1] if "tokenizer.json" in one]
    assert len(notes) == (note is not None)
    assert all(note in one for one in notes)


@pytest.mark.parametrize("file", ["tokenizer_config.json", "added_tokens.json"])
def test_tokens_added_without_tokenizer_json_are_noted_or_refused(tmp_path, file):
    def write(token, number):
        entry = {"added_tokens_decoder": {str(number): {"content": token}}}
        (home / file).write_text(json.dumps({token: number} if file == "added_tokens.json" else entry))

    home = folder(tmp_path)
    write("[ENT]", 11)
    assert any(f"{file} finds '[ENT]' whole" in note for note in find_tokenizer(home, None)[1])
    write("[MASK]", 4)
    assert not any("whole" in note for note in find_tokenizer(home, None)[1])
    write("[ENT]", 5)
    with pytest.raises(UserError, match=r"gives '\[ENT\]' the id 5 among its added tokens.*is 'abc'"):
        find_tokenizer(home, None)


@pytest.mark.parametrize("said", [{}, {"do_lower_case": True}, {"strip_accents": True}])
def test_a_tokenizer_that_cleans_nothing_is_followed(tmp_path, said):
    home = folder(tmp_path, json_={**fast(), "normalizer": None}, config={**GENERIC, **said})
    assert find_tokenizer(home, None)[0].options == {"lowercase": False, "strip_accents": False}


@pytest.mark.parametrize(
    "config", [None, {}, ELECTRA, GENERIC], ids=["none", "empty", "ElectraTokenizer", "generic"]
)
@pytest.mark.parametrize(
    "said", [{}, {"do_lower_case": True}, {"do_lower_case": False}, {"strip_accents": False}]
)
@pytest.mark.parametrize("cleaning", [{}, {"lowercase": False}, {"strip_accents": False}])
def test_text_is_cleaned_as_transformers_does(tmp_path, config, said, cleaning):
    transformers = pytest.importorskip("transformers")
    home = folder(tmp_path, json_=fast(**cleaning), config={**config, **said} if config is not None else None)
    (home / "config.json").write_text('{"model_type": "electra", "vocab_size": 11}')
    theirs = transformers.AutoTokenizer.from_pretrained(home)(TEXT)["input_ids"]
    tokenizer, notes = find_tokenizer(home, None)
    same = theirs == [tokenizer.cls_id, *tokenizer.encode(TEXT), tokenizer.sep_id]
    assert same or any("ElectraTokenizer" in note and "tokenizer." in note for note in notes)
