import hashlib

import pytest

from electra_jax.config.text import DataConfig
from electra_jax.data.sources import is_held_out, open_source
from electra_jax.data.sources.held_out import MIN_HELD_OUT_CHARACTERS, divide_whole_file

DOCUMENTS = [f"document number {number}" for number in range(20_000)]


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.4])
def test_share_is_the_fraction_within_sampling_error(fraction):
    share = sum(is_held_out(document, fraction) for document in DOCUMENTS) / len(DOCUMENTS)
    deviation = (fraction * (1 - fraction) / len(DOCUMENTS)) ** 0.5
    assert abs(share - fraction) < 4 * deviation


def test_nothing_is_held_out_at_zero():
    assert not any(is_held_out(document, 0.0) for document in DOCUMENTS)


def test_held_out_sets_are_nested():
    small = {document for document in DOCUMENTS if is_held_out(document, 0.02)}
    large = {document for document in DOCUMENTS if is_held_out(document, 0.2)}
    assert small < large


def test_agrees_with_the_hash_written_out():
    for document in ("", "a", "Übung", "\ud800 alone"):
        data = document.encode("utf-8", "surrogatepass")
        place = int(hashlib.blake2b(data, digest_size=8).hexdigest(), 16) / 2**64
        assert not is_held_out(document, place * 0.999)
        assert is_held_out(document, place * 1.001)


def test_the_end_of_a_long_file_is_held_out_where_nanogpt_divides_it():
    text = "".join(chr(97 + number % 26) for number in range(1_115_394))
    (first_held, first), (last_held, last) = divide_whole_file(text, 0.1)
    assert (first_held, last_held) == (False, True)
    assert first == text[: int(len(text) * 0.9)]
    assert first + last == text


def test_a_short_file_is_held_out_whole_or_not_at_all():
    limit = MIN_HELD_OUT_CHARACTERS * 5  # a fifth of which is just enough
    assert len(list(divide_whole_file("a" * limit, 0.2))) == 2
    for number in range(100):
        text = f"{number:3}" * (limit // 4)
        assert list(divide_whole_file(text, 0.2)) == [(is_held_out(text, 0.2), text)]


def test_files_as_documents_are_divided_and_json_lines_are_not(tmp_path):
    long = "  line\n\n\n" * 1000
    (tmp_path / "a.txt").write_bytes(("\ufeff" + long).replace("\n", "\r\n").encode())
    (tmp_path / "b.jsonl").write_text('{"text": " one document "}\n' * 2)
    config = DataConfig(cache_dir=str(tmp_path / "cache"), document_separator="file")
    source = open_source(f"text:{tmp_path}/*.*", config)
    assert list(source.documents()) == [long, "one document", "one document"]
    middle = int(len(long) * 0.7)
    held_out = [is_held_out("one document", 0.3)] * 2
    assert list(source.divided(0.3)) == [
        (False, long[:middle]),
        (True, long[middle:]),
        *((held, "one document") for held in held_out),
    ]
    assert [text for _, text in source.divided(0)] == list(source.documents())
