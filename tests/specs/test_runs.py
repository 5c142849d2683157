"""What a training may vary, and what is refused before anything is trained."""

import pytest

from swdb.core.errors import BadInput
from swdb.specs.runs import RunSpec, check_run


def run(**values) -> RunSpec:
    return RunSpec(**{"name": "one", "strong_branch": "strong", **values})


@pytest.mark.parametrize(
    ("values", "branches", "needs_proxies"),
    [
        ({}, ("strong",), False),
        ({"strong_branch": "all-strong"}, ("strong",), False),
        ({"strong_branch": "weak"}, ("strong",), True),
        ({"strong_branch": "strong+weak"}, ("strong",), True),
        ({"weak_branch": "strong+weak"}, ("strong", "weak"), True),
        ({"weak_branch": "all-strong"}, ("strong", "weak"), False),
        ({"method": "decouplednet", "strong_per_class": 5}, ("strong",), False),
    ],
)
def test_label_sets_say_which_branches_predict_and_whether_proxies_are_needed(values, branches, needs_proxies):
    spec = run(**values)
    check_run(spec, "here")
    assert spec.branches == branches and spec.dual == (len(branches) == 2) and spec.needs_proxies == needs_proxies


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"name": "a/b"}, "name"),
        ({"strong_branch": "stong"}, "strong_branch"),
        ({"shared_layers": -1}, "shared_layers"),
        ({"oversample": 0, "strong_branch": "strong+weak"}, "oversample"),
        ({"oversample": 2}, "oversample"),
        ({"proxy_set": 3, "strong_branch": "weak"}, "proxy_set"),
        ({"proxy_set": 2}, "proxy_set"),
        ({"strong_per_class": 0}, "strong_per_class"),
        ({"few_strong": "some", "strong_per_class": 5}, "few_strong"),
        ({"few_strong": "occurrences"}, "few_strong"),
        ({"kl": True}, "kl"),
        ({"method": "decouplednet", "weak_branch": "strong"}, "weak_branch"),
        ({"method": "decouplednet", "shared_layers": 1}, "shared_layers"),
    ],
)
def test_what_no_training_can_do_is_refused_with_its_key(values, key):
    with pytest.raises(BadInput) as caught:
        check_run(run(**values), "table9.toml, row 'r'")
    assert "table9.toml, row 'r'" in str(caught.value.subject) and repr(key) in f"{caught.value.subject}"


def test_a_method_that_is_not_known_is_answered_with_the_nearest():
    with pytest.raises(BadInput) as caught:
        check_run(run(method="decoupled-net"), "here")
    assert caught.value.near == "decouplednet"
