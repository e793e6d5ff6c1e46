"""The files, anchors, names and settings that documents refer to exist."""

import re
from pathlib import Path

import pytest

from studyroom.services.stack.cli import _all_settings
from studyroom.shared.chassis.settings import example_of, parts
from tests.faults.earlier import CHOSEN
from tests.support.markdown import ROOT, Document
from tests.support.secrets import marked_settings
from website.decisions import FOLDER, decisions_page
from website.generated import GENERATED

LEFT_OUT = {".venv", "node_modules", ".studyroom", "dist", "site"}
DOCUMENTS = sorted(file for file in ROOT.rglob("*.md") if LEFT_OUT.isdisjoint(file.relative_to(ROOT).parts))
GENERATED_PAGES = {ROOT / "docs" / uri for uri in GENERATED}
DEPLOYED = [ROOT / "docker-compose.yml", *sorted((ROOT / "k8s").rglob("*.yaml"))]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=relative)


@each_document
def test_every_link_leads_somewhere(path: Path):
    lost = []
    for link in Document(path).links:
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if target in GENERATED_PAGES:
            continue  # the strict build of the site looks at these
        if not target.exists() or (anchor and anchor not in Document(target).anchors):
            lost.append(link)
    assert lost == []


@each_document
def test_every_file_that_is_named_is_there(path: Path):
    named = re.findall(
        r"`((?:tests|deploy|docs|monitoring|k8s|gateway|presence|services|shared|studyroom)/[\w/.-]+)`",
        path.read_text("utf-8"),
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


@each_document
def test_every_test_that_is_named_is_there(path: Path):
    named = re.findall(r"`(tests/[\w/.]+)::(\w+)`", path.read_text("utf-8"))
    assert [f"{file}::{test}" for file, test in named if f"def {test}(" not in (ROOT / file).read_text("utf-8")] == []


@pytest.mark.parametrize("path", [file for file in DOCUMENTS if file.name != "CHANGELOG.md"], ids=relative)
def test_every_setting_that_is_named_is_there(path: Path):
    known = {variable for cls in _all_settings() for variable in cls.variables().values()}  # type: ignore[attr-defined]
    known |= {name for file in DEPLOYED for name in re.findall(r"STUDYROOM_\w+", file.read_text("utf-8"))}
    known |= {"STUDYROOM_TEST_CLIENTS", CHOSEN}
    named = set(re.findall(r"STUDYROOM_[A-Z_]*[A-Z](?![A-Z_]*\*)", path.read_text("utf-8")))
    assert named - known == set()


def test_the_checklist_of_security_names_every_secret():
    security = (ROOT / "SECURITY.md").read_text("utf-8")
    _, _, checklist = security.partition("## Before people rely on it")
    assert [variable for variable in marked_settings() if f"`{variable}`" not in checklist] == []


def test_the_glossary_is_short():
    glossary = Document(ROOT / "docs" / "concepts.md").rows("Glossary")
    assert 10 < len(glossary) <= 25


def test_every_decision_has_a_status_and_a_date():
    assert len(decisions_page().splitlines()) > len(list(FOLDER.glob("*.md")))


def test_every_setting_has_an_example():
    fields = [part.model_fields[name] for part, names in parts(_all_settings()) for name in names]
    assert all(example_of(field) for field in fields)
