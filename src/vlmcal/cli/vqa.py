"""``vlmcal vqa``: confidence of multimodal LLMs on visual questions."""

import typer

from vlmcal.cli import vqa_calibrate, vqa_compare, vqa_elicit, vqa_evaluate, vqa_import, vqa_judge
from vlmcal.cli.verb import verb

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
verb(app, "elicit")(vqa_elicit.elicit)
verb(app, "import")(vqa_import.import_table)
verb(app, "judge")(vqa_judge.judge)
verb(app, "evaluate")(vqa_evaluate.evaluate)
verb(app, "calibrate")(vqa_calibrate.calibrate)
verb(app, "compare")(vqa_compare.compare)
