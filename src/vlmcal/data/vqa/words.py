"""Yes and no in the languages that questions are asked in: one table for gold answers and for replies."""

import unicodedata
from collections.abc import Mapping
from typing import Literal

YesNo = Literal["yes", "no"]

# Only words that are an answer when they stand alone. What may be either, such as Czech "ano" and Greek
# "ne", is left out, and so is whatever is an English word of another meaning.
_WORDS: Mapping[str, tuple[str, str]] = {
    "English": ("yes", "no"),
    "Arabic": ("نعم", "لا"),
    "Chinese": ("是 是的 有 有的 对 对的 正确 存在", "否 不是 不是的 没有 不对 错误 不正确 不存在"),
    "Dutch": ("ja", "nee"),
    "French": ("oui", "non"),
    "German": ("ja", "nein"),
    "Hindi": ("हाँ हां", "नहीं"),
    "Italian": ("sì", "no"),
    "Japanese": ("はい", "いいえ"),
    "Korean": ("예 네", "아니요 아니오"),
    "Polish": ("tak", "nie"),
    "Portuguese": ("sim", "não"),
    "Russian": ("да", "нет"),
    "Spanish": ("sí si", "no"),
    "Swedish": ("ja", "nej"),
    "Turkish": ("evet", "hayır"),
}
_MEANINGS: tuple[YesNo, YesNo] = ("yes", "no")
YES_NO: Mapping[str, YesNo] = {
    word: meaning
    for pair in _WORDS.values()
    for words, meaning in zip(pair, _MEANINGS, strict=True)
    for word in words.split()
}
_END = " \t\n.!。！．，,;；~\"'“”"


def yes_no(answer: str) -> YesNo | None:
    """Yes or no if that is all that the answer says, in any language of the table, else None.

    Example:
        >>> yes_no("Yes."), yes_no("没有"), yes_no("Nein!"), yes_no("No, it is normal")
        ('yes', 'no', 'no', None)
    """
    return YES_NO.get(unicodedata.normalize("NFC", answer).strip(_END).casefold())
