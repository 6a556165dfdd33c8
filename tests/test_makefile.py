"""The lists of test files in the Makefile."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_whatever_needs_transformers_or_torch_is_tested_where_they_are_installed():
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    listed = re.search(r"^HUGGINGFACE_TESTS := (.*)$", text, re.MULTILINE)[1].split()
    needing = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "tests").rglob("test_*.py")
        if re.search(r'importorskip\("(transformers|torch|sentence_transformers)"', file.read_text())
    }
    assert needing <= set(listed)


@pytest.mark.parametrize("name", ["SLOWEST_TESTS", "HUGGINGFACE_TESTS", "PARITY_TESTS"])
def test_every_file_of_a_list_exists(name):
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    files = re.search(rf"^{name} := (.*)$", text, re.MULTILINE)[1].split()
    assert files
    assert [file for file in files if not (ROOT / file).exists()] == []
