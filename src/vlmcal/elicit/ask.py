"""Steps that several elicitors share; the same step with the same options is sent only once."""

from vlmcal.elicit.parse.answers import ParsedAnswer, parse_answer
from vlmcal.elicit.prompts import answer_form, conversation
from vlmcal.types.chat import ImageRef, Request, Response
from vlmcal.types.question import LETTERS, Question


def read_answer(response: Response, question: Question) -> ParsedAnswer:
    """The answer in a response; a failed or filtered response is a state of its own."""
    if response.status == "failed":
        return ParsedAnswer("failed", None, response.error)
    if response.status == "filtered":
        return ParsedAnswer("refused", None, response.error or "filtered by the server")
    return parse_answer(response.text, question, cut=response.cut)


def direct_request(
    question: Question,
    *,
    temperature: float = 0.0,
    sample: int = 0,
    logprobs: int | None = None,
    wording: str | None = None,
    images: tuple[ImageRef, ...] | None = None,
) -> Request:
    """Asking for nothing but the answer."""
    instruction = f"Answer with {answer_form(question)} only."
    return Request(
        messages=conversation(question, instruction, wording=wording, images=images),
        temperature=temperature,
        max_tokens=64,
        sample=sample,
        logprobs=logprobs,
        choices=_replies(question) if logprobs is None else (),
    )


def _replies(question: Question) -> tuple[str, ...]:
    """Every reply that answers a closed question; guided only where no log-probabilities are asked for.

    Under guidance they are those among the replies allowed, not those of what the model would have said.
    """
    return ("yes", "no", "Yes", "No") if question.answer_type == "yes_no" else question.letters


def spoken(answer: str, question: Question) -> str:
    """An answer as it is shown to a model: options with their letter."""
    if question.options and answer in question.options:
        return f"{LETTERS[question.options.index(answer)]}. {answer}"
    return answer
