"""BERT's FullTokenizer (basic, then greedy longest match), written from its description for comparison."""

import unicodedata

from electra_jax.tokenizers import pinned_unicode

CHINESE = [
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
]


def basic_tokens(text, lowercase, strip_accents):
    cleaned = ""
    for char in text:
        category = pinned_unicode.category(char)
        if char in " \t\n\r" or category == "Zs":
            cleaned += " "
        elif char not in "\0\ufffd" and category[0] != "C":
            chinese = any(low <= ord(char) <= high for low, high in CHINESE)
            cleaned += f" {char} " if chinese else char
    words = []
    for token in cleaned.split():
        token = token.lower() if lowercase else token
        if strip_accents:
            marks_apart = unicodedata.normalize("NFD", token)
            token = "".join(c for c in marks_apart if pinned_unicode.category(c) != "Mn")
        words += split_punctuation(token).split()
    return words


def split_punctuation(token):
    result = ""
    for char in token:
        ascii_punctuation = 33 <= ord(char) <= 126 and not char.isalnum()
        result += f" {char} " if ascii_punctuation or pinned_unicode.category(char)[0] == "P" else char
    return result


def full_tokens(text, vocabulary, lowercase, strip_accents):
    return [t for w in basic_tokens(text, lowercase, strip_accents) for t in word_tokens(w, vocabulary)]


def word_tokens(word, vocabulary):
    if len(word) > 200:
        return ["[UNK]"]
    tokens, begin = [], 0
    while begin < len(word):
        prefix = "##" if begin else ""
        ends = range(len(word), begin, -1)
        end = next((end for end in ends if prefix + word[begin:end] in vocabulary), None)
        if end is None:
            return ["[UNK]"]
        tokens.append(prefix + word[begin:end])
        begin = end
    return tokens
