"""Replies in other languages: labels of fields, and how models decline to answer."""

import re

from vlmcal.data.vqa.words import YES_NO, YesNo

# Labels before a value: "Antwort: ja", "La réponse est B", "答案是B", "置信度：85%".
_ANSWER = re.compile(
    r"(?<!\w)(?:(?:die |la |l')?(?:richtige |korrekte |finale |bonne )?(?:antwort|réponse|reponse|respuesta|"
    r"risposta|resposta)(?: correcte?| correcta| corretta| correta| finale?)?"
    r"\s*(?::|=|(?:ist|lautet|est|es|è|é)\b\s*:?)(?:\s*(?:la|el|le|l')\s+(?=\(?[A-Z](?!\w)))?)"
    r"|(?:最终|正确)?(?:答案|回答)\s*(?:应该是|应为|是|为|选|:|=)\s*:?|(?<!\w)答\s*:"
    r"|(?<![\w])(?:我)?选择?\s*:?\s*(?=[A-Z](?!\w))"
    r"|(?:答え|正解|回答)\s*(?:は|:)|(?<!\w)ответ\s*:",
    re.I,
)
_CONFIDENCE = re.compile(
    r"(?<!\w)(?:konfidenz|sicherheit|confiance|certitude|confianza|certeza|confiança|confidenza|уверенность)\s*[:=]"
    r"|(?:置信度|自信度|可信度|信心|確信度|信頼度)\s*(?:约为|大约是|是|为|は|:|=)?\s*(?=[约~]?\s*\d)",
    re.I,
)

_OPTION = re.compile(r"(?<!\w)(?:opción|opcion|opzione|opção|选项)\s*(?=\(?[A-Z](?!\w))", re.I)

# First-person "cannot" with a task, or after an apology; seeing and determining are not among the tasks.
_REFUSALS = re.compile(
    r"(?:抱歉|对不起|很遗憾|不好意思)[^。!?\n]{0,20}(?:无法|不能|不便)(?!确定|判断|看)"
    r"|我(?:\w{0,4})(?:无法|不能|不便)(?:\w{0,4})(?:提供|回答|协助|帮助|诊断|解读|分析|给出)"
    r"|作为(?:一个|一名|一款)?(?:AI|人工智能|语言模型)[^。!?\n]{0,20}(?:无法|不能|不会)"
    r"|(?:申し訳|すみません)[^。!?\n]{0,40}(?:できません|できかねます)"
    r"|\bich (?:kann|bin kein\w* \w+ und kann)\b[^.!?\n]{0,50}\b(?:nicht|keine[nr]?)\b[^.!?\n]{0,40}"
    r"\b(?:helfen|beantworten|geben|stellen|anbieten|interpretieren|diagnostizieren|unterstützen)\b"
    r"|\bkann ich\b[^.!?\n]{0,50}\b(?:nicht|keine[nr]?)\b[^.!?\n]{0,40}"
    r"\b(?:helfen|beantworten|geben|stellen|anbieten|interpretieren|diagnostizieren|unterstützen)\b"
    r"|\bals (?:ki\b|künstliche intelligenz|sprachmodell)[^.!?\n]{0,60}\b(?:nicht|keine[nr]?)\b"
    r"|\bje ne (?:peux|suis) pas (?:en mesure )?(?:de |d')?(?:vous )?"
    r"(?:répondre|fournir|aider|donner|interpréter|poser|diagnostiquer|assister|analyser|commenter)"
    r"|\ben tant qu(?:e |')(?:ia\b|intelligence|modèle)[^.!?\n]{0,60}\bne\b[^.!?\n]{0,20}\bpas\b"
    r"|\bno puedo (?:\w+ )?(?:responder|proporcionar|ayudar|ofrecer|dar|interpretar|diagnosticar|asistir"
    r"|analizar|brindar)\w*"
    r"|\bcomo (?:una? )?(?:ia\b|inteligencia artificial|modelo de lenguaje)[^.!?\n]{0,40}\bno\b"
    r"|\bnon posso (?:rispondere|fornire|aiutar\w*|dare|interpretare)"
    r"|\bnão posso (?:responder|fornecer|ajudar|dar|interpretar)",
    re.I,
)
# Replies that are nothing else, and stand for "no" only there.
_SHORT = {"无": "no", "没": "no", "不": "no"}
_WORD = re.compile(
    r"[\s*_#>`'\"(\[{-]*(?P<word>"
    + "|".join(sorted({*YES_NO, *_SHORT} - {"yes", "no", "si"}, key=len, reverse=True))
    + r")(?=[*_\"')\]]*\s*(?:[.,;:!?。、…-](?!\d)|\n|$))",
    re.I,
)
_CLAUSE = re.compile(r"[.,;:!?。、\n]+")


def in_english(text: str) -> str:
    """``text`` with labels of other languages in English.

    Example:
        >>> in_english("答案是B"), in_english("Antwort: ja"), in_english("置信度:85%")
        ('Answer: B', 'Answer:  ja', 'Confidence: 85%')
    """
    told = _OPTION.sub("Option ", text)
    return _CONFIDENCE.sub("Confidence: ", _ANSWER.sub("Answer: ", told))


def declines(text: str) -> bool:
    """Whether the text declines to answer, in a language other than English.

    Example:
        >>> declines("抱歉,我无法提供诊断。"), declines("无法确定。"), declines("Je ne peux pas répondre.")
        (True, False, True)
    """
    return bool(_REFUSALS.search(text))


def foreign_yes_no(text: str) -> YesNo | None:
    """The yes or no of another language that ``text`` opens with, alone or before a full stop or comma.

    None where another clause is the opposite ("Ja. Nein."), and for a word that goes on ("没有明显异常").

    Example:
        >>> foreign_yes_no("是的。"), foreign_yes_no("Nein, nichts."), foreign_yes_no("没有明显异常")
        ('yes', 'no', None)
    """
    found = _WORD.match(text)
    if not found:
        return None
    meaning = _meaning(found["word"])
    others = {_meaning(clause.strip(" *_\"'()[]")) for clause in _CLAUSE.split(text[found.end() :])}
    return None if others - {None, meaning} else meaning


def _meaning(word: str) -> YesNo | None:
    word = word.casefold()
    return YES_NO.get(word) or ("no" if word in _SHORT else None)
