"""The layout: the folders and the names of files and packages."""

import importlib
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

import studyroom
from studyroom.shared.chassis.spec import ServiceSpec
from tests.project.packages import Package, list_packages

ROOT = Path(__file__).parents[2]
PACKAGES = ["shared", "services", "gateway", "presence"]
CLIENT = "studyroom/client"
SOURCES = [file for package in [*PACKAGES, CLIENT] for file in sorted((ROOT / package).rglob("*.py"))]
FILES_MAX = 12
"""A package of the gateway has at most so many, as a reader can keep in mind."""


@pytest.mark.parametrize("place", [*PACKAGES, "tests", "docker-compose.yml", "k8s", "charts", "monitoring", "docs"])
def test_the_top_level_has_the_listed_entries(place: str):
    assert (ROOT / place).exists()


@pytest.mark.parametrize("tier", ["unit", "integration", "e2e", "faults", "hostile", "containers", "kube", "project"])
def test_every_tier_of_tests_is_there(tier: str):
    assert list((ROOT / "tests" / tier).glob("test_*.py"))


@pytest.mark.parametrize("name", ["utils", "util", "helpers", "helper", "manager", "base", "common", "models", "misc"])
def test_no_module_has_a_meaningless_name(name: str):
    assert [file for file in SOURCES if name in {file.stem, file.parent.name}] == []


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_can_be_read_in_one_sitting(file: Path):
    assert len(file.read_text("utf-8").splitlines()) < 400


@pytest.mark.parametrize("package", list_packages(), ids=lambda package: package.name)
def test_a_package_states_its_purpose_in_a_sentence(package: Package):
    assert package.sentence.endswith(".")


@pytest.mark.parametrize("package", list_packages("studyroom.gateway"), ids=lambda package: package.name)
def test_a_package_of_the_gateway_has_few_files(package: Package):
    assert package.files <= FILES_MAX


@pytest.mark.parametrize("package", PACKAGES)
def test_a_source_folder_is_a_subpackage_of_the_installed_package(package: str):
    assert importlib.import_module(f"studyroom.{package}").__file__ == str(ROOT / "studyroom" / package / "__init__.py")


def test_the_client_is_a_subpackage_of_the_installed_package():
    assert importlib.import_module("studyroom.client").__file__ == str(ROOT / CLIENT / "__init__.py")


def test_the_installed_package_knows_its_version():
    assert studyroom.__version__ == version("studyroom")


@pytest.mark.parametrize("service", ["gateway", "presence", "documents", "hooks", "provisioner"])
def test_a_service_is_found_by_its_entry_point(service: str):
    (entry,) = entry_points(group="studyroom.services", name=service)
    spec = entry.load()
    assert isinstance(spec, ServiceSpec)
    assert spec.name == service
    assert spec.load().__module__ == spec.service.partition(":")[0]


def test_the_page_in_the_readme_is_the_tested_page():
    page = ROOT / "web" / "client" / "examples" / "page.tsx"
    assert page.read_text("utf-8") in (ROOT / "README.md").read_text("utf-8")
