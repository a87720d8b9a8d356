"""What can be known to be wrong with an experiment before data are read or a backbone is loaded."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vlmcal.backbones.loading import check_name
from vlmcal.data.assemble import as_templates
from vlmcal.data.base import DATASETS, as_spec, loader_of, loader_of_path
from vlmcal.errors import SpecError, VlmcalError
from vlmcal.experiment.protocol import check_protocol, split_settings
from vlmcal.experiment.spec import ExperimentSpec
from vlmcal.options import check
from vlmcal.types.dataset import require_templates


def check_names(spec: ExperimentSpec) -> None:
    """Refuse data sets, their options, protocols and backbones that cannot exist.

    A path that is not there is left to the machine on which the experiment runs.

    Raises:
        SpecError: Every problem in a line of its own, with the nearest name.

    Example:
        >>> check_names(ExperimentSpec(data="digits", method="coop", backbone="pockett"))
        Traceback (most recent call last):
        ...
        vlmcal.errors.SpecError: backbone: unknown backbone "pockett"; did you mean "pocket"? ...
    """
    problems = dict.fromkeys(text for part in spec.parts for text in _problems(part))
    if problems:
        raise SpecError("\n".join(problems))


def _problems(spec: ExperimentSpec) -> Iterator[str]:
    for data in spec.data:
        try:
            _check_data(as_spec(data))
        except VlmcalError as error:
            yield f"data: {error}"
    for name in spec.backbone:
        try:
            check_name(name)
        except VlmcalError as error:
            yield f"backbone: {error}"


def _check_data(data: Mapping[str, Any]) -> None:
    loader, protocol = split_settings(data)
    check_protocol(protocol)
    inner = [*(protocol.get("targets") or ()), *([loader["of"]] if "of" in loader else ())]
    for each in inner:
        _check_data(as_spec(each))
    if "name" in loader:
        name, options = str(loader["name"]), {k: v for k, v in loader.items() if k != "name"}
    else:
        path = Path(str(loader.get("path", ""))).expanduser()
        if not path.exists() and len(path.parts) > 1:
            return
        name = loader_of_path(path) if path.exists() else str(path)
        options = {k: v for k, v in loader.items() if k != "path"}
    known = check(loader_of(name), options, f'{DATASETS.kind} "{name}"')
    require_templates(as_templates(known.get("templates")))
