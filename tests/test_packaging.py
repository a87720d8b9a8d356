"""What ``pyproject.toml`` promises: tested versions for every requirement, named extras, a small core."""

import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from vlmcal.extras import EXTRAS

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OPTIONAL = PROJECT["optional-dependencies"]
CHANGES = (ROOT / "CHANGELOG.md").read_text()
RAW = "https://raw.githubusercontent.com/vlmcal/vlmcal/main/"


def names(lines):
    return {canonicalize_name(Requirement(line).name) for line in lines} - {PROJECT["name"]}


TOOLS = {"all", "dev", "docs", "release"}  # no module of ours needs what they bring
# open-clip brings a torchvision, which may replace torch by another build; trackers are mirrors of services.
NOT_TESTED = {"open-clip", "trackers"}


def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_the_tested_versions_cover_every_requirement_of_every_extra():
    tested = pins()
    for line in [
        *PROJECT["dependencies"],
        *(line for extra, lines in OPTIONAL.items() if extra not in NOT_TESTED for line in lines),
    ]:
        requirement = Requirement(line)
        if requirement.name == PROJECT["name"]:
            continue
        name = canonicalize_name(requirement.name)
        assert name in tested, f"{name} has no tested version; run `make constraints`"
        assert requirement.specifier.contains(Version(tested[name])), (line, tested[name])


def test_every_requirement_has_a_lower_bound():
    for line in [
        *PROJECT["dependencies"],
        *(line for extra in OPTIONAL.values() for line in extra),
    ]:
        requirement = Requirement(line)
        bounds = [each for each in requirement.specifier if each.operator == ">="]
        assert bounds or requirement.name == PROJECT["name"], line


def test_the_tested_versions_name_no_place_to_get_them():
    text = (ROOT / "constraints.txt").read_text()
    assert not re.search(r"://|--| @ ", text)


def test_the_licence_names_all_that_is_in_the_wheel():
    assert PROJECT["license"] == "Apache-2.0 AND LicenseRef-WordNet-3.0"
    for name in PROJECT["license-files"]:
        assert (ROOT / name).is_file()


def test_the_places_that_a_version_stands_in_agree():
    from vlmcal import __version__

    assert PROJECT["version"] == __version__
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(rf"^## \[(Unreleased|{re.escape(__version__)})\]", CHANGES, re.M)


def test_an_index_can_show_the_front_page():
    links = re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert len(links) > 10
    for link in links:
        assert link.startswith("https://"), f"{link} leads nowhere on an index"
        for base in (f"{PROJECT['urls']['Source']}/blob/main/", RAW):
            if link.startswith(base):
                assert (ROOT / link.removeprefix(base).partition("#")[0]).exists(), link


def test_the_workflows_call_targets_of_the_makefile():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    called = []
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml")):
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            matrix = job.get("strategy", {}).get("matrix", {})
            for step in job["steps"]:
                words = step.get("run", "").split()
                if words[:1] == ["make"]:
                    called += matrix["target"] if "matrix.target" in step["run"] else words[1:]
    assert {"check", "test", "oldest", "newest", "site", "release"} <= set(called)
    assert set(called) <= set(targets)


def test_the_small_image_has_no_torch_and_no_root():
    text = (ROOT / "Dockerfile").read_text()
    assert text.count("\nFROM ") == 2
    assert re.search(r"^USER (?!root)", text, re.M)
    (extras,) = re.findall(r"^ARG EXTRAS=(\S+)", text, re.M)
    assert "torch" not in {Requirement(x).name for e in extras.split(",") for x in OPTIONAL[e]}
    copied = [x.removeprefix("!") for x in (ROOT / ".dockerignore").read_text().split()]
    assert {"src", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"} <= set(copied)


def test_the_core_has_no_torch():
    assert not names(PROJECT["dependencies"]) & {
        "torch", "transformers", "tokenizers", "huggingface-hub", "accelerate",
    }  # fmt: skip


def test_the_core_needs_what_its_modules_import_and_nothing_else():
    statement = re.compile(r"^ *(?:import|from(?= [\w.]+ import)) (\w+)", re.M)
    imported = set()
    for file in (ROOT / "src").rglob("*.py"):
        imported |= set(statement.findall(file.read_text("utf-8")))
    with_an_extra = {module for modules in EXTRAS.values() for module in modules} - {"openai"}
    # markupsafe is part of what jinja2 gives back.
    others = (
        imported - with_an_extra - set(sys.stdlib_module_names) - {PROJECT["name"], "markupsafe"}
    )
    packages = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}
    assert {packages.get(name, name) for name in others} == names(PROJECT["dependencies"])


def test_every_extra_can_be_named_where_it_is_missing():
    assert set(EXTRAS) == set(OPTIONAL) - TOOLS
    everything = {extra for line in OPTIONAL["all"] for extra in Requirement(line).extras}
    assert everything == set(EXTRAS) - NOT_TESTED
    assert names(OPTIONAL["all"]) == set()


def test_the_package_data_names_every_kind_of_file_in_the_package():
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = [each.removeprefix("**/") for each in tools["package-data"]["vlmcal"]]
    listed = subprocess.run(
        ["git", "ls-files", "-z", "src/vlmcal"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    names = [Path(each).name for each in listed if each and not each.endswith(".py")]
    assert [n for n in names if not any(fnmatch(n, p) for p in patterns)] == []
    assert "review.js" in names
