"""A processor is put in its place whole, or not at all."""

import shutil
from pathlib import Path

import pytest

from apps.core.registry import RegistryInvalidError, load_registration, load_registry
from apps.core.scaffold import FolderExistsError, Plan, PlanError, Template, place, scaffold
from apps.core.scaffold.render import FILES

PLAN = Plan.parse("acme/summary@1")


def test_what_is_made_is_registered(tmp_path: Path) -> None:
    """The registry file says what the options said."""
    plan = Plan.parse(
        "acme/summary@3",
        secrets="API_KEY",
        cpu="0.5",
        memory_gb="1.5",
        timeout_s="30",
        gpu="A100:2",
        concurrency="4",
    )

    made = scaffold(plan, processors=tmp_path)

    assert made.folder == tmp_path / "acme_summary"
    declaration = load_registration(made.folder).declaration
    assert str(declaration.ref) == "acme/summary@3"
    assert declaration.env_fingerprint == "cpu:0.5;gpu:A100:2;memory:1.5Gi"
    assert (declaration.runtime.timeout_s, declaration.runtime.concurrency) == (30, 4)
    assert declaration.required_secrets == ("API_KEY",)


MATRIX = [
    pytest.param({}, id="defaults"),
    pytest.param({"secrets": "A,NULL,TRUE,YES"}, id="secrets that YAML could misread"),
    pytest.param({"cpu": "0.25", "memory_gb": "0.0625"}, id="small"),
    pytest.param({"cpu": "256", "memory_gb": "4096", "timeout_s": "86400", "concurrency": "1000"}, id="large"),
    pytest.param({"gpu": "H100!:8"}, id="gpu"),
    pytest.param({"timeout_s": "0.001"}, id="hardly any time"),
]


@pytest.mark.parametrize("template", Template)
@pytest.mark.parametrize("options", MATRIX)
def test_every_combination_is_registered(tmp_path: Path, template: Template, options: dict[str, str]) -> None:
    """Both templates, with values at both ends of what is allowed."""
    scaffold(Plan.parse("acme/summary@1", template=template, **options), processors=tmp_path)

    (registration,) = load_registry(tmp_path)
    assert set(registration.declaration.required_secrets) >= set(filter(None, options.get("secrets", "").split(",")))


REFUSALS = [
    pytest.param({"cpu": "0"}, "--cpu must be more than 0", id="no core"),
    pytest.param({"cpu": "1000"}, "--cpu must be", id="too many cores"),
    pytest.param({"cpu": "0.00001"}, "--cpu must be", id="a core's crumb"),
    pytest.param({"memory_gb": "0"}, "--memory-gb must be a number of GiB from 0.0625", id="no memory"),
    pytest.param({"memory_gb": "8192"}, "--memory-gb must be", id="MiB by mistake"),
    pytest.param({"timeout_s": "0"}, "--timeout-s must be", id="no time"),
    pytest.param({"timeout_s": "86401"}, "--timeout-s must be", id="more than a day"),
    pytest.param({"concurrency": "0"}, "--concurrency must be", id="no slot"),
    pytest.param({"gpu": ""}, "--gpu must be", id="empty gpu"),
    pytest.param({"gpu": "none"}, "--gpu must be", id="none"),
    pytest.param({"gpu": "A100\nref: x"}, "--gpu must be", id="a gpu that would add a line"),
    pytest.param({"gpu": "A100;cpu:9"}, "--gpu must be", id="a gpu that would forge a fingerprint"),
    pytest.param({"gpu": "\udcff"}, "--gpu ", id="a gpu that is no text"),
]


@pytest.mark.parametrize(("options", "reason"), REFUSALS)
def test_what_the_registry_would_refuse_is_refused_by_its_option(
    tmp_path: Path, options: dict[str, str], reason: str
) -> None:
    """One set of rules, the registry's; and nothing is left behind."""
    with pytest.raises(PlanError) as caught:
        scaffold(Plan.parse("acme/summary@1", **options), processors=tmp_path)

    assert str(caught.value).startswith(reason)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_refused_and_untouched(tmp_path: Path) -> None:
    """Whatever is in it."""
    mine = tmp_path / "acme_summary" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")

    with pytest.raises(FolderExistsError, match="acme_summary exists already: --force"):
        scaffold(PLAN, processors=tmp_path)

    assert [file.name for file in mine.parent.iterdir()] == ["mine.txt"]


def test_force_writes_its_own_files_anew_and_keeps_the_others(tmp_path: Path) -> None:
    """A data file, a module of one's own and a link survive; an edited handler does not."""
    folder = scaffold(PLAN, processors=tmp_path).folder
    fresh = {path: (folder / path).read_bytes() for path in FILES}
    (folder / "app" / "handler.py").write_text("edited")
    (folder / "Dockerfile").unlink()
    (folder / "app" / "mine.py").write_text("mine")
    (folder / "samples").mkdir()
    (folder / "samples" / "link").symlink_to("nowhere")
    (folder / "app" / "__pycache__").mkdir()

    scaffold(PLAN, force=True, processors=tmp_path)

    assert {path: (folder / path).read_bytes() for path in FILES} == fresh
    assert (folder / "app" / "mine.py").read_text() == "mine"
    assert (folder / "samples" / "link").is_symlink()
    assert not (folder / "app" / "__pycache__").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["acme_summary"]


def test_force_writes_through_no_link(tmp_path: Path) -> None:
    """A linked file of the scaffold's becomes a file; what it led to stays as it was."""
    elsewhere = tmp_path / "elsewhere.yaml"
    elsewhere.write_text("untouched")
    processors = tmp_path / "processors"
    registry = scaffold(PLAN, processors=processors).folder / "registry.yaml"
    registry.unlink()
    registry.symlink_to(elsewhere)

    scaffold(PLAN, force=True, processors=processors)

    assert elsewhere.read_text() == "untouched"
    assert not registry.is_symlink()


@pytest.mark.parametrize("kind", ["file", "link", "linked app"])
def test_force_takes_over_plain_folders_only(tmp_path: Path, kind: str) -> None:
    """Anything else is not a processor of this tree, and stays."""
    target = tmp_path / "acme_summary"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if kind == "file":
        target.write_text("mine")
    elif kind == "link":
        target.symlink_to(elsewhere)
    else:
        target.mkdir()
        (target / "app").symlink_to(elsewhere)

    with pytest.raises(FolderExistsError, match="move it away"):
        scaffold(PLAN, force=True, processors=tmp_path)

    assert list(elsewhere.iterdir()) == []
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["acme_summary", "elsewhere"]


@pytest.mark.parametrize("failing", ["write_text", "rename"])
def test_a_failure_leaves_the_old_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """The disk may be full in the middle of writing, and a move may be refused."""
    folder = scaffold(PLAN, processors=tmp_path).folder
    (folder / "app" / "handler.py").write_text("edited")
    real = getattr(Path, failing)

    def fail(self: Path, *arguments: object, **options: object) -> object:
        # the last file to be written, or the move of the new folder, which comes after that of the old one
        if self.name == "utils.py" or (self.name == folder.name and self.parent != tmp_path):
            raise OSError(28, "No space left on device")
        return real(self, *arguments, **options)

    monkeypatch.setattr(Path, failing, fail)

    with pytest.raises(OSError, match="No space left"):
        scaffold(PLAN, force=True, processors=tmp_path)

    assert (folder / "app" / "handler.py").read_text() == "edited"
    assert [entry.name for entry in tmp_path.iterdir()] == ["acme_summary"]


def test_a_broken_template_blames_no_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the template's own registry file is wrong, that is said, and nothing is made."""
    monkeypatch.setattr(place, "render", lambda _: {"registry.yaml": "ref: 3\n"})

    with pytest.raises(RegistryInvalidError, match="/ref must be a ref"):
        scaffold(PLAN, processors=tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_processors_is_made_where_there_is_none(tmp_path: Path) -> None:
    """The first processor of a new tree."""
    scaffold(PLAN, processors=tmp_path / "new" / "processors")

    shutil.rmtree(tmp_path / "new" / "processors" / "acme_summary")
    assert list((tmp_path / "new" / "processors").iterdir()) == []
