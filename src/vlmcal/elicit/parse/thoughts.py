"""What a model says, apart from what it thinks: marks of reasoning, of boxes and of the end of a turn."""

import re
from typing import NamedTuple

# One table for all readers. Each line: how a thought opens, how it closes, and who writes it so. Any
# closing mark closes any opening one, since servers drop the first of a pair. "|" may be the full-width one.
_THOUGHTS = (
    # Qwen, DeepSeek, GLM, InternVL, MiMo; with a maker's prefix "seed:", "mm:", "longcat_".
    (r"<(?:\w+[:_])?think(?:ing)?>", r"</(?:\w+[:_])?think(?:ing)?>"),
    (
        r"<(?:thoughts?|reasoning|reflection|analysis|scratchpad)>",
        r"</(?:thoughts?|reasoning|reflection|analysis|scratchpad)>",
    ),
    (r"\[THINK\]", r"\[/THINK\]"),  # Mistral, Magistral
    ("◁think▷", "◁/think▷"),  # Kimi
    (r"<unused94>(?:thought)?", "<unused95>"),  # MedGemma
    (r"<\|channel>(?:thought)?", r"<channel\|>"),  # Gemma
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),  # Command
    (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),  # OpenThinker, Sky-T1
    (r"<\|inner_prefix\|>", r"<\|inner_suffix\|>"),  # Apertus
    # gpt-oss: channels, of which only the last one called "final" is the answer.
    (
        r"(?:<\|start\|>assistant)?<\|channel\|>(?!final)\w+[^<]*<\|message\|>",
        r"<\|channel\|>final[^<]*<\|message\|>",
    ),
)
_OPEN = re.compile("|".join(opening for opening, _ in _THOUGHTS), re.I)
_CLOSE = re.compile("|".join(closing for _, closing in _THOUGHTS), re.I)
_PARTS = ("<|channel|>", "<|message|>", "<|start|>", "<|channel>", "<unused94>")
# The channels of gpt-oss where a server has dropped the marks and left their names.
_BARE_CHANNEL = re.compile(r"\s*(?:analysis|commentary)(?=[A-Z])")
_BARE_FINAL = "assistantfinal"

# Before the first word of a turn.
_HEADER = re.compile(
    r"\s*(?:<\|start_header_id\|>\w*<\|end_header_id\|>|<\|im_start\|>(?:assistant)?|"
    r"<start_of_turn>(?:model)?|<\|start\|>assistant|<\|assistant\|>|<bos>|<s>|<\|begin_of_text\|>)"
)
# A turn ends at the first of these after a word; what follows is a turn that the model made up.
_STOP = re.compile(
    r"</s>|<eos>|<end_of_turn>|<turn\|>|<end_of_utterance>|\[EOS\]|<pad>|"
    r"<[|｜](?:im_end|eot_id|eom_id|end_of_text|endoftext|end|return|call|end_of_turn|endofturn|eos|"
    r"END_OF_TURN_TOKEN|im_start|start_header_id|user|assistant|end[▁_]of[▁_]sentence)[|｜]>"
)
_BOX = re.compile(r"<\|begin_of_box\|>(.*?)(?:<\|end_of_box\|>|\Z)", re.S)
# Marks that say nothing where they stand.
_IDLE = re.compile(
    r"<[|｜][\w▁-]{1,40}[|｜]>|<unused\d+>|<(?:bos|pad|unk)>|\[(?:BOS|PAD|SEP|CLS)\]"
    r"|</?(?:conclusion|response|start_of_turn|end_of_turn)>|<\|(?:begin|end)_of_solution\|>",
    re.I,
)
_LABEL = re.compile(r"\w\s*:")


class Said(NamedTuple):
    """The part of a reply that is an answer.

    Attributes:
        text: Without thoughts and marks.
        start, end: Where it stood in the reply, marks inside included.
        unfinished: Whether the reply ends inside a thought.
    """

    text: str
    start: int
    end: int
    unfinished: bool


def said(reply: str) -> Said:
    r"""What a model says in ``reply``: after its last thought, up to the end of its turn, without marks.

    A thought that is opened and not closed is unfinished: the reply was cut, and what stands before is no
    answer to be relied on. A box (GLM) around all that is said is taken off; one inside a sentence is
    written as \boxed{...}, which readers take for the final answer.

    Example:
        >>> said("<think>A or B</think><|begin_of_box|>B<|end_of_box|>").text
        'B'
        >>> said("<unused94>thought\nMaybe A.\n<unused95>B<end_of_turn>").text
        'B'
        >>> said("<|channel|>analysis<|message|>A?<|end|><|start|>assistant<|channel|>final<|message|>B").text
        'B'
        >>> said("[THINK]It may be").unfinished
        True
    """
    start, end, unfinished = _span(reply)
    if unfinished:
        return Said("", start, end, True)
    text = reply[start:end]
    boxes = _BOX.findall(text)
    if boxes:
        around = _IDLE.sub("", _BOX.sub("", text)).strip()
        inside = not around or any(_LABEL.search(box) for box in boxes)
        text = _BOX.sub(r"\1" if inside else r"\\boxed{\1}", text)
    return Said(_IDLE.sub(" ", text), start, end, unfinished)


def is_mark(token: str) -> bool:
    """Whether a token is a mark that opens or closes a thought, or a part of one in several tokens.

    Example:
        >>> is_mark("</think>"), is_mark("<|channel|>"), is_mark("</s>")
        (True, True, False)
    """
    token = token.strip()
    return bool(_OPEN.fullmatch(token) or _CLOSE.fullmatch(token)) or token in _PARTS


def _span(reply: str) -> tuple[int, int, bool]:
    start, end = 0, len(reply)
    closings = list(_CLOSE.finditer(reply))
    if closings:
        start = closings[-1].end()
        if not reply[start:].strip() and (opening := _OPEN.search(reply)):
            # "B <think>...</think>": the thought follows the answer.
            start, end = 0, opening.start()
    opened = _OPEN.search(reply, start, end)
    if opened:
        return start, opened.start(), True
    while found := _HEADER.match(reply, start, end):
        start = found.end()
    while _BARE_CHANNEL.match(reply, start, end):
        final = reply.rfind(_BARE_FINAL, start, end)
        if final < 0:
            return start, start, True
        start = final + len(_BARE_FINAL)
    for stop in _STOP.finditer(reply, start, end):
        if reply[start : stop.start()].strip():
            return start, stop.start(), False
        start = stop.end()
    return start, end, False
