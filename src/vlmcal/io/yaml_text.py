"""YAML as people write it: plain data only, and 1e-3 is a number."""

import re
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as the number that is meant; YAML 1.1 without a point takes it for text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789")
)


def read_yaml(text: str) -> Any:
    """The data of a YAML document; nothing in it is ever executed.

    Raises:
        yaml.YAMLError: It is not YAML.

    Example:
        >>> read_yaml("lr: 2e-3")
        {'lr': 0.002}
    """
    return yaml.load(text, _Loader)
