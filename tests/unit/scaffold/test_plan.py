"""A plan holds only what a processor can have; every refusal is one line that names the option."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.scaffold import Plan, PlanError, Template


def test_a_ref_alone_is_a_plan() -> None:
    """Everything else has a default."""
    plan = Plan.parse("acme/summary@1")

    assert (str(plan.ref), plan.template) == ("acme/summary@1", Template.GENERIC)
    assert (plan.cpu, plan.memory_gb, plan.timeout_s, plan.gpu, plan.concurrency) == ("1", 1, 600, None, 1)
    assert plan.required_secrets == plan.optional_secrets == ()


def test_the_template_for_language_models_brings_its_own_secrets_and_defaults() -> None:
    """Named ones are added; one that is named is not optional any more; none is there twice."""
    plan = Plan.parse("acme/summary@1", template="llm", secrets="B, OPENAI_API_KEY,A,B")

    assert plan.required_secrets == ("OPENAI_API_KEY", "B", "A")
    assert plan.optional_secrets == ("OPENAI_BASE_URL",)
    assert (plan.timeout_s, plan.concurrency) == (120, 8)
    assert Plan.parse("acme/summary@1", template="llm", secrets="OPENAI_BASE_URL").optional_secrets == ()


@pytest.mark.parametrize(
    ("text", "cpu"), [("1", "1"), ("1.0", "1"), ("01", "1"), ("0.50", "0.5"), ("10", "10"), ("100.000", "100")]
)
def test_cores_are_spelled_in_the_shortest_way(text: str, cpu: str) -> None:
    """They are copied into every env_fingerprint, which is compared as text."""
    assert Plan.parse("a/b@1", cpu=text).cpu == cpu


def test_numbers_keep_their_kind() -> None:
    """A whole number is written without a point."""
    plan = Plan.parse("a/b@1", memory_gb="2.0", timeout_s="0.5", concurrency="4")

    assert [repr(value) for value in (plan.memory_gb, plan.timeout_s, plan.concurrency)] == ["2", "0.5", "4"]


REFUSALS = [
    pytest.param({"ref": "summary"}, "--ref must be", id="no namespace"),
    pytest.param({"ref": "Acme/summary@1"}, "--ref must be", id="capital in a namespace"),
    pytest.param({"ref": "acme/summary"}, "--ref must be", id="no version"),
    pytest.param({"ref": "acme/../../etc@1"}, "--ref must be", id="a path for a name"),
    pytest.param({"ref": ""}, "--ref must be", id="nothing"),
    pytest.param({"template": "magic"}, "--template must be one of generic, llm", id="unknown template"),
    pytest.param({"secrets": "api_key"}, "--secrets: name 1 must be written in capitals", id="small letters"),
    pytest.param({"secrets": "A,,B"}, "--secrets: name 2 must be written in capitals", id="empty name"),
    pytest.param({"secrets": "A,B="}, "--secrets: name 2 must be written in capitals", id="equals sign"),
    pytest.param({"secrets": "CI"}, "--secrets: name 1 must not be a reserved name", id="CI"),
    pytest.param({"secrets": "A,PROCESSOR_TOKEN"}, "--secrets: name 2 must not be a reserved", id="the token"),
    pytest.param({"secrets": "IMAGE_DIGEST"}, "--secrets: name 1 must not be a reserved", id="the digest"),
    pytest.param({"cpu": "two"}, "--cpu must be a number", id="cores in words"),
    pytest.param({"cpu": ""}, "--cpu must be a number", id="cores left empty"),
    pytest.param({"memory_gb": "-1"}, "--memory-gb must be a number above 0", id="negative memory"),
    pytest.param({"memory_gb": "2Gi"}, "--memory-gb must be a number", id="memory with a unit"),
    pytest.param({"memory_gb": "1e3"}, "--memory-gb must be a number", id="memory with an exponent"),
    pytest.param({"timeout_s": "nan"}, "--timeout-s must be a number", id="no number"),
    pytest.param({"timeout_s": "inf"}, "--timeout-s must be a number", id="for ever"),
    pytest.param({"timeout_s": "٣"}, "--timeout-s must be a number", id="digits of another script"),
    pytest.param({"concurrency": "1.5"}, "--concurrency must be a whole number", id="half a run"),
]


@pytest.mark.parametrize(("change", "reason"), REFUSALS)
def test_a_refusal_is_one_line_that_names_the_option(change: dict[str, str], reason: str) -> None:
    """And the rule."""
    options = {"ref": "acme/summary@1"} | change

    with pytest.raises(PlanError) as caught:
        Plan.parse(**options)

    assert str(caught.value).startswith(reason)
    assert "\n" not in str(caught.value)


def test_a_refused_secret_is_not_repeated() -> None:
    """Somebody may give the value where the name is asked for, and errors end in logs."""
    with pytest.raises(PlanError) as caught:
        Plan.parse("acme/summary@1", secrets="sk-abcdefgh")

    assert "sk-" not in str(caught.value)


@given(
    st.dictionaries(st.sampled_from(["ref", "template", "secrets", "cpu", "memory_gb", "timeout_s", "gpu"]), st.text())
)
def test_any_text_is_a_plan_or_a_refusal(options: dict[str, str]) -> None:
    """Nothing else is raised, whatever is typed."""
    with contextlib.suppress(PlanError):
        Plan.parse(**({"ref": "acme/summary@1"} | options))
