"""Draw the house: the packages in their layers, and who imports whom, from the imports themselves."""

import ast
from html import escape
from pathlib import Path

# As tests/test_house.py has them; lower layers first. A package that stands in none is drawn at the top.
LAYERS = (
    ("types", "io"),
    ("data", "backbones", "text_encoding"),
    ("learners", "objectives", "calibrators", "conformal", "metrics", "elicit"),
    ("training", "test_time", "posthoc", "causal", "clustering", "findings"),
    ("experiment", "report", "export", "review"),
    ("api", "cli"),
)
SAYS = (
    "values and files",
    "what goes in",
    "methods, on arrays",
    "procedures",
    "results",
    "front doors",
)
WIDE, HIGH, GAP, LEFT = 118, 40, 16, 130


def imports(package: Path) -> dict[str, set[str]]:
    """Package -> packages that its modules import when they run."""
    found: dict[str, set[str]] = {}
    for path in sorted(package.rglob("*.py")):
        here = path.relative_to(package).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            elif isinstance(node, ast.Import):
                names = [each.name for each in node.names]
            for name in names:
                if name.startswith("vlmcal."):
                    found.setdefault(here, set()).add(name.split(".")[1])
    return found


def drawing(package: Path) -> str:
    """The picture as SVG."""
    known = imports(package)
    there = [
        [n for n in layer if (package / n).is_dir() or (package / f"{n}.py").exists()]
        for layer in LAYERS
    ]
    width = LEFT + max(len(layer) for layer in there) * (WIDE + GAP)
    step = HIGH + 62
    height = len(there) * step
    place = {}
    boxes, lines, texts = [], [], []
    for level, layer in enumerate(there):
        y = height - (level + 1) * step + 20
        texts.append(f'<text x="4" y="{y + 25}" class="layer">{escape(SAYS[level])}</text>')
        free = width - LEFT - len(layer) * (WIDE + GAP)
        for i, name in enumerate(layer):
            x = LEFT + free / 2 + i * (WIDE + GAP)
            place[name] = (x + WIDE / 2, y)
            count = len(list((package / name).rglob("*.py"))) or 1
            boxes.append(
                f'<rect x="{x:g}" y="{y}" width="{WIDE}" height="{HIGH}" rx="5"/>'
                f'<text x="{x + WIDE / 2:g}" y="{y + 18}" class="name">{name}</text>'
                f'<text x="{x + WIDE / 2:g}" y="{y + 33}" class="small">{count} modules</text>'
            )
    for name, others in sorted(known.items()):
        for other in sorted(others):
            if name in place and other in place and name != other:
                (x1, y1), (x2, y2) = place[name], place[other]
                if y1 == y2:
                    continue
                bend = (y2 - y1 - HIGH) / 2
                ends = f"{x1:g} {y1 + HIGH + bend:g} {x2:g} {y2 - bend:g} {x2:g} {y2}"
                told = f"<title>{name} imports {other}</title>"
                lines.append(f'<path d="M{x1:g} {y1 + HIGH} C{ends}">{told}</path>')
    style = (
        "rect{fill:#fff;stroke:#0072b2;stroke-width:1.3}path{fill:none;stroke:#596270;stroke-width:.8;opacity:.45}"
        "text{font-family:sans-serif;fill:#1b1f24}.name{font-size:14px;text-anchor:middle}"
        ".small{font-size:10px;text-anchor:middle;fill:#596270}.layer{font-size:13px;fill:#596270}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}" role="img">'
        f"<title>Packages of vlmcal in their layers</title><style>{style}</style>"
        f'<rect x="0" y="0" width="{width:g}" height="{height}" style="fill:#fff;stroke:none"/>'
        f"{''.join(lines)}{''.join(boxes)}{''.join(texts)}</svg>\n"
    )
