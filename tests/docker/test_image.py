"""The container image, as far as it can be tested without a container engine."""

import json
import re
import sys
import tomllib
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path, PurePath

import pytest
import yaml
from packaging.requirements import Requirement

from service.settings import Settings
from tests.support.live import live, settings_for
from tests.support.paths import ROOT


def instructions() -> list[tuple[str, str]]:
    """Return the (instruction, arguments) of the Dockerfile, without comments and with continued lines joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines() if line.strip()]


def last(name: str) -> str:
    return [arguments for instruction, arguments in instructions() if instruction == name][-1]


def ignored(path: str) -> bool:
    """Tell whether .dockerignore excludes a path: the last rule that matches it or a folder above it decides."""
    out = False
    for rule in (ROOT / ".dockerignore").read_text().split("\n"):
        pattern = rule.removeprefix("!")
        parts = Path(path).parts
        above = ["/".join(parts[: end + 1]) for end in range(len(parts))]
        if rule and not rule.startswith("#") and any(fnmatch(each, pattern) for each in above):
            out = not rule.startswith("!")
    return out


def test_what_is_copied_exists_and_is_in_the_context() -> None:
    for name, arguments in instructions():
        if name == "COPY" and not arguments.startswith("--from"):
            for source in arguments.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert not ignored(source), source
    assert ignored("tests/support/live.py")
    assert ignored(".git")
    assert ignored("models/__pycache__/n3net.cpython-311.pyc")
    assert not ignored("models/weights/n3net.safetensors")


def test_the_process_gets_the_signals_and_has_no_rights() -> None:
    stages = [index for index, (name, _) in enumerate(instructions()) if name == "FROM"]
    assert json.loads(last("ENTRYPOINT")) == ["n3denoise"]
    assert json.loads(last("CMD")) == ["serve"]
    assert last("STOPSIGNAL") == "SIGTERM"
    assert not last("USER").startswith(("root", "0"))
    assert [name for name, _ in instructions()].index("USER") > stages[-1]
    assert json.loads(last("HEALTHCHECK").split("CMD", 1)[1]) == ["n3denoise", "health"]


def test_another_build_of_torch_can_be_asked_for() -> None:
    assert ("ARG", 'TORCH_INDEX_URL=""') in instructions()
    (install,) = [arguments for name, arguments in instructions() if name == "RUN" and "TORCH_INDEX_URL" in arguments]
    assert '${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"}' in install


def test_the_base_image_has_a_tag_and_can_be_pinned_by_digest() -> None:
    assert instructions()[0] == ("ARG", "BASE_IMAGE=python:3.11-slim-bookworm")
    stages = [arguments for name, arguments in instructions() if name == "FROM"]
    assert stages == ["${BASE_IMAGE} AS packages", "packages AS build", "${BASE_IMAGE}"]


def pinned(path: Path) -> dict[str, str]:
    """Return the versions that a lock file pins, by normalized name."""
    lines = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", path.read_text(), re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in lines}


def needed(name: str, found: set[str]) -> set[str]:
    """Return the normalized names of a package and of all that it needs without extras, as installed here."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key not in found:
        found.add(key)
        for text in metadata.requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                needed(requirement.name, found)
    return found


def test_the_container_verifies_the_hash_of_every_package_except_pytorch() -> None:
    hashed = ROOT / "docker" / "requirements.lock"
    everyday = pinned(ROOT / "requirements.lock")
    versions = pinned(hashed)
    assert versions == {name: everyday[name] for name in versions}, "run `make lock`"
    assert "torch" not in versions
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names: set[str] = set()
    for text in project["dependencies"]:
        needed(Requirement(text).name, names)
    assert {name for name in names if not name.startswith(("torch", "triton", "nvidia-", "cuda-"))} <= versions.keys(), (
        "run `make lock`"
    )
    entries = re.split(r"^(?=[a-z])", hashed.read_text(), flags=re.MULTILINE)[1:]
    assert len(entries) == len(versions)
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry) for entry in entries)
    assert "://" not in hashed.read_text()


def test_the_build_downloads_nothing_without_a_hash_but_pytorch() -> None:
    commands = [command for name, line in instructions() if name == "RUN" for command in line.split("&&")]
    installs = [command for command in commands if re.search(r"\bpip (install|wheel|check)\b", command)]
    verified, torch, wheel, package, check = (command.strip() for command in installs)
    assert verified == "pip install --require-hashes -r hashed.lock"
    assert "grep '^torch==' requirements.lock" in torch
    assert "--no-index" in wheel
    assert "--no-build-isolation" in wheel
    assert "--no-index" in package
    assert "--no-cache-dir" in package
    assert check == "pip check"


def test_the_build_tool_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for path in (ROOT / "requirements.lock", ROOT / "docker" / "requirements.lock"):
        assert project["build-system"]["requires"] == [f"setuptools=={pinned(path)['setuptools']}"]


def test_arenas_are_bounded_and_settings_in_the_image_exist() -> None:
    environment = dict(pair.split("=", 1) for pair in last("ENV").split())
    assert environment["MALLOC_ARENA_MAX"] == "2"
    for name in environment:
        if name.startswith("N3DENOISE_"):
            assert name.removeprefix("N3DENOISE_").lower() in Settings.model_fields


def test_the_bill_of_materials_lists_the_locked_versions() -> None:
    document = json.loads((ROOT / "docker" / "sbom.cdx.json").read_text())
    assert document["bomFormat"] == "CycloneDX"
    listed = {each["purl"].split("?")[0] for each in document["components"]}
    locked = pinned(ROOT / "docker" / "requirements.lock") | {"torch": pinned(ROOT / "requirements.lock")["torch"]}
    assert listed == {f"pkg:pypi/{name}@{version}" for name, version in locked.items()}, "run `make sbom`"


def test_triton_finds_on_a_gpu_what_it_needs_to_compile() -> None:
    (compiler,) = [arguments for name, arguments in instructions() if name == "RUN" and "apt-get install" in arguments]
    assert "torch.version.cuda is None" in compiler
    assert "gcc libc6-dev" in compiler
    home = dict(pair.split("=", 1) for pair in last("ENV").split())["HOME"]
    assert home == last("WORKDIR") == "/tmp"
    compose = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]["n3denoise"]
    assert compose["tmpfs"] == [f"{home}:exec"]


CPU_IMAGE_BYTES = 1.2e9
BASE_BYTES = 130e6
"""Size of python:3.11-slim-bookworm."""


def removed(file: PurePath) -> bool:
    """Tell whether the Dockerfile removes a file of an installed package."""
    top, sub = (*file.parts, "", "")[:2]
    in_torch = top == "torch" and sub in ("include", "test", "bin") and file.name != "torch_shm_manager"
    samples = (top, sub) == ("skimage", "data") and not file.suffix.startswith(".py")
    stubs = top in ("torch", "numpy") and file.suffix == ".pyi"
    return "tests" in file.parts[:-1] or in_torch or samples or stubs or file.suffix == ".pyx"


def installed_bytes(name: str) -> int:
    """Return the size of the files of a package, compiled ones included, that stay in the image."""
    distribution = metadata.distribution(name)
    files = [distribution.locate_file(file) for file in distribution.files or () if not removed(file)]
    return sum(Path(str(file)).stat().st_size for file in files if Path(str(file)).exists())


def test_the_image_for_cpus_stays_within_its_budget() -> None:
    if "+cpu" not in metadata.version("torch"):
        pytest.skip("this build of PyTorch is not the one for CPUs")
    packages = sum(installed_bytes(name) for name in [*pinned(ROOT / "docker" / "requirements.lock"), "torch"])
    code = sum(path.stat().st_size for folder in ("models", "service") for path in (ROOT / folder).rglob("*") if path.is_file())
    assert BASE_BYTES + packages + code < CPU_IMAGE_BYTES


def test_what_the_image_leaves_out_is_not_imported(weights: Path) -> None:
    with live(settings_for(weights)) as service:
        assert service.denoise(sigma="auto").status_code == 200
    left_out = {name for name in sys.modules if "tests" in name.split(".")[1:] or name.startswith("torch.test.")}
    assert not left_out
