import pytest

from electra_jax.data.sources.english import clean_markup, is_english_prose


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("See :func:`open` and :class:`~a.b.Thing` for it.", "See open and Thing for it."),
        ("See :meth:`!close` or :ref:`the guide <guide>`.", "See close or the guide."),
        ("``x`` is *not* the same as **y**, `z`.", "x is not the same as y, z."),
        ("Pass *args and **kwargs to it.", "Pass *args and **kwargs to it."),
        ("Read `the paper <https://example.org/a_b>`_ on it.", "Read the paper on it."),
        ("Read [the paper](https://example.org) on it.", "Read the paper on it."),
        ("As shown by others [1]_, [Foo2020]_ and NumPy_ users.", "As shown by others, and NumPy users."),
        ("A command `foo' calls `do_foo'.", "A command 'foo' calls 'do_foo'."),
        ("Kept. See https://example.org/x. Kept too.", "Kept. Kept too."),
        (r"The loss is :math:`\frac{a}{b}` here. It is low.", "It is low."),
        ("The order :math:`n` is even.", "The order n is even."),
        ("It works as shown. For example:", "It works as shown."),
        ("Wrapped   with\tspaces.", "Wrapped with spaces."),
        ("Fills %(name)s in.", ""),
    ],
)
def test_clean_markup(markup, text):
    assert clean_markup(markup) == text


@pytest.mark.parametrize(
    "text",
    [
        "Return the sum of the array.",
        "If the file exists, it is opened and its contents are returned to the caller.",
        "Axis along which the mean is computed; the default is to use the whole array",
        "See open_source and read_text for the way in which files are opened and then read.",
    ],
)
def test_prose(text):
    assert is_english_prose(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x y",
        "numpy ndarray float64 int32",
        "for i in range(10): print(i + 1)",
        "result = np.dot(a, b) if a is not None else b",
        "import os from pathlib import Path from typing import Any, Optional, Union, Callable",
        "12 34 56 78 90 of the 11 22 33 44",
        "the default value",
        "Return the value that is the first of the list if",
        "Dies ist ein deutscher Satz, welcher hier nichts verloren hat, weil er fremd klingt.",
        "Licensed under the Apache License, Version 2.0, which you may read at the address given.",
        "This software is provided as is and without any warranty of any kind to the user.",
        "Changed in version 3.8: the parameter was added to the function and to the class.",
        "the a.first or the b.second of in_this_one if not with the is_that_one for the next_one.",
        "| a | b | is the table of the two |",
    ],
)
def test_not_prose(text):
    assert not is_english_prose(text)
