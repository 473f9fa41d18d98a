"""Set-up takes every package from a lock: by hash, from whatever index the machine is set up with, nothing else."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FULL, RUNTIME = "requirements.lock", "requirements-runtime.lock"
LOCKS = pytest.mark.parametrize("lock", [FULL, RUNTIME])


@dataclass(frozen=True)
class Pin:
    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def version(self) -> str:
        (specifier,) = self.requirement.specifier
        return specifier.version if specifier.operator == "==" else ""


def pins(lock: str) -> dict[str, Pin]:
    text = re.sub(r"^\s*#.*\n", "", (ROOT / lock).read_text(), flags=re.MULTILINE)
    found: dict[str, Pin] = {}
    for line in text.replace("\\\n", " ").splitlines():
        requirement, *hashes = line.split("--hash=")
        parsed = Requirement(requirement.strip())
        found[canonicalize_name(parsed.name)] = Pin(parsed, tuple(h.strip() for h in hashes))
    return found


def declared(*extras: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for extra in extras for line in optional[extra])]
    return [Requirement(line) for line in lines]


@LOCKS
def test_every_package_is_pinned_and_hashed(lock: str) -> None:
    found = pins(lock)
    assert found
    unpinned = [name for name, pin in found.items() if not pin.version]
    unhashed = [
        name
        for name, pin in found.items()
        if not pin.hashes or not all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in pin.hashes)
    ]
    assert not unpinned
    assert not unhashed


@LOCKS
def test_no_address_stands_in_it(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*(-i|-f|--(extra-)?index-url|--find-links)\b", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("lock", "extras"), [(FULL, ("api", "postgres", "lab", "test")), (RUNTIME, ("api", "postgres"))]
)
def test_it_satisfies_what_the_project_declares(lock: str, extras: tuple[str, ...]) -> None:
    found = pins(lock)
    for wanted in declared(*extras):
        pin = found.get(canonicalize_name(wanted.name))
        assert pin is not None, f"{wanted.name} is not in {lock}: run make lock"
        assert pin.version in wanted.specifier, f"{wanted} is not met by {pin.version}: run make lock"


def test_the_worker_runs_on_what_was_tested() -> None:
    tested = pins(FULL)
    for name, pin in pins(RUNTIME).items():
        assert pin.version == tested[name].version
        assert pin.hashes == tested[name].hashes


def test_neither_the_lab_nor_the_tests_are_in_the_image() -> None:
    runtime = pins(RUNTIME)
    direct = {canonicalize_name(wanted.name) for wanted in declared()}
    extra = {canonicalize_name(wanted.name) for wanted in declared("lab", "test")} - direct
    assert not (extra - {"pyyaml"}) & set(runtime)  # the Kubernetes client reads kubeconfigs with PyYAML
