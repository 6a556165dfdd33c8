import pytest

from electra_jax.data.sources.prose import paragraphs

NUMPYDOC = """
    Compute the mean of the
    values in an array.

    .. versionadded:: 1.0
       This text is about versions and nobody should ever read it.

    Parameters
    ----------
    a : array_like of the values that should be dropped
        The array of which the mean is to be taken.
    axis : {None, int}, optional
        Axis along which the mean is taken. The default
        is to use the whole of the array.

    Returns
    -------
    mean : ndarray
        The mean, as an array of the same type.

    See Also
    --------
    median : The value in the middle of all of the values.

    Notes
    -----
    The mean is the sum divided by the number of values::

        for this is code, and it is not to be read as the prose:
            it is not

    Afterwards the text goes on. It has a list:

    * The first entry of the list is
      wrapped onto a second line.
    * The second entry of the list is short.

    =====  ======================
    order  what it means to us all
    =====  ======================
    0      it is the sum of all
    =====  ======================

    References
    ----------
    .. [1] A. Author, "The book of the mean and of the median", 1999.

    Examples
    --------
    We take the mean of an array:

    >>> mean([1, 2])
    this is the output of the code, and it is dropped

    The result is a number, as it should be.
"""

NUMPYDOC_PROSE = [
    "Compute the mean of the values in an array.",
    "The array of which the mean is to be taken.",
    "Axis along which the mean is taken. The default is to use the whole of the array.",
    "The mean, as an array of the same type.",
    "Afterwards the text goes on.",
    "The first entry of the list is wrapped onto a second line.",
    "The second entry of the list is short.",
    "The result is a number, as it should be.",
]

GOOGLE = """Runs the step on the batch.

    This is done once for each of the batches.

    ```python
    this = "is code and it is not to be read as prose"
    ```

    Args:
      state: The state before the step,
        with all of its parameters.
      batch (dict[str, Any], optional): The rows to be
        learnt from.

    Returns:
      The state after the step.

    Raises:
      ValueError: If the batch is of the wrong size.
    """

SPHINX = """Open the file for reading.

:param path: The path of the file,
    as a string or a bytes object.
:type path: this is a type and is not to be read as prose
:returns: The file, which is to be closed by the caller.
:rtype: this is a type and is not to be read as prose

.. note::
   The file is locked while it is open.

.. code-block:: python

   this is code, and it is not to be read as prose

.. math:: a = b, and it is not to be read as the prose

.. This is a comment, and it is not to be read as prose.
"""


@pytest.mark.parametrize(
    ("documentation", "expected"),
    [
        (NUMPYDOC, NUMPYDOC_PROSE),
        (
            GOOGLE,
            [
                "Runs the step on the batch.",
                "This is done once for each of the batches.",
                "The state before the step, with all of its parameters.",
                "The rows to be learnt from.",
                "The state after the step.",
                "If the batch is of the wrong size.",
            ],
        ),
        (
            SPHINX,
            [
                "Open the file for reading.",
                "The path of the file, as a string or a bytes object.",
                "The file, which is to be closed by the caller.",
                "The file is locked while it is open.",
            ],
        ),
        ("", []),
        ("   \n\n  ", []),
        ("Return it.", []),
    ],
)
def test_paragraphs(documentation, expected):
    assert paragraphs(documentation) == expected


def test_a_long_line_continues_where_it_is_indented():
    documentation = """
    -x  This line is long enough to have been wrapped by the hand of whoever wrote
        it, and here it goes on.
    """
    assert paragraphs("Heading\n" + documentation.replace("-x  ", ""))[-1] == (
        "This line is long enough to have been wrapped by the hand of whoever wrote it, and here it goes on."
    )


def test_an_open_fence_hides_the_rest():
    assert paragraphs("The first part of it is prose.\n\n```\nThe rest is not to be read.") == [
        "The first part of it is prose."
    ]
