"""/api/v1/jobs/{id}/events: a job as it happens, as server-sent events."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.api.answers import moment
from app.api.given import Known, Live
from app.problems import documented

router = APIRouter(prefix="/jobs/{job_id}", tags=["results"])

Seq = Annotated[int, Query(ge=0, lt=2**63, description="read on after this event")]
LastEventId = Annotated[int, Header(alias="Last-Event-ID", ge=0, lt=2**63, description="the same, as browsers send it")]


@router.get("/events", response_class=EventSourceResponse, responses=documented(404, 422))
async def follow(job: Known, feed: Live, after: Seq = 0, last: LastEventId = 0) -> AsyncIterator[ServerSentEvent]:
    """The events of a job, all of them or those after the greater of `after` and `Last-Event-ID`; ends with the job.

    `id:` is the event's place in the order of all events, `event:` its type, `data:` a JSON object with the time `at`.
    """
    async for event in feed.follow(job.id, max(after, last)):
        yield ServerSentEvent(data={"at": moment(event.at), **event.data}, event=event.type, id=str(event.seq))
