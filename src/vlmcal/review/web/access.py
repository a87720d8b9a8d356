"""Who may do what: one person by a token in the link, several by a file of tokens or a proxy's header."""

import hashlib
import hmac
import secrets
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from starlette.requests import Request

from vlmcal.errors import DataError, require_known
from vlmcal.io.unicode_text import read_text

ROLES: Final = ("reader", "reviewer", "admin")  # each may do what those before it may
SHORTEST_TOKEN: Final = 16
_FIELDS: Final = "CODE,ROLE,TOKEN"


@dataclass(frozen=True)
class Person:
    """Who looks at a page.

    Attributes:
        code: The pseudonym that stands in the log.
        role: "reader" answers; "reviewer" adjudicates, too; "admin" exports and enters outcomes, too.
        secret: What only the server and this person know; form tokens are made of it.
    """

    code: str
    role: str
    secret: bytes = field(repr=False)

    def may(self, role: str) -> bool:
        """Whether this role is at least that one.

        Example:
            >>> Person("r1", "reviewer", b"").may("reader"), Person("r1", "reviewer", b"").may("admin")
            (True, False)
        """
        return ROLES.index(self.role) >= ROLES.index(role)

    @property
    def form_token(self) -> str:
        """Stands in every form; a page of another site cannot know it."""
        return hmac.new(self.secret, b"form", hashlib.sha256).hexdigest()

    def owns_form(self, token: str) -> bool:
        """Whether a form with this token was made for this person."""
        return hmac.compare_digest(self.form_token.encode(), token.encode())


@dataclass(frozen=True)
class Access:
    """How a request becomes a person.

    Attributes:
        by_token: Person by SHA-256 of the token.
        header: Name of the request header in which a reverse proxy says the code; "" for none.
        by_code: Person by code, for the header.
        proxies: Addresses from which the header is believed.
        cookie: Name of the cookie that keeps the token.
    """

    by_token: Mapping[str, Person]
    header: str = ""
    by_code: Mapping[str, Person] = field(default_factory=dict)
    proxies: Sequence[str] = ("127.0.0.1", "::1")
    cookie: str = "vlmcal_review"

    def person(self, token: str) -> Person | None:
        """Whose token this is."""
        return self.by_token.get(_digest(token)) if token else None

    def who(self, request: Request) -> Person | None:
        """The person behind a request: by cookie, by ``Authorization: Bearer``, or by the proxy's header."""
        if self.header:
            peer = request.client.host if request.client else ""
            return (
                self.by_code.get(request.headers.get(self.header, ""))
                if self._trusts(peer)
                else None
            )
        bearer = request.headers.get("authorization", "").partition("Bearer ")[2]
        return self.person(request.cookies.get(self.cookie, "")) or self.person(bearer.strip())

    def _trusts(self, peer: str) -> bool:
        try:
            return ip_address(peer) in {ip_address(each) for each in self.proxies}
        except ValueError:
            return False


def one_person(token: str, code: str = "user-1") -> Access:
    """The person who started the server, as admin.

    Example:
        >>> access = one_person("a-token-of-some-length")
        >>> access.person("a-token-of-some-length").role, access.person("another")
        ('admin', None)
    """
    return Access({_digest(token): Person(code, "admin", token.encode())})


def several_people(users: Path, header: str = "", proxies: Sequence[str] = ()) -> Access:
    """Those of a file with a line ``CODE,ROLE,TOKEN`` each; behind a proxy that names them, without tokens.

    Args:
        users: The file; empty lines and lines that start with # are passed over.
        header: Request header in which the proxy says the code; it must strip the header from outside.
        proxies: Addresses from which the header is believed; this machine if none is named.

    Raises:
        DataError: A line is not of this form, a role is unknown, a token is short or stands twice, nobody is
            named, or everybody on this machine can read the tokens.
    """
    people: dict[str, Person] = {}
    by_token: dict[str, Person] = {}
    try:
        lines = read_text(users).splitlines()
    except OSError as error:
        raise DataError(f"{users}: cannot be read as a file of users ({error})") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"{users}, line {number}"
        code, role, token = _fields(line, where, tokens=not header)
        if code in people:
            raise DataError(f'{where}: the user "{code}" stands twice; give each one line')
        secret = token.encode() if token else secrets.token_bytes(32)
        people[code] = Person(code, role, secret)
        if not header:
            if _digest(token) in by_token:
                raise DataError(f"{where}: two users have this token; give each their own")
            by_token[_digest(token)] = people[code]
    if not people:
        raise DataError(f"{users}: no user; write a line {_FIELDS} for each")
    if not header and users.stat().st_mode & stat.S_IROTH:
        raise DataError(
            f"{users}: everybody on this machine can read the tokens; chmod o-r {users}"
        )
    return Access(by_token, header, people, tuple(proxies) or ("127.0.0.1", "::1"))


def _fields(line: str, where: str, *, tokens: bool) -> tuple[str, str, str]:
    parts = [part.strip() for part in line.split(",")]
    if len(parts) == 2 and not tokens:
        parts.append("")
    if len(parts) != 3 or not parts[0]:
        raise DataError(f"{where}: expected {_FIELDS}, got {len(parts)} fields")
    code, role, token = parts
    require_known(role, ROLES, f"{where}: unknown role", DataError)
    if tokens and len(token) < SHORTEST_TOKEN:
        raise DataError(
            f"{where}: a token of {len(token)} characters can be guessed; take at least {SHORTEST_TOKEN}: "
            'python -c "import secrets; print(secrets.token_urlsafe(24))"'
        )
    return code, role, token


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
