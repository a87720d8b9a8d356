"""The gallery: small programs and commands, each with its picture, run when the site is built."""

ENTRIES = (
    (
        "Is the confidence right?",
        "Bars and points below the diagonal are too sure; the grey band is what chance alone would fill.",
        "console",
        "$ vlmcal plot reliability test.csv --probs --labels diagnosis --title 'As it came' -o before.svg",
    ),
    (
        "Repaired by one number",
        "The temperature is fitted on other rows.",
        "console",
        "$ vlmcal calibrate fit validation.csv --probs -m temperature -o calibrator.json\n"
        "$ vlmcal calibrate apply calibrator.json test.csv --probs -o calibrated.csv\n"
        "$ vlmcal plot reliability calibrated.csv --probs --title 'After temperature scaling' -o after.svg",
    ),
    (
        "Before and after in one picture",
        "",
        "python",
        "import vlmcal\n\n"
        'before = vlmcal.load_predictions("test.csv", scores="probs", labels="diagnosis")\n'
        'after = vlmcal.load_predictions("calibrated.csv", scores="probs")\n'
        'ax = vlmcal.plots.overlay({"before": before, "after": after}, bins=10)\n'
        'ax.figure.set_size_inches(5, 4)\nax.figure.savefig("overlay.svg")',
    ),
    (
        "Without bins",
        "",
        "console",
        "$ vlmcal plot reliability test.csv --probs --labels diagnosis --smooth -o smooth.svg",
    ),
    (
        "What may be left to the model?",
        "Error among the rows that are kept when the least confident ones are left to a human.",
        "console",
        "$ vlmcal plot risk-coverage test.csv --probs --labels diagnosis -o risk.svg",
    ),
    (
        "Where do confident mistakes sit?",
        "",
        "python",
        "ax = vlmcal.plots.confidence_histogram(before)\n"
        'ax.figure.set_size_inches(5, 4)\nax.figure.savefig("histogram.svg")',
    ),
    (
        "Is acting on the risk worth it?",
        "Net benefit of treating patients above a threshold, beside treating all and none.",
        "console",
        "$ vlmcal plot decision-curve hospital.csv --probs --labels sepsis --positive risk -o benefit.svg",
    ),
    (
        "Label sets with a guarantee",
        "How large they are, and what each size delivers.",
        "console",
        "$ vlmcal conformal fit validation.csv --probs -m aps --alpha 0.1 -o sets.json\n"
        "$ vlmcal conformal apply sets.json test.csv --probs -o sets.npz\n"
        "$ vlmcal plot sets sets.npz -o sizes.svg",
    ),
    (
        "Margins",
        "What margin-based objectives push: the label's logit above the largest other one.",
        "console",
        "$ vlmcal plot margins test.csv --probs --labels diagnosis -o margins.svg",
    ),
    (
        "Two models on the same rows",
        "",
        "console",
        "$ vlmcal compare test.csv other.csv --probs --labels diagnosis --unit patient --metrics ece,brier,auroc -o pair.html",
    ),
    (
        "Stated confidence of a multimodal model",
        "A scripted model stands for it.",
        "console",
        "$ vlmcal vqa elicit questions.csv --model scripted:replies.jsonl -e verbalized -o answers\n"
        "$ vlmcal plot reliability answers --title 'As stated' -o stated.svg",
    ),
    (
        "Tune, calibrate, classify",
        "The toy in the box on digits.",
        "console",
        "$ vlmcal train my_images --objective ce+tcpt --shots 4 --epochs 5 -o report.html\n"
        "$ vlmcal predict runs/runs/RUN new_image.png",
    ),
)


def page() -> str:
    """The page, whose blocks are run when it is read."""
    parts = [
        "# Gallery\n\nEvery picture and report here was made by the block above it while this page was built, on the files that "
        "`python examples/inputs.py inputs`\nwrites.\n"
    ]
    for heading, words, language, text in ENTRIES:
        said = f"{words}\n\n" if words else ""
        parts.append(f"## {heading}\n\n{said}```{language}\n{text}\n```\n")
    return "\n".join(parts)
