"""The page of the administrator: files to take away, outcomes to bring in, the chain of the log."""

import tempfile
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from vlmcal.errors import DataError, SpecError, VlmcalError
from vlmcal.review.export import export
from vlmcal.review.outcomes import record_outcomes
from vlmcal.review.web.access import Person
from vlmcal.review.web.site import Site, go

Text = Annotated[str, Form()]
FILES: Final = {
    "decisions.csv": "a row for each decision",
    "decisions.parquet": "the same for Parquet",
    "log.jsonl": "every entry of the log, for `vlmcal review verify`",
    "observations.json": "observations like those of FHIR",
}


def routes(site: Site) -> APIRouter:
    """Exports and outcomes."""
    router = APIRouter()

    @router.get("/export")
    def show(request: Request) -> Response:
        return _page(site, request, site.require(request, "admin"))

    @router.post("/export")
    def take(request: Request, form: Text, file: Text, words: Text = "") -> Response:
        site.require(request, "admin", form)
        if file not in FILES:
            raise SpecError(f'no file "{file}"; there are {", ".join(FILES)}')
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / file
            export(site.review, path, free_text=words == "yes")
            content = path.read_bytes()
        headers = {"content-disposition": f'attachment; filename="{file}"'}
        return Response(content, media_type="application/octet-stream", headers=headers)

    @router.post("/outcomes")
    def outcomes(request: Request, form: Text, table: Text = "", source: Text = "") -> Response:
        person = site.require(request, "admin", form)
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "outcomes.csv"
                path.write_text(table.strip() + "\n", encoding="utf-8")
                try:
                    record_outcomes(site.review, path, source=source.strip(), user=person.code)
                except VlmcalError as error:
                    raise DataError(str(error).replace(str(path), "outcomes")) from error
        except DataError as error:
            return _page(site, request, person, wrong=str(error), table=table, source=source)
        return go("/export", said="outcomes")

    return router


def _page(
    site: Site,
    request: Request,
    person: Person,
    *,
    wrong: str = "",
    table: str = "",
    source: str = "",
) -> Response:
    return site.page(
        request,
        person,
        "export.html",
        422 if wrong else 200,
        files=FILES,
        chain=site.once("chain", site.review.verify),
        about=site.review.about,
        policy=site.review.policy,
        wrong=wrong,
        table=table,
        source=source,
    )
