"""Where servers depart from the chat completions format, and what to do when one says so."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

MOST_ALTERNATIVES = 20
# Where a temperature must be above 0, this one draws the likeliest token all but always.
ALMOST_ZERO = 0.01
_FEWER = (10, 5, 2, 1, 0)
# How vLLM takes the replies to choose from, today and before version 0.11.
GUIDES = ("structured_outputs", "guided_choice")

# What a server may refuse: the words it is named by, and what follows from that.
_PARTS: Mapping[str, tuple[re.Pattern[str], str]] = {
    name: (re.compile(words, re.IGNORECASE), note)
    for name, words, note in (
        (
            "top_logprobs",
            r"(?<!\w)top_logprobs(?!\w)",
            "it refuses to give alternatives to a token",
        ),
        ("logprobs", r"(?<!\w)logprobs?(?!\w)", "it refuses requests for log-probabilities"),
        (
            "max_tokens",
            r"(?<!\w)max_tokens(?!\w)",
            'it wants "max_completion_tokens" in place of "max_tokens"',
        ),
        (
            "temperature",
            r"(?<!\w)temperature(?!\w)",
            "it refuses a temperature: every answer is drawn at the server's own",
        ),
        (
            "temperature 0",
            r"(?!)",
            f"it refuses a temperature of 0: plain answers are asked for with {ALMOST_ZERO:g}",
        ),
        ("seed", r"(?<!\w)(?:random_)?seed(?!\w)", "it refuses a seed: draws cannot be repeated"),
        (
            "system",
            r"system.{0,3} (?:role|message|prompt|instruction)|developer instruction|roles must alternate"
            r"|messages\[\d+\]\.role",
            "it refuses system messages: their text stands at the beginning of the user's",
        ),
        (
            "guide",
            r"guided|structured.outputs?|x?grammar|outlines",
            "it refuses some replies to choose from: questions are asked without them",
        ),
        (
            "response_format",
            r"response_format|json_?schema",
            "it refuses a schema of the reply: the form is asked for in words alone",
        ),
    )
}
_REFUSES = re.compile(
    r"unsupported|(?:not|n't)(?: \w+)? (?:support|allow|enable|permit|implement|recogni[sz]|available|accept)"
    r"|unrecogni[sz]ed|unknown|unexpected|extra_forbidden|must alternate|only .{1,20} (?:allowed|supported)"
    r"|not a multimodal",
    re.IGNORECASE,
)
_TOO_MANY = re.compile(
    r"greater|less than|exceed|more than|at most|max(?:imum)? |between|range|too (?:many|large|high)|<=",
    re.IGNORECASE,
)
_NO_IMAGES = re.compile(
    r"(?:image|vision|visual|multi-?modal)\w*[^.\n]{0,60}"
    r"(?:unsupported|(?:not|n't)(?: currently| yet)? (?:support|enable|available|allow|accept))"
    r"|(?:unsupported|(?:not|n't) (?:support|accept|have))\w*[^.\n]{0,30}?"
    r"\b(?:images?|vision|multi-?modal)"
    r"|not an? (?:multi-?modal|vision)|mmproj|missing data required for image|only supports? text|text-only",
    re.IGNORECASE,
)
_ONE_IMAGE = re.compile(r"image (?:format|type|mime|size|url (?:is|has))", re.IGNORECASE)
_ABOVE_ZERO = re.compile(
    r"positive|(?:greater|more|larger) than (?:0|zero)|above (?:0|zero)|non-?zero|> ?0|at least 0?\.\d",
    re.I,
)


class Complaint(NamedTuple):
    """What a server says is wrong with a request."""

    message: str
    code: str = ""
    param: str = ""


@dataclass(frozen=True)
class Dialect:
    """How requests to a server are written.

    Attributes:
        refused: Parts of the format that it refuses.
        alternatives: Most alternatives per token that it is asked for.
        guide: Field of the request that holds the replies to choose from, one of :data:`GUIDES`, or "".
    """

    refused: frozenset[str] = frozenset()
    alternatives: int = MOST_ALTERNATIVES
    guide: str = ""

    def joined(self, other: "Dialect") -> "Dialect":
        """What both have learned."""
        return Dialect(
            self.refused | other.refused,
            min(self.alternatives, other.alternatives),
            self.guide or other.guide,
        )

    def notes(self) -> list[str]:
        """The departures, in sentences."""
        told = [note for name, (_, note) in _PARTS.items() if name in self.refused]
        if 0 < self.alternatives < MOST_ALTERNATIVES:
            told.append(f"it gives at most {self.alternatives} alternatives to a token")
        return told


def adapted(dialect: Dialect, body: Mapping[str, Any], complaint: Complaint) -> Dialect | None:
    """The dialect that a complaint asks for, or None where it is about something else.

    Only what ``body`` contains is given up, one part at a time, so repeating this ends.

    Args:
        dialect: That ``body`` was written in.
        body: Request that was refused.
        complaint: The server's.

    Example:
        >>> said = Complaint("Requested sample logprobs of 20, which is greater than max allowed: 5")
        >>> adapted(Dialect(), {"logprobs": True, "top_logprobs": 20}, said).alternatives
        5
    """
    asked = body.get("top_logprobs", 0)
    about_logprobs = "logprobs" in f"{complaint.param} {complaint.message}".lower()
    if asked and about_logprobs and _TOO_MANY.search(complaint.message):
        return replace(dialect, alternatives=_fewer(asked, complaint.message))
    part = _part(body, complaint)
    if part is None:
        return None
    # Whatever is said about one of these by name, the request is tried without it; lengths and roles are
    # named in complaints about other things.
    told = f"{complaint.message} {complaint.code}"
    if part in ("max_tokens", "system") and not _REFUSES.search(told):
        return None
    if part == "temperature" and body["temperature"] == 0 and _ABOVE_ZERO.search(complaint.message):
        part = "temperature 0"
    learned = Dialect(frozenset({part}), 0 if part == "top_logprobs" else dialect.alternatives)
    return dialect.joined(learned)


def refuses_images(complaint: Complaint) -> bool:
    """Whether a server says that it takes no images at all; not that one image is in a wrong format.

    Example:
        >>> refuses_images(Complaint("m is not a multimodal model"))
        True
        >>> refuses_images(Complaint("Unsupported image format: image/bmp"))
        False
    """
    said = complaint.message
    return bool(_NO_IMAGES.search(said)) and not _ONE_IMAGE.search(said)


def _part(body: Mapping[str, Any], complaint: Complaint) -> str | None:
    sent = set(body)
    if any(message["role"] == "system" for message in body.get("messages", ())):
        sent.add("system")
    if sent & set(GUIDES):
        sent.add("guide")
    if complaint.param in _PARTS:
        return complaint.param if complaint.param in sent else None
    for name, (words, _) in _PARTS.items():
        if name in sent and (words.search(complaint.message) or words.search(complaint.param)):
            return name
    return None


def _fewer(asked: int, message: str) -> int:
    named = [int(number) for number in re.findall(r"(?<![\w.])\d+(?!\.?\d|\w)", message)]
    smaller = [number for number in named if number < asked]
    return max(smaller) if smaller else next(number for number in _FEWER if number < asked)
