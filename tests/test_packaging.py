"""What ``pyproject.toml`` promises: tested versions for every requirement, named extras, a small core."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from vlmcal.extras import EXTRAS

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OPTIONAL = PROJECT["optional-dependencies"]


def names(lines):
    return {canonicalize_name(Requirement(line).name) for line in lines} - {PROJECT["name"]}


NOT_TESTED = {"open-clip"}  # brings a torchvision, which may replace torch by another build


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


def test_the_core_has_no_torch():
    assert not names(PROJECT["dependencies"]) & {
        "torch", "transformers", "tokenizers", "huggingface-hub", "accelerate",
    }  # fmt: skip


def test_every_extra_can_be_named_where_it_is_missing():
    assert set(EXTRAS) == set(OPTIONAL) - {"all", "dev"}
    everything = {extra for line in OPTIONAL["all"] for extra in Requirement(line).extras}
    assert everything == set(EXTRAS) - NOT_TESTED
    assert names(OPTIONAL["all"]) == set()
