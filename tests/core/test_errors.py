"""Errors a user can mend: their exit codes, and the hint to the nearest known word."""

from swdb.core.errors import BadInput, MissingArtefact, SwdbError, nearest


def test_each_kind_of_error_has_its_exit_code():
    assert (BadInput.exit_code, MissingArtefact.exit_code) == (2, 3)


def test_all_errors_are_caught_by_their_base_alone():
    assert issubclass(BadInput, SwdbError) and issubclass(MissingArtefact, SwdbError)
    # Neither may hide in the other: `except BadInput` must not swallow a missing artefact.
    assert not issubclass(BadInput, MissingArtefact) and not issubclass(MissingArtefact, BadInput)


def test_nearest_names_the_word_that_was_probably_meant():
    assert nearest("oversampel", ["oversample", "proxy_set", "kl"]) == "did you mean 'oversample'?"


def test_nearest_lists_all_words_in_order_where_none_is_close():
    assert nearest("zzz", ["strong", "all-strong", "weak"]) == "known: all-strong, strong, weak"


def test_nearest_takes_words_that_can_be_read_only_once():
    assert nearest("zzz", (word for word in ("b", "a"))) == "known: a, b"
