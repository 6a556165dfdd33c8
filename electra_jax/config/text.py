"""Sections on text: where it comes from, and the vocabulary it is read with."""

from __future__ import annotations

from typing import Literal

from electra_jax.config.fields import MAX_SIZE, PRETRAINING, LocalPath, Section, SourceName, field


class DataConfig(Section):
    """Where text comes from and how it becomes rows of tokens."""

    source: SourceName = field(
        "embedded:python-docs",
        "Training text: embedded:python-docs, text:GLOB, or tfds:NAME[/CONFIG][:SPLIT].",
        kinds=PRETRAINING,
    )
    eval_source: SourceName | None = field(
        None,
        "Evaluation text, written as data.source; null: the held-out share of data.source.",
        kinds=PRETRAINING,
    )
    eval_fraction: float = field(
        0.01,
        "Share of the documents of data.source that is held out for evaluation.",
        ge=0.0,
        lt=0.5,
        kinds=PRETRAINING,
    )
    sequence_length: int = field(128, "Tokens in a row, special tokens included.", ge=8)
    packing: Literal["documents", "segment_pairs", "continuous"] = field(
        "documents",
        "documents: contiguous text, several documents a row, attention kept inside each; "
        "segment_pairs: the reference's [CLS] A [SEP] B [SEP] examples; continuous: for language models, as "
        "documents, with [SEP] only where a document ends, not where a row does (the default of causal_lm).",
        kinds=PRETRAINING,
    )
    text_field: str = field(
        "text", "Field that holds the text, in JSON lines and in TFDS features.", kinds=PRETRAINING
    )
    document_separator: Literal["blank_line", "line", "file"] = field(
        "blank_line",
        "What ends a document in a .txt file: an empty line, every line end, or (file) the end of the file: it is one "
        "document with all its line ends and blanks, and its last eval_fraction is held out.",
        kinds=PRETRAINING,
    )
    encoding: str = field(
        "utf-8", "Encoding of text files; undecodable bytes are an error.", kinds=PRETRAINING
    )
    tfds_data_dir: LocalPath | None = field(
        None,
        "TFDS data directory; null: TFDS's own default (TFDS_DATA_DIR or ~/tensorflow_datasets).",
        free=True,
    )
    cache_dir: LocalPath = field(
        "~/.cache/electra_jax", "Where tokenizers and prepared tokens are kept, keyed by hash.", free=True
    )
    prepare_processes: int | None = field(
        None, "Processes that tokenise; null: one for each core.", free=True, ge=1, kinds=PRETRAINING
    )
    prefetch_batches: int = field(8, "Batches read ahead of the step.", free=True, ge=1, kinds=PRETRAINING)


class TokenizerConfig(Section):
    """Which tokenizer; a SentencePiece model is trained from data.source when no file is given."""

    kind: Literal["sentencepiece", "wordpiece", "characters"] = field(
        "sentencepiece",
        "sentencepiece, BERT's wordpiece, or characters: those of the training text, each a token.",
    )
    vocab_size: int | None = field(
        None,
        "Entries of the vocabulary, special tokens included. sentencepiece: how many to train (null: 30522); "
        "characters: the most frequent (null: all there are); wordpiece: if given, the file must have just as many.",
        ge=1,
        le=MAX_SIZE,
    )
    vocab_file: LocalPath | None = field(
        None,
        "wordpiece: a BERT vocab.txt (required); sentencepiece: a trained .model (null: train one); characters: a "
        "characters.json (null: those of the text).",
    )
    lowercase: bool = field(True, "Lower-case the text.")
    strip_accents: bool | None = field(
        None,
        "Remove accents (combining marks, vowel signs of many scripts among them), independently of case. null: only "
        "if vocab_file was made so: the files beside it say it, or it is BERT's English uncased vocab.txt.",
    )
    keep_newlines: bool = field(
        False,
        "Keep line ends and every blank, so that text comes back just as it was. sentencepiece: train the vocabulary "
        "so, and without folding characters (NFKC); characters: always; wordpiece: cannot.",
    )
    model_type: Literal["unigram", "bpe"] = field(
        "unigram", "sentencepiece only: the kind of model to train."
    )
    byte_fallback: bool = field(
        True, "sentencepiece only: spell characters outside the vocabulary as bytes instead of [UNK]."
    )
    character_coverage: float = field(
        0.9995,
        "sentencepiece only: share of the corpus's characters that get a piece of their own, to train from .98 on.",
        gt=0.0,
        le=1.0,
    )
    training_sentences: int = field(
        1_000_000,
        "sentencepiece only: at most this many sentences, drawn at random, train the vocabulary.",
        ge=1,
    )
    training_characters: int = field(
        20_000_000,
        "sentencepiece only: and at most this many characters, which bounds the time; one of text without blanks "
        "counts eight times.",
        ge=1,
    )
