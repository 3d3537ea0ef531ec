"""One app for each ref in each lane, by one name that Modal takes and that no other has."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from modal._utils.name_utils import check_tag_dict, is_valid_object_name, is_valid_tag, replace_invalid_subdomain_chars

from apps.core.adapters.modal.naming import Lane, app_name, ref_of, ref_tags, tag_of
from processor_runtime.values import Ref

refs = st.builds(
    Ref,
    st.from_regex(r"[a-z][a-z0-9]{0,31}", fullmatch=True),
    st.from_regex(r"[a-z][a-z0-9_]{0,47}", fullmatch=True),
    st.integers(1, 999_999_999),
)
environments = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True).filter(lambda text: text != "dev")
words = st.text(min_size=1, max_size=80) | st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True)
lanes = st.builds(Lane, environments) | st.builds(Lane, st.just("dev"), words, words)
apps = st.tuples(refs, lanes)


@pytest.mark.parametrize(
    ("ref", "lane", "name"),
    [
        ("llm/chat@1", Lane("prod"), "llm-chat-v1-prod"),
        ("doc/page_ocr@12", Lane("staging"), "doc-page_ocr-v12-staging"),
        ("llm/chat@1", Lane("dev", "main", "anna"), "llm-chat-v1-main-anna-dev"),
        ("llm/chat@1", Lane("dev", "feature/Login", "anna"), "llm-chat-v1-feature-login-anna-dev-x82a432485092"),
        ("llm/chat@1", Lane("dev", "ветка", "anna"), "llm-chat-v1-anna-dev-x0acc6e0bdd5c"),
        ("llm/chat@1", Lane("eu-prod"), "llm-chat-v1-eu-prod-xfb1aa0f56a36"),
    ],
    ids=str,
)
def test_a_name_says_what_it_is_made_of(ref: str, lane: Lane, name: str) -> None:
    """These are promises: a name that changes leaves its app behind."""
    assert app_name(Ref.parse(ref), lane) == name


@given(apps)
def test_each_name_is_one_that_modal_takes(app: tuple[Ref, Lane]) -> None:
    """Judged by the SDK's own rule, which also keeps clear of app ids."""
    name = app_name(*app)

    assert is_valid_object_name(name)
    assert name == name.lower()
    assert name == app_name(*app)


@given(apps, apps)
@example((Ref("a", "b", 1), Lane("v1")), (Ref("a", "b_v1", 1), Lane("prod")))
@example((Ref("a", "b_v1_dev", 2), Lane("anna")), (Ref("a", "b", 1), Lane("dev", "v2", "anna")))
@example((Ref("a", "b", 1), Lane("dev", "x", "y-z")), (Ref("a", "b", 1), Lane("dev", "x-y", "z")))
@example((Ref("a", "b", 1), Lane("dev", "x", "y")), (Ref("a", "b", 1), Lane("dev", "X", "y")))
@example((Ref("a", "b", 1), Lane("dev", "x", "y.z")), (Ref("a", "b", 1), Lane("dev", "x", "y_z")))
@example((Ref("a", "b" * 48, 1), Lane("e" * 64)), (Ref("a", "b" * 48, 1), Lane("e" * 63 + "f")))
def test_no_two_apps_have_one_name_or_one_label(one: tuple[Ref, Lane], other: tuple[Ref, Lane]) -> None:
    """Modal folds names into the labels of addresses, and gives a label that is taken to whoever deploys last."""
    label, other_label = (replace_invalid_subdomain_chars(app_name(*app)) for app in (one, other))

    assert (label == other_label) == (one == other)


@given(apps, st.from_regex(r"x[0-9a-f]{12}", fullmatch=True))
def test_no_plain_name_is_another_ones_hashed_name(app: tuple[Ref, Lane], environment: str) -> None:
    """An environment may be called what a hash looks like: then its names are hashed themselves."""
    assert app_name(app[0], Lane(environment)).rpartition("-")[2] != environment


@given(refs)
def test_a_ref_is_found_again_in_its_tags(ref: Ref) -> None:
    """Lists of apps say which processor each is."""
    check_tag_dict(ref_tags(ref))
    assert ref_of({**ref_tags(ref), "somebody": "else"}) == ref


@pytest.mark.parametrize("changes", [{"processor-version": "0"}, {"processor-name": "B"}, {"processor-namespace": ""}])
def test_tags_of_somebody_elses_are_no_ref(changes: dict[str, str]) -> None:
    """Other apps may live in the same environment."""
    assert ref_of({}) is None
    assert ref_of(ref_tags(Ref("a", "b", 1)) | changes) is None


@given(st.text(min_size=1, max_size=100), st.text(min_size=1, max_size=100))
def test_no_two_branches_have_one_tag(one: str, other: str) -> None:
    """Whether a branch is gone is read from tags."""
    assert is_valid_tag(tag_of(one), 63)
    assert (tag_of(one) == tag_of(other)) == (one == other)


def test_a_branch_that_fits_is_its_own_tag() -> None:
    """Most do, and can be read in Modal's dashboard."""
    assert tag_of("fix-2.1_b") == "fix-2.1_b"
    assert tag_of("feature/login") == "feature-login-x" + tag_of("feature/login")[-12:]
