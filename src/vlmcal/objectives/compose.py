"""Weighted sums of objectives: read from YAML or Python, checked before training, hashed."""

import json
import math
from collections.abc import Iterable, Mapping, MutableMapping, Set
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from vlmcal.errors import SpecError, nearest
from vlmcal.hashing import digest_file
from vlmcal.objectives.base import OBJECTIVES, GradientCombiner, Objective, SumCombiner, Term, Terms
from vlmcal.objectives.presets import PRESETS, expand
from vlmcal.objectives.providers import how_to_provide
from vlmcal.options import call, read
from vlmcal.types.outputs import Outputs

Spec = str | Objective | Mapping[str, Any] | Iterable[Any]


@dataclass(frozen=True)
class Sum:
    """A weighted sum of objectives.

    Attributes:
        objectives: Likelihood objectives first, then the others, each group by name.
    """

    objectives: tuple[Objective, ...]

    def __post_init__(self) -> None:
        ordered = sorted(
            self.objectives, key=lambda part: (not part.stands_alone, json.dumps(_spec(part)))
        )
        object.__setattr__(self, "objectives", tuple(ordered))
        kept = [objective.name for objective in ordered if objective.stateful]
        twice = sorted({name for name in kept if kept.count(name) > 1})
        if twice:
            raise SpecError(
                f'objective "{twice[0]}" keeps a state between epochs and may appear only once'
            )

    @property
    def needs(self) -> frozenset[str]:
        """Names of all ``Outputs`` fields that it reads."""
        return frozenset(name for part in self.objectives for name in part.required)

    @property
    def complete(self) -> bool:
        """Whether some part contains a likelihood term."""
        return any(part.stands_alone for part in self.objectives)

    @property
    def names(self) -> tuple[str, ...]:
        """One name per objective; a second ``dca`` is called ``dca#2``."""
        seen: dict[str, int] = {}
        names = []
        for part in self.objectives:
            name = _registry_name(part)
            seen[name] = seen.get(name, 0) + 1
            names.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
        return tuple(names)

    def terms(self, outputs: Outputs) -> Terms:
        """All terms of one step: ``dca``, or ``prompt_src.text`` where an objective has several."""
        terms: dict[str, Term] = {}
        for name, part in zip(self.names, self.objectives, strict=True):
            for key, term in part.terms(outputs).items():
                terms[name if key == part.name else f"{name}.{key}"] = term
        return terms

    def combiner(self) -> GradientCombiner:
        """The gradient rule of its parts, or the plain sum.

        Raises:
            SpecError: Two parts bring different rules.
        """
        rules = {rule for part in self.objectives if (rule := part.combiner())}
        if len(rules) > 1:
            raise SpecError(f"different gradient rules in one sum: {', '.join(map(repr, rules))}")
        return next(iter(rules), SumCombiner())

    def on_epoch_end(self, outputs: Outputs, memory: MutableMapping[str, Tensor]) -> None:
        """Let every part update the run's memory."""
        for part in self.objectives:
            part.on_epoch_end(outputs, memory)

    def check(self, provided: Set[str], n_classes: int, batch_size: int) -> None:
        """Refuse, before training, what a learner and run cannot give.

        Args:
            provided: Names of the ``Outputs`` fields that will be filled.
            n_classes: K.
            batch_size: Samples per step.

        Raises:
            SpecError: Names the objective, what is missing and what provides it.
        """
        for part in self.objectives:
            for name in part.required:
                if name not in provided:
                    raise SpecError(
                        f'objective "{part.name}" needs "{name}", which this learner and run do not '
                        f"provide; {how_to_provide(name)}"
                    )
            _require_at_least(part, "classes", part.minimum_classes, n_classes)
            _require_at_least(part, "samples in a batch", part.minimum_batch, batch_size)
        self.combiner()

    def to_spec(self) -> list[dict[str, Any]]:
        """Canonical JSON data without defaults; :func:`parse_objective` reads it back."""
        return [_spec(part) for part in self.objectives]

    def content(self) -> list[dict[str, Any]]:
        """As :meth:`to_spec`, with the SHA-256 of a named file's bytes in place of its path.

        Raises:
            SpecError: A file cannot be read.
        """
        return [{**_spec(part), **_file_contents(part)} for part in self.objectives]


def parse_objective(spec: Spec, *, allow_incomplete: bool = False) -> Sum:
    """Read an objective from YAML or Python data.

    Args:
        spec: A name (``"ce"``), a mapping (``{"name": "dca", "weight": 1}``), an objective, or a list of
            these. Presets (``tcpt``) expand into their objectives.
        allow_incomplete: Accept regularisers without a likelihood term.

    Raises:
        SpecError: An unknown name or parameter (with the nearest valid one), a value of a wrong type or
            out of range, or no likelihood term.

    Example:
        >>> parse_objective(["ce", {"name": "tcpt"}]).names
        ('ce', 'margin_mean_var', 'text_moments')
        >>> parse_objective(["ce", {"name": "dca", "weight": 2}]).to_spec()
        [{'name': 'ce'}, {'name': 'dca', 'weight': 2.0}]
    """
    found = Sum(tuple(_collect(spec)))
    if not found.objectives:
        raise SpecError('an objective must name at least one loss, for example "ce"')
    if not found.complete and not allow_incomplete:
        raise SpecError(
            f"the objective {' + '.join(found.names)} has no likelihood term, so nothing would make "
            'predictions right; add "ce" (or label_smoothing, focal, ...)'
        )
    return found


def _collect(spec: Any) -> Iterable[Objective]:
    if isinstance(spec, Objective):
        yield spec
    elif isinstance(spec, Sum):
        yield from spec.objectives
    elif isinstance(spec, str | Mapping):
        yield from _named(*read(spec, OBJECTIVES.kind))
    elif isinstance(spec, (list, tuple)):
        for item in spec:
            yield from _collect(item)
    else:
        raise SpecError(
            f"an objective is a name, a mapping with a name, or a list of these; got {spec!r}"
        )


def _named(name: str, parameters: Mapping[str, Any]) -> Iterable[Objective]:
    if name in PRESETS:
        for item in expand(name, parameters):
            yield from _collect(item)
        return
    if ":" not in name and name not in OBJECTIVES:
        valid = [*OBJECTIVES.names(), *PRESETS]
        raise SpecError(f'unknown objective "{name}"; {nearest(name, valid)}')
    kind = OBJECTIVES.get(name)
    yield call(kind, f'objective "{name}"', parameters)


def _registry_name(part: Objective) -> str:
    kind = type(part)
    registered = part.name in OBJECTIVES and OBJECTIVES.get(part.name) is kind
    return part.name if registered else f"{kind.__module__}:{kind.__qualname__}"


def _spec(part: Objective) -> dict[str, Any]:
    changed: dict[str, Any] = {"name": _registry_name(part)}
    for field in fields(part):
        value = getattr(part, field.name)
        if field.default is MISSING or value != field.default:
            changed[field.name] = _plain(value)
    return changed


def _file_contents(part: Objective) -> dict[str, str]:
    defaults = {field.name: field.default for field in fields(part)}
    paths = {
        name: getattr(part, name) for name in part.files if getattr(part, name) != defaults[name]
    }
    try:
        return {name: digest_file(Path(path).expanduser()) for name, path in paths.items()}
    except OSError as error:
        raise SpecError(
            f'objective "{part.name}": the file {error.filename} cannot be read ({error.strerror})'
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value


def _require_at_least(part: Objective, what: str, minimum: int, got: int) -> None:
    if got < minimum:
        raise SpecError(
            f'objective "{part.name}" needs at least {minimum} {what}, this run has {got}'
        )
