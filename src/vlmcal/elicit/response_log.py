"""An append-only file of responses: what was paid for once is never asked for again."""

import json
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, get_args

from vlmcal.errors import StoreError
from vlmcal.io.json_text import parse_json
from vlmcal.io.locks import exclusive
from vlmcal.io.state_files import is_intact, sealed
from vlmcal.types.chat import Request, Response, ResponseStatus

SCHEMA = 2  # 1 has no checksum in its lines

_NO_RECORD = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


class ResponseLog:
    """Responses by the key of their request, one JSON line each, written as they arrive.

    Every line goes to the operating system in a single write, so a process that is killed loses at most the
    response that was on its way; a line that was cut off is dropped at the next start. Each line holds a
    checksum of what it says; one that was changed counts as not asked. Failed requests are
    recorded, too, but count as not asked. Only keys and places are held in memory.

    Args:
        path: The JSONL file; made on first use.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "responses.jsonl"
        >>> with ResponseLog(path) as log:
        ...     log.put("k1", Request(messages=()), Response(text="no"))
        >>> with ResponseLog(path) as log:
        ...     print(len(log), log.get("k1").text, log.get("k2"))
        1 no None
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0
        self._places: dict[str, tuple[int, int]] = {}
        self._stream: BinaryIO | None = None

    def __enter__(self) -> Self:
        with ExitStack() as held:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                lock = exclusive(self.path.with_name(f".{self.path.name}.lock"), wait=False)
                mine = held.enter_context(lock)
                self._stream = held.enter_context(self.path.open("a+b", buffering=0))
            except OSError as error:
                raise StoreError(
                    f"{self.path} cannot be written: {error.strerror}. Choose another folder with -o, or "
                    "change its permissions; nothing was asked yet"
                ) from error
            if not mine:
                raise StoreError(
                    f"{self.path.parent}: another process is writing here; wait for it or choose another "
                    "folder"
                )
            self._scan()
            self._held = held.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream = None
        self._held.close()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def get(self, key: str) -> Response | None:
        """The response to a request, or None where it was never answered."""
        place = self._places.get(key)
        if place is None:
            return None
        self._open.seek(place[0])
        try:
            record = parse_json(self._open.read(place[1]))
            if record.get("schema", 1) >= SCHEMA and not is_intact(record):
                raise ValueError("another checksum")
            return _response(record["response"])
        except _NO_RECORD:
            # A line with other contents than ours counts as not asked.
            self.damaged += 1
            del self._places[key]
            return None

    def put(self, key: str, request: Request, response: Response) -> None:
        """Record a response.

        Raises:
            StoreError: The disk is full or the file cannot be written; earlier lines are intact.
        """
        record: dict[str, Any] = {
            "schema": SCHEMA,
            "key": key,
            "status": response.status,
            "response": response.to_dict(),
            "request": _request(request),
        }
        line = json.dumps(sealed(record), ensure_ascii=False).encode() + b"\n"
        try:
            start = self._open.seek(0, 2)
            if self._open.write(line) != len(line):
                self._open.truncate(start)
                raise OSError(28, "no space left on the device")
        except OSError as error:
            raise StoreError(
                f"{self.path} could not be written: {error.strerror or error}. Free some space and repeat "
                "the command; what is recorded is not asked again"
            ) from error
        if response.status != "failed":
            self._places[key] = (start, len(line))

    @property
    def _open(self) -> BinaryIO:
        assert self._stream is not None, "use the log in a with block"
        return self._stream

    def _scan(self) -> None:
        start = 0
        # Reading line by line from the unbuffered stream costs a system call per byte.
        with self.path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    # The process was killed inside this write.
                    self._open.truncate(start)
                    return
                try:
                    record = parse_json(line)
                    if record["status"] != "failed":
                        self._places[str(record["key"])] = (start, len(line))
                except _NO_RECORD:
                    self.damaged += 1
                start += len(line)


def is_record(path: Path) -> bool:
    """Whether a line of a file is one that :class:`ResponseLog` writes."""
    with path.open("rb") as lines:
        for line in lines:
            try:
                record = parse_json(line)
                if record["key"] and record["status"] and record["response"]:
                    return True
            except _NO_RECORD:
                continue
    return False


def _response(plain: Any) -> Response:
    """A recorded response; fields of other types than ours are refused."""
    found = Response.from_dict(plain)
    counts = (
        found.prompt_tokens,
        found.completion_tokens,
        found.reasoning_tokens,
        found.cached_tokens,
        found.max_tokens,
    )
    texts = (found.text, found.error, found.reasoning, found.finish_reason, found.served_by)
    right = (
        all(isinstance(text, str) for text in texts)
        and all(count is None or isinstance(count, int) for count in counts)
        and isinstance(found.seconds, int | float)
        and found.status in get_args(ResponseStatus)
    )
    if not right:
        raise TypeError("a field of another type")
    return found


def _request(request: Request) -> dict[str, Any]:
    """What was sent, without image bytes."""
    return {
        "speaker": request.speaker,
        "messages": [
            {"role": m.role, "text": m.text, "images": [[i.path, i.edit] for i in m.images]}
            for m in request.messages
        ],
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "logprobs": request.logprobs,
        "sample": request.sample,
    }
