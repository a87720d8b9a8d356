"""Replies in other languages: labels of fields, and how models decline to answer."""

import re

from vlmcal.data.vqa.words import YES_NO, YesNo

# Labels before a value: "Antwort: ja", "La réponse est B", "答案是B", "置信度：85%".
_ANSWER = re.compile(
    r"(?<!\w)(?:(?:die |la |l')?(?:richtige |korrekte |finale |bonne )?(?:antwort|réponse|reponse|respuesta|"
    r"risposta|resposta)(?: correcte?| correcta| corretta| correta| finale?)?"
    r"\s*(?::|=|(?:ist|lautet|est|es|è|é)\b\s*:?)(?:\s*(?:la|el|le|l')\s+(?=\(?[A-Z](?!\w)))?)"
    r"|(?:最终|正确)?(?:答案|回答)\s*(?:应该是|应为|是|为|选|:|=)\s*:?|(?<!\w)答\s*:"
    r"|(?<!\w)(?:我|我会|应|应该|应当|最佳|因此|所以|故)?选择?\s*:?\s*(?=[A-Z](?!\w))"
    r"|(?:答え|正解|回答)\s*(?:は|:)|(?<!\w)ответ\s*:",
    re.I,
)
_CONFIDENCE = re.compile(
    r"(?<!\w)(?:konfidenz|sicherheit|confiance|certitude|confianza|certeza|confiança|confidenza|уверенность)\s*[:=]"
    r"|(?:置信度|自信度|可信度|信心|確信度|信頼度)\s*(?:约为|大约是|是|为|は|:|=)?\s*(?=[约~]?\s*\d)",
    re.I,
)

_ABOUT = re.compile(r"(?:大约|大概|约为|约)(?=\s*\d)")
_OPTION = re.compile(r"(?<!\w)(?:opción|opcion|opzione|opção|选项)\s*(?=\(?[A-Z](?!\w))", re.I)

# First-person "cannot" with a task, or after an apology; seeing and determining are not among the tasks.
_REFUSALS = re.compile(
    r"(?:抱歉|对不起|很遗憾|不好意思)[^。!?\n]{0,20}(?:无法|不能|不便)(?!确定|判断|看)"
    r"|我(?:\w{0,4})(?:无法|不能|不便)(?:\w{0,4})(?:提供|回答|协助|帮助|诊断|解读|分析|给出)"
    r"|我(?:只)?是(?:一个|一名|一款)?(?:AI|人工智能|语言模型)[^。!?\n]{0,12}(?:无法|不能|不会)(?!确定|判断|看)"
    r"|作为(?:一个|一名|一款)?(?:AI|人工智能|语言模型)[^。!?\n]{0,20}(?:无法|不能|不会)"
    r"|(?:申し訳|すみません)[^。!?\n]{0,40}(?:できません|できかねます)"
    r"|\bich (?:kann|darf|bin kein\w* \w+ und kann)\b[^.!?\n]{0,50}\b(?:nicht|keine[nr]?)\b[^.!?\n]{0,40}"
    r"\b(?:helfen|beantworten|geben|stellen|anbieten|interpretieren|diagnostizieren|unterstützen)\b"
    r"|\b(?:kann|darf) ich\b[^.!?\n]{0,50}\b(?:nicht|keine[nr]?)\b[^.!?\n]{0,40}"
    r"\b(?:helfen|beantworten|geben|stellen|anbieten|interpretieren|diagnostizieren|unterstützen)\b"
    r"|\b(?:ich bin|bin ich) nicht (?:in der lage|befugt|berechtigt|qualifiziert)\b"
    r"(?![^.!?\n]{0,60}\b(?:erkennen|sehen|sagen|bestimmen)\b)"
    r"|\bals (?:ki\b|künstliche intelligenz|sprachmodell)[^.!?\n]{0,60}\b(?:nicht|keine[nr]?)\b"
    r"|\b(?:je ne (?:peux|suis) (?:\w+ )?pas (?:en mesure )?(?:de |d')?|il m'est impossible (?:de |d'))"
    r"(?:vous )?(?:répondre|fournir|aider|donner|interpréter|poser|diagnostiquer|assister|analyser|commenter)"
    r"|\ben tant qu(?:e |')(?:ia\b|intelligence|modèle)[^.!?\n]{0,60}\bne\b[^.!?\n]{0,20}\bpas\b"
    r"|\b(?:no (?:puedo|me es posible)|me es imposible) (?:\w+ )?"
    r"(?:responder|proporcionar|ayudar|ofrecer|dar|interpretar|diagnosticar|asistir"
    r"|analizar|brindar)\w*"
    r"|\bno (?:estoy|me encuentro) (?:en condiciones de|capacitad[oa] para|autorizad[oa] (?:a|para)|"
    r"cualificad[oa] para) (?!ver\b|determinar\b|saber\b)"
    r"|\bcomo (?:una? )?(?:ia\b|inteligencia artificial|modelo de lenguaje)[^.!?\n]{0,40}\bno\b"
    r"|\bnon posso (?:rispondere|fornire|aiutar\w*|dare|interpretare)"
    r"|\bnão posso (?:responder|fornecer|ajudar|dar|interpretar)",
    re.I,
)
# "It cannot be determined": an honest answer that names nothing.
_ABSTAINS = re.compile(
    r"(?:无法|不能|难以)(?:从\w{0,8}中?)?(?:确定|判断|确认|看出|得知)|(?<!\w)(?:不确定|不知道|不清楚)(?!\w)|判断できません|わかりません"
    r"|\b(?:kann|lässt sich|können)\b[^.!?\n]{0,40}\bnicht (?:\w+ ){0,3}?(?:beurteil|bestimm|feststell|"
    r"erkenn|sag|beantwort)\w*|\bich weiß (?:es )?nicht\b"
    r"|\b(?:ne peut(?: pas)? être|impossible (?:de|à)|ne peux pas|ne permet pas de) (?:déterminé|évalué|"
    r"déterminer|dire|évaluer|savoir)e?\b|\bje ne sais pas\b"
    r"|\bno (?:se puede|es posible|puedo) (?:determinar|saber|evaluar|decir|precisar)\b|\bno (?:lo )?sé\b",
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
    told = _CONFIDENCE.sub("Confidence: ", _ANSWER.sub("Answer: ", told))
    return _ABOUT.sub("~", told)


def declines(text: str) -> bool:
    """Whether the text declines to answer, in a language other than English.

    Example:
        >>> declines("抱歉,我无法提供诊断。"), declines("无法确定。"), declines("Je ne peux pas répondre.")
        (True, False, True)
    """
    return bool(_REFUSALS.search(text))


def abstains(text: str) -> bool:
    """Whether the text says that it cannot be known, in a language other than English.

    Example:
        >>> abstains("无法确定。"), abstains("Kann nicht beurteilt werden."), abstains("linke Lunge")
        (True, True, False)
    """
    return bool(_ABSTAINS.search(text))


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
