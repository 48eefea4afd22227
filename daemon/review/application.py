"""The web application: which address is answered by what."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from daemon.reloading.checkpoint_source import CheckpointSource
from daemon.review import answers
from daemon.review.answers import parsed, reply
from daemon.review.api import (
    MOST_GROUPS,
    MOST_IMAGES,
    SIZES,
    Changes,
    ClassOrdering,
    Decisions,
    DecisionStates,
    Entered,
    Password,
    Session,
)
from daemon.review.audit_api import NewAudit
from daemon.review.audits import Auditing
from daemon.review.decisions import DecisionQueue
from daemon.review.guard import Door, Guard
from daemon.review.images import Images
from daemon.review.keys import WRONG_PASSWORD_SECONDS, Keys
from daemon.review.learnt_images import LearntImages
from daemon.review.model_api import ModelTask
from daemon.review.model_tasks import ModelTasks
from daemon.review.model_view import ModelView
from daemon.review.place import ReviewedOutput
from daemon.review.refusals import Refusal, ending
from daemon.review.rendering import page_file, render_entrance, render_page
from daemon.review.thumbnails import MEDIA_TYPE, Thumbnails
from daemon.review.views import Views
from daemon.review.words import words
from models.errors import CheckpointError, UserError
from models.text.language import in_use, tr

#: Seconds that a question for changes is kept, and between two looks at the journal meanwhile.
CHANGES_SECONDS, LOOK_SECONDS = 25.0, 0.4
#: Groups of the pile that the page is sent with, and images of each: those that a window may show.
FIRST_PAGE = (4, 12)
#: What needs no session: the page says how to get in.
_OPEN_PATHS = ("/", "/enter/", "/api/password", "/page/")
#: Tries of a password that wait for one another; more are sent away, so that whoever guesses keeps no thread busy.
MOST_TRIES = 4
_Endpoint = Callable[[HttpRequest], Response] | Callable[[HttpRequest], Awaitable[Response]]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the application is made of. ``is_ending``: whether the server was told to end, and waits for its answers."""

    place: ReviewedOutput
    door: Door
    keys: Keys
    images: Images
    thumbnails: Thumbnails
    decisions: DecisionQueue
    views: Views
    auditing: Auditing
    model: ModelView
    learnt: LearntImages
    tasks: ModelTasks
    is_ending: Callable[[], bool]


class Application:
    """Endpoints of the application; those that are no coroutines are called in threads."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._checkpoints = CheckpointSource(parts.place.settings.checkpoint)
        self._model: str | None = None
        self._state: object = None
        self._looked_at = -float("inf")
        self._trying = asyncio.Lock()
        self._tries = 0

    def asgi(self) -> ASGIApp:
        """Make the application, guarded."""
        get: dict[str, _Endpoint] = {
            "/": self.page,
            "/enter/{token}": self.enter,
            "/page/{name}": self.page_file,
            "/thumbnails/{image:int}/{size:int}": self.thumbnail,
            "/api/session": self.session,
            "/api/words": self.words,
            "/api/changes": self.changes,
            "/api/classes": self.classes,
            "/api/unsure": self.unsure,
            "/api/unsure/group": self.group,
            "/api/class": self.class_images,
            "/api/quarantine": self.quarantine,
            "/api/live": self.live,
            "/thumbnails/learnt/{number:int}/{size:int}": self.learnt_thumbnail,
            "/api/audits": self.audits,
            "/api/audit": self.audit,
            "/api/model": self.model,
            "/api/model/cell": self.cell,
        }
        post: dict[str, _Endpoint] = {
            "/api/password": self.password,
            "/api/decisions": self.decide,
            "/api/audits": self.draw_audit,
            "/api/model/task": self.begin_task,
        }
        routes = [Route(path, endpoint, methods=["GET"]) for path, endpoint in get.items()]
        routes += [Route(path, endpoint, methods=["POST"]) for path, endpoint in post.items()]
        handlers: dict[Any, Any] = {
            Refusal: lambda _, refusal: answers.refused(refusal),
            UserError: lambda _, error: answers.refused(answers.as_refusal(error)),
            404: lambda *_: answers.refused(Refusal(404, tr("there is nothing at this address"))),
            405: lambda *_: answers.refused(Refusal(405, tr("that cannot be done here"))),
        }
        parts = self._parts
        return Guard(Starlette(routes=routes, exception_handlers=handlers), parts.door, parts.keys, _OPEN_PATHS)

    async def page(self, request: HttpRequest) -> Response:
        """Show the page, with what it would ask for first; or how to get in."""
        prefix = self._parts.door.prefix
        if not request.scope["session"]:
            html = render_entrance(prefix=prefix, has_password=self._parts.keys.has_password)
            return Response(html, 401, media_type="text/html")
        html = render_page(await self._begun(), prefix=prefix)
        return Response(html, media_type="text/html")

    async def _begun(self) -> str:
        """Answer what the page would ask for before there is anything to see, as JSON; "" where that cannot be now."""
        views = self._parts.views
        try:
            answers: dict[str, BaseModel] = {
                "session": await self._session(),
                "classes": await run_in_threadpool(views.classes),
                "unsure": await run_in_threadpool(views.unsure, None, *FIRST_PAGE),
            }
        except (Refusal, UserError):
            return ""
        parts = {name: answer.model_dump_json() for name, answer in answers.items()} | {"words": json.dumps(words())}
        return "{" + ",".join(f'"{name}":{part}' for name, part in parts.items()) + "}"

    async def page_file(self, request: HttpRequest) -> Response:
        """Send a file of the page, which the browser asks for again at each load and has kept unless it changed."""
        file = page_file(str(request.path_params["name"]))
        if file is None:
            raise Refusal(404, tr("there is nothing at this address"))
        headers = {"cache-control": "no-cache", "etag": file.tag}
        if request.headers.get("if-none-match") == file.tag:
            return Response(status_code=304, headers=headers)
        return Response(file.content, media_type=file.media_type, headers=headers)

    def enter(self, request: HttpRequest) -> Response:
        """Let in who has a link that was not used yet."""
        cookie = self._parts.keys.enter(str(request.path_params["token"]))
        response = RedirectResponse(f"{self._parts.door.prefix}/", 303)
        if cookie is not None:
            self._let_in(request, response, cookie)
        return response

    async def password(self, request: HttpRequest) -> Response:
        """Let in who knows the password."""
        asked = parsed(Password, await request.body())
        if self._tries == MOST_TRIES:
            raise Refusal(429, tr("too many are trying passwords just now: try again in a few seconds"))
        self._tries += 1
        try:
            async with self._trying:
                self._refuse_at_the_end()
                cookie = await run_in_threadpool(self._parts.keys.enter_with_password, asked.password)
                if cookie is None:
                    await asyncio.sleep(WRONG_PASSWORD_SECONDS)
        finally:
            self._tries -= 1
        if cookie is None:
            raise Refusal(401, tr("the password is wrong"))
        response = reply(Entered())
        self._let_in(request, response, cookie)
        return response

    def _let_in(self, request: HttpRequest, response: Response, cookie: str) -> None:
        is_secure = request.headers.get("x-forwarded-proto") == "https"
        response.headers["set-cookie"] = self._parts.door.session_cookie(cookie, is_secure=is_secure)

    def thumbnail(self, request: HttpRequest) -> Response:
        """Send a thumbnail."""
        size = request.path_params["size"]
        if size not in SIZES:
            raise Refusal(404, tr("there is nothing at this address"))
        filing = self._parts.images.filing(request.path_params["image"])
        content = self._parts.thumbnails.of_filing(filing, size)
        headers = {"cache-control": "private, max-age=3600"}
        return Response(content, media_type=MEDIA_TYPE, headers=headers)

    async def session(self, _: HttpRequest) -> Response:
        """Say what the page needs to begin."""
        return reply(await self._session())

    async def _session(self) -> Session:
        # What changes from here on is a change for the page, whenever it first asks for changes.
        await self._look()
        parts = self._parts
        settings = parts.place.settings
        return Session(
            prefix=parts.door.prefix,
            language=in_use(),
            output=str(settings.output.name),
            others=settings.others_dir,
            daemon=await run_in_threadpool(self._is_running),
            revision=parts.decisions.revision,
            model=self._model,
            threshold=settings.threshold if isinstance(settings.threshold, float) else None,
        )

    def words(self, _: HttpRequest) -> Response:
        """Send the sentences of the page's scripts."""
        return JSONResponse(words())

    async def changes(self, request: HttpRequest) -> Response:
        """Wait for changes."""
        decisions = self._parts.decisions
        since = _number(request, "since") or 0
        keys = [key for key in request.query_params.get("keys", "").split(",") if key][:MOST_IMAGES]
        deadline = time.monotonic() + CHANGES_SECONDS
        while decisions.revision <= since and time.monotonic() < deadline:
            self._refuse_at_the_end()
            if await request.is_disconnected():
                break
            await self._look()
            if decisions.revision <= since:
                await asyncio.sleep(0.1)
        return reply(
            Changes(
                revision=decisions.revision,
                decisions=decisions.states(keys),
                decided=decisions.decided_since(since),
                waiting=decisions.length,
                trouble=decisions.trouble,
                daemon=await run_in_threadpool(self._is_running),
                model=self._model,
            )
        )

    def _refuse_at_the_end(self) -> None:
        """Let nobody wait on once the server is to end, which it does not before all are answered. Raises `Refusal`."""
        if self._parts.is_ending():
            raise ending()

    async def _look(self) -> None:
        """See whether the journal has changed, or another model is in use, not too often."""
        if time.monotonic() - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        try:
            journal = await run_in_threadpool(self._parts.images.read, lambda reader: reader.state())
        except Refusal:
            return
        with suppress(CheckpointError):  # the view of the model says so
            published = await run_in_threadpool(self._checkpoints.find)
            self._model = None if published is None else published.path.parent.name
        state = journal, self._model
        if state != self._state:
            if self._state is not None:
                self._parts.decisions.count_change()
            self._state = state

    async def decide(self, request: HttpRequest) -> Response:
        """Take decisions."""
        asked = parsed(Decisions, await request.body())
        decisions = self._parts.decisions
        states = await run_in_threadpool(decisions.submit, asked.decisions)
        return reply(DecisionStates(decisions=states, revision=decisions.revision))

    def classes(self, _: HttpRequest) -> Response:
        """List the classes."""
        return reply(self._parts.views.classes())

    def unsure(self, request: HttpRequest) -> Response:
        """Show groups of the pile."""
        limit, images = _limit(request, "limit", 20, MOST_GROUPS), _limit(request, "images", 12, MOST_IMAGES)
        return reply(self._parts.views.unsure(_number(request, "after"), limit, images))

    def group(self, request: HttpRequest) -> Response:
        """Show more of one group."""
        group = _number(request, "group")
        after, limit = _page(request)
        return reply(self._parts.views.group(-1 if group is None else group, after, limit))

    def class_images(self, request: HttpRequest) -> Response:
        """Show images of a class."""
        after, limit = _page(request)
        given = request.query_params.get("order", "least-sure")
        orders: tuple[ClassOrdering, ...] = get_args(ClassOrdering)
        order = next((one for one in orders if one == given), orders[0])
        return reply(self._parts.views.class_images(request.query_params.get("name", ""), after, limit, order))

    def quarantine(self, request: HttpRequest) -> Response:
        """Show unreadable images."""
        after, limit = _page(request)
        return reply(self._parts.views.quarantine(request.query_params.get("reason"), after, limit))

    def live(self, request: HttpRequest) -> Response:
        """Show what was filed last."""
        after, limit = _page(request)
        return reply(self._parts.views.live(_limit(request, "minutes", 10, 1440), after, limit))

    def audits(self, _: HttpRequest) -> Response:
        """List the audits."""
        return reply(self._parts.auditing.history())

    def audit(self, request: HttpRequest) -> Response:
        """Show one audit."""
        return reply(self._parts.auditing.show(request.query_params.get("audit", "")))

    async def draw_audit(self, request: HttpRequest) -> Response:
        """Draw an audit."""
        asked = parsed(NewAudit, await request.body())
        return reply(await run_in_threadpool(self._parts.auditing.draw, asked))

    def model(self, _: HttpRequest) -> Response:
        """Describe the model in use."""
        return reply(self._parts.model.state())

    def cell(self, request: HttpRequest) -> Response:
        """Show the images behind a cell of the confusion matrix."""
        after, limit = _page(request)
        actual, predicted = (request.query_params.get(name, "") for name in ("actual", "predicted"))
        return reply(self._parts.model.cell(actual, predicted, after, limit))

    def learnt_thumbnail(self, request: HttpRequest) -> Response:
        """Send a thumbnail of an image of the data set."""
        size = request.path_params["size"]
        if size not in SIZES:
            raise Refusal(404, tr("there is nothing at this address"))
        content = self._parts.learnt.thumbnail(request.path_params["number"], size)
        return Response(content, media_type=MEDIA_TYPE, headers={"cache-control": "private, max-age=3600"})

    async def begin_task(self, request: HttpRequest) -> Response:
        """Have something done with the model."""
        asked = parsed(ModelTask, await request.body())
        return reply(await run_in_threadpool(self._parts.tasks.begin, asked))

    def _is_running(self) -> bool:
        try:
            return self._parts.place.is_running()
        except UserError:
            return False


def _page(request: HttpRequest) -> tuple[int | None, int]:
    return _number(request, "after"), _limit(request, "limit", 60, MOST_IMAGES)


def _limit(request: HttpRequest, name: str, usual: int, most: int) -> int:
    number = _number(request, name)
    return usual if number is None else max(1, min(number, most))


def _number(request: HttpRequest, name: str) -> int | None:
    """Read a number of the query. Raises `Refusal`."""
    text = request.query_params.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise Refusal(400, tr("{name} is not a number", name=name))
    return int(text)
