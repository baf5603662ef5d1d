"""/ui/datasets: the data sets that a caller uploaded, and what is in each."""

import contextlib
from urllib.parse import urlencode

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from app import datasets
from app.api.datasets import KnownDataset, OwnDataset, owner_shown
from app.api.given import Db, Looking
from app.drawing import draw

PER_PAGE = 25
UNREAD = ("uploaded", "validating")

router = APIRouter(prefix="/ui/datasets", include_in_schema=False)


@router.get("")
def datasets_page(db: Db, visitor: Looking, cursor: str | None = None) -> HTMLResponse:
    found, next_cursor = datasets.page(db, PER_PAGE, cursor, owner_shown(visitor.caller))
    return draw(
        "datasets.html",
        visitor,
        here="datasets",
        found=found,
        active=any(each.state in UNREAD for each in found),
        older=f"/ui/datasets?{urlencode({'cursor': next_cursor})}" if next_cursor else None,
        newest="/ui/datasets" if cursor else None,
    )


@router.get("/{dataset_id}")
def dataset_page(found: KnownDataset, visitor: Looking) -> HTMLResponse:
    return draw("dataset.html", visitor, here="dataset", dataset=found, active=found.state in UNREAD, in_use=None)


@router.post("/{dataset_id}/delete")
def delete(found: OwnDataset, db: Db, visitor: Looking) -> Response:
    try:
        # Another page may have deleted it since this one was drawn.
        with contextlib.suppress(datasets.DatasetNotFound):
            datasets.remove(db, found.id, visitor.caller)
    except datasets.DatasetInUse as error:
        page = draw("dataset.html", visitor, here="dataset", dataset=found, active=False, in_use=str(error))
        page.status_code = 409
        return page
    return RedirectResponse("/ui/datasets", status_code=303)
