"""Write docs/objectives/: one page per family of training objectives, from their docstrings.

python scripts/write_objective_docs.py            # write the pages
python scripts/write_objective_docs.py --check    # fail if a page is not current
"""

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from inspect import cleandoc
from pathlib import Path
from typing import Any

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.presets import PRESETS
from vlmcal.options import describe_type, parameters

TARGET = Path(__file__).parent.parent / "docs" / "objectives"
FAMILIES = {
    "likelihood": (
        "Likelihood",
        "Losses with a likelihood term: each can be trained on alone.",
        "ce label_smoothing focal flsd dual_focal ada_focal logit_norm brier entropy_penalty l1_penalty",
    ),
    "margins": (
        "Margins and logits",
        "Penalties on scaled logits, their margins and their range.",
        "mbls acls margin_mean_var margin_band zs_norm zs_penalty crl",
    ),
    "calibration_errors": (
        "Calibration errors",
        "Estimates of a calibration error that are differentiable, on the batch at hand.",
        "mmce dca mdca smac soft_ece kde_ece avuc soft_avuc kernel_mmd clue",
    ),
    "text_space": (
        "Text space",
        "Terms on the text features that a learned prompt gives to class names and to other words.",
        "text_moments angular_separation dor kgcoop text_orthogonality text_dispersion text_angles "
        "prompt_diversity",
    ),
    "teachers": (
        "Teachers",
        "Terms that hold the tuned model to a frozen or slow one.",
        "prograd prompt_src co_prompt clip_contrastive carot_orthogonality carot_distillation carot_cross",
    ),
    "test_time": ("Test time", "Losses without labels, on views of one image.", "tpt_entropy"),
    "others": (
        "Other terms",
        "Terms that belong to one method, and all that no other page lists.",
        "clap",
    ),
}
_HEADINGS = ("Attributes:", "Example:")
_LITERAL = re.compile(r"``(.+?)``")
_ROLE = re.compile(r":[a-z]+:`~?([^`]+)`")


def pages() -> dict[str, str]:
    """File name -> content of every page."""
    found = {f"{key}.md": _page(*family) for key, family in families().items()}
    return {"README.md": _index(), **found, "presets.md": _presets()}


def families() -> dict[str, tuple[str, str, list[str]]]:
    """Title, summary and names of every page; an objective that none lists is added to the last."""
    found = {key: (title, text, names.split()) for key, (title, text, names) in FAMILIES.items()}
    listed = [name for _, _, names in found.values() for name in names]
    if len(listed) != len(set(listed)) or not set(listed) <= set(OBJECTIVES.names()):
        sys.exit(
            f"FAMILIES in {Path(__file__).name} lists a name twice or one that is not registered"
        )
    found["others"][2].extend(name for name in OBJECTIVES.names() if name not in listed)
    return found


def _index() -> str:
    lines = [
        "# Training objectives",
        "",
        "An objective is a name, a name with settings, or a list of these, which is a weighted sum:",
        "",
        "```yaml",
        "objective: [[ce, {name: dca, weight: 1}, {name: text_moments, weight: 5}]]",
        "```",
        "",
    ]
    for key, (title, summary, names) in families().items():
        lines += [
            f"## [{title}]({key}.md)",
            "",
            summary,
            "",
            "| name | what it computes |",
            "|---|---|",
        ]
        rows = ((name, _summary(OBJECTIVES.get(name))) for name in names)
        lines += [f"| [`{name}`]({key}.md#{name}) | {_cell(text)} |" for name, text in rows]
        lines.append("")
    lines += [f"Published combinations by name: [presets](presets.md) ({', '.join(PRESETS)}).", ""]
    return "\n".join(lines)


def _page(title: str, summary: str, names: list[str]) -> str:
    lines = [f"# {title}", "", summary, "", *_origin()]
    for name in names:
        lines += _section(name, OBJECTIVES.get(name))
    return "\n".join(lines)


def _section(name: str, kind: type[Objective]) -> list[str]:
    parts = _parts(cleandoc(kind.__doc__ or ""))
    default = kind()
    alone = (
        "stands alone" if default.stands_alone else "a regulariser: add a likelihood such as `ce`"
    )
    reads = ", ".join(f"`{field}`" for field in default.required)
    lines = [f"## {name}", "", *_body(parts["body"]), f"- In a sum: {alone}.", f"- Reads: {reads}."]
    lowest = {"classes": kind.minimum_classes, "samples in a batch": kind.minimum_batch}
    least = " and ".join(f"{count} {what}" for what, count in lowest.items() if count > 1)
    if least:
        lines.append(f"- Needs at least {least}.")
    lines += ["", "| setting | is | default | meaning |", "|---|---|---|---|"]
    meanings = {"weight": "Factor in a sum.", **_meanings(parts["Attributes:"])}
    hints = parameters(kind)
    for field in fields(kind):
        row = (describe_type(hints[field.name]), f"`{_plain(field.default)}`", meanings[field.name])
        lines.append(f"| `{field.name}` | " + " | ".join(_cell(text) for text in row) + " |")
    lines += ["", "```python", *parts["Example:"], "```", "", f"Source: {_text(kind.source)}", ""]
    return lines


def _presets() -> str:
    lines = ["# Presets", "", "Published combinations, by one name in place of the list.", ""]
    lines += _origin()
    for name, preset in PRESETS.items():
        lines += [f"## {name}", "", _text(preset.summary), "", "```yaml"]
        lines += [_yaml(item) for item in preset.items]
        lines += ["```", ""]
        if preset.settings:
            given = (
                f"`{key}` ({'must be given or looked up' if value is None else value})"
                for key, value in preset.settings.items()
            )
            lines += [f"Settings (`$name` above) with defaults: {', '.join(given)}.", ""]
        if preset.table:
            keys = [*preset.choices, *preset.settings]
            lines += ["| " + " | ".join(keys) + " |", "|" + "---|" * len(keys)]
            for choice, values in preset.table.items():
                row = [*choice, *(f"{values[key]:g}" for key in preset.settings)]
                lines.append("| " + " | ".join(row) + " |")
            lines.append("")
        lines += [f"Source: {_text(preset.source)}.", ""]
    return "\n".join(lines)


def _origin() -> list[str]:
    return [
        "Notation: B samples, K classes, D features; logits z are scaled cosines. Written by "
        "`scripts/write_objective_docs.py` from the docstrings: edit those.",
        "",
    ]


def _summary(kind: type[Objective]) -> str:
    return cleandoc(kind.__doc__ or "").split("\n")[0]


def _parts(doc: str) -> dict[str, list[str]]:
    """Lines of the docstring's text and of its sections, without their indent."""
    parts: dict[str, list[str]] = {"body": [], **{heading: [] for heading in _HEADINGS}}
    current = "body"
    for line in doc.split("\n"):
        if line in _HEADINGS:
            current = line
        else:
            parts[current].append(line if current == "body" else line.removeprefix("    "))
    for lines in parts.values():
        while lines and not lines[-1].strip():
            lines.pop()
    return parts


def _body(lines: list[str]) -> Iterator[str]:
    """Markdown of the text: formulas become fenced math."""
    inside = False
    for line in lines:
        if line.startswith(".. math::"):
            inside = True
            yield "```math"
            if rest := line.removeprefix(".. math::").strip():
                yield rest
            continue
        if inside and not line.startswith(" "):
            inside = False
            yield "```"
        yield line.strip() if inside else _text(line)
    if inside:
        yield "```"
    yield ""


def _meanings(lines: list[str]) -> dict[str, str]:
    """Description of every field; "a, b: ..." describes both."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in lines:
        if not line.startswith(" "):
            head, _, line = line.partition(":")
            names = head.split(", ")
        for name in names:
            found[name] = f"{found.get(name, '')} {line.strip()}".strip()
    return found


def _text(text: str) -> str:
    """One line of prose as Markdown: literals as code, and nothing that would be read as markup."""
    text = _LITERAL.sub(r"`\1`", _ROLE.sub(lambda m: f"`{m[1].rpartition('.')[2]}`", text))
    pieces = text.split("`")
    for index in range(0, len(pieces), 2):
        pieces[index] = pieces[index].replace("<", "&lt;").replace("*", r"\*")
    return "`".join(pieces)


def _cell(text: str) -> str:
    return _text(text).replace("|", r"\|")


def _plain(value: Any) -> str:
    words = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _yaml(item: Any) -> str:
    inside = ", ".join(f"{key}: {_plain(value)}" for key, value in item.items())
    return f"- {{{inside}}}"


def main() -> None:
    """Write or check the pages."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    check = parser.parse_args().check
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, content in pages().items():
        path = TARGET / name
        if check and (not path.exists() or path.read_text(encoding="utf-8") != content):
            sys.exit(f"{path} is not current; run python scripts/write_objective_docs.py")
        if not check:
            path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
