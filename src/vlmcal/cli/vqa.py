"""``vlmcal vqa``: confidence of multimodal LLMs on visual questions."""

import typer

from vlmcal.cli import vqa_calibrate, vqa_compare, vqa_elicit, vqa_evaluate, vqa_import, vqa_judge

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.command("elicit")(vqa_elicit.elicit)
app.command("import")(vqa_import.import_table)
app.command("judge")(vqa_judge.judge)
app.command("evaluate")(vqa_evaluate.evaluate)
app.command("calibrate")(vqa_calibrate.calibrate)
app.command("compare")(vqa_compare.compare)
