"""YAML as people write it: plain data only, each key once, and 1e-3 is a number."""

import re
from collections.abc import Hashable
from typing import Any

import yaml

LONGEST = 100_000
"""Values that a document may hold once its aliases are written out."""


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as the number that is meant; YAML 1.1 without a point takes it for text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """As the base class, which would let the last of two equal keys win in silence."""
        seen: dict[tuple[str, str], yaml.Node] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                name = (key.tag, key.value)
                if name in seen:
                    first = seen[name].start_mark.line + 1
                    raise yaml.constructor.ConstructorError(
                        None,
                        None,
                        f'"{key.value}" is given twice (first in line {first})',
                        key.start_mark,
                    )
                seen[name] = key
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789")
)


def read_yaml(text: str) -> Any:
    """The data of a YAML document; nothing in it is ever executed.

    Raises:
        yaml.YAMLError: It is not YAML, gives a key twice, refers to itself, is nested without end, or grows
            beyond :data:`LONGEST` values where its aliases are written out.

    Example:
        >>> read_yaml("lr: 2e-3")
        {'lr': 0.002}
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _size(node, {})
        return loader.construct_document(node)
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error
    except ValueError as error:  # a date or a number that cannot be one
        raise yaml.YAMLError(str(error).partition(";")[0]) from error
    finally:
        loader.dispose()


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Values below a node, aliases written out."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if known.get(id(node)) == 0:
        line = node.start_mark.line + 1
        raise yaml.YAMLError(f"what begins in line {line} holds itself")
    if id(node) not in known:
        known[id(node)] = 0
        below = [
            part
            for item in node.value
            for part in (item if isinstance(node, yaml.MappingNode) else (item,))
        ]
        known[id(node)] = 1 + sum(_size(part, known) for part in below)
    if known[id(node)] > LONGEST:
        raise yaml.YAMLError(f"with its aliases written out it has more than {LONGEST:,} values")
    return known[id(node)]
