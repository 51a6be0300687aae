"""What a docstring says of a function and of each of its parameters, however it is laid out."""

from __future__ import annotations

import pytest

from lightbus.contracts.docstrings import Docs, docs_of, docs_of_attributes

GOOGLE = """Find users.

    Slow where there are many.

    Args:
        name (str): The name,
            or a part of it: any case.
        **limit: How many.
        first, last: The days.

    Returns:
        list of User: The users,
            best first.

    Raises:
        LookupError: There are none.

    See also the other one.
    """
NUMPY = """Find users.

    Slow where there are many.

    Parameters
    ----------
    name : str
        The name,
        or a part of it: any case.
    first, last : date
        The days.
    limit
        How many.

    Returns
    -------
    The users,
    best first.

    Raises
    ------
    LookupError
        There are none.
    """
SPHINX = """Find users.

    Slow where there are many.

    :param str name: The name,
        or a part of it: any case.
    :param limit: How many.
    :type limit: int
    :param first: The days.
    :param last: The days.
    :returns: The users,
        best first.
    :raises LookupError: There are none.
    """
PARAMETERS = {
    "name": "The name, or a part of it: any case.",
    "limit": "How many.",
    "first": "The days.",
    "last": "The days.",
}
TEXT = "Find users.\n\nSlow where there are many."


@pytest.mark.parametrize(
    ("docstring", "text", "returns"),
    [
        (GOOGLE, f"{TEXT}\n\nSee also the other one.", "list of User: The users, best first."),
        (NUMPY, TEXT, "The users, best first."),
        (SPHINX, TEXT, "The users, best first."),
    ],
    ids=["google", "numpy", "sphinx"],
)
def test_parameters_and_result_are_read(docstring: str, text: str, returns: str) -> None:
    docs = docs_of(docstring)
    assert (docs.text, docs.returns) == (text, returns)
    assert docs.parameters == PARAMETERS


@pytest.mark.parametrize(
    "docstring",
    [
        "One line.",
        "Args are given by name: see below.",
        ":class:`Foo` is made.",
        "A heading\n---------\n\nand text.",
        "It finds.\n\nExample:\n    bus.auth.find(name='x')",
        "Notes\n-----\nIt is slow.",
    ],
)
def test_all_else_is_text(docstring: str) -> None:
    assert docs_of(docstring) == Docs(docstring)


def test_nothing_says_nothing() -> None:
    assert docs_of(None) == docs_of("") == Docs()


class Outer:
    class Inner:
        first = 1
        """The first.

        Args:
            x: Its x.
        """
        second: int = 2
        "The second."
        third = 3
        print("no docstring")


def test_the_strings_below_attributes_are_read_as_docstrings() -> None:
    assert docs_of_attributes(Outer.Inner) == {
        "first": Docs("The first.", {"x": "Its x."}),
        "second": Docs("The second."),
    }


def test_a_class_within_a_function_has_them_too() -> None:
    class Local:
        one = 1
        """It is one."""

    assert docs_of_attributes(Local) == {"one": Docs("It is one.")}


def test_a_class_without_source_has_none() -> None:
    assert docs_of_attributes(type("Made", (), {})) == docs_of_attributes(int) == {}
