"""Nicknames of published models that must be known wherever a backbone is named."""

ASKED_FOR = [
    "plip",
    "quiltnet-b-16",
    "quiltnet-b-32",
    "biomedclip",
    "medclip",
    "pubmedclip",
    "conch",
]
ASKED_FOR += ["medsiglip", "clip-vit-b-16", "clip-vit-b-32", "clip-vit-l-14", "clip-rn50"]
