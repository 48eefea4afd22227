"""Put the server together, and run it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import uvicorn

from daemon.review.application import Application, Parts
from daemon.review.audit_book import AuditBook
from daemon.review.audits import Auditing
from daemon.review.carrying_out import CarryingOut
from daemon.review.comparing import Comparing
from daemon.review.decisions import DecisionQueue
from daemon.review.grouping import Grouping
from daemon.review.guard import Door
from daemon.review.images import Images
from daemon.review.keys import Keys
from daemon.review.learnt_images import LearntImages
from daemon.review.model_tasks import ModelTasks
from daemon.review.model_view import ModelView
from daemon.review.pile import PileReader
from daemon.review.place import ReviewedOutput
from daemon.review.serving import Address, make_server, with_port
from daemon.review.thumbnails import Thumbnails
from daemon.review.unlikeness import Unlikeness
from daemon.review.views import Views

#: Seconds after which the pile is grouped once somebody looks at it.
_GROUPING_AFTER = 1.0


class Served(NamedTuple):
    """A server that is about to run."""

    server: uvicorn.Server
    keys: Keys
    door: Door


@contextmanager
def serving(place: ReviewedOutput, door: Door) -> Iterator[Served]:
    """Make the server, and end all that it has begun. Raises `UserError`."""
    keys = Keys.load(place.state)
    with ExitStack() as closing:
        images = Images(place)
        closing.callback(images.close)
        thumbnails = Thumbnails(place)
        closing.callback(thumbnails.close)
        pile = PileReader(place, images)
        book = AuditBook(place.state)
        learnt = LearntImages(place, images, thumbnails)
        decisions = DecisionQueue(
            CarryingOut(place, images, book, learnt.seen), place.is_running, on_decided=pile.leave_out
        )
        closing.callback(decisions.close)
        comparing = Comparing(place, images)
        closing.callback(comparing.close)
        unlikeness = Unlikeness(comparing, decisions.count_change)
        views = Views(place, images, pile, Grouping(comparing, delay=_GROUPING_AFTER), unlikeness, decisions)
        warming = threading.Thread(target=views.warm_up, name="warming", daemon=True)
        warming.start()
        closing.callback(warming.join)
        tasks = ModelTasks(place, decisions.count_change)
        closing.callback(tasks.close)
        parts = Parts(
            place=place,
            door=door,
            keys=keys,
            images=images,
            thumbnails=thumbnails,
            decisions=decisions,
            views=views,
            auditing=Auditing(place, images, book, decisions),
            model=ModelView(place, learnt, tasks),
            learnt=learnt,
            tasks=tasks,
            is_ending=lambda: server.should_exit,
        )
        server = make_server(Application(parts).asgi(), thumbnails.close)
        yield Served(server, keys, door)


def door_for(address: Address, listener: socket.socket, hosts: Collection[str], prefix: str) -> Door:
    """Say by which names the server is called: those given, and where it listens."""
    names = {host.lower() for host in hosts}
    if address.path is None:
        port = listener.getsockname()[1]
        names |= {with_port(name, port) for name in (*names, address.shown_host)}
        names |= {f"localhost:{port}"} if address.is_local else set()
        cookie = f"imagesortd-{port}"
    else:
        cookie = "imagesortd"
    # A browser leaves out the port that is usual.
    names |= {name.removesuffix(usual) for name in names for usual in (":80", ":443")}
    return Door(hosts=frozenset(names), prefix=prefix, cookie=cookie)


def link(served: Served, base: str) -> str:
    """Make a link that is good once. ``base``: what it begins with, before the prefix."""
    return f"{base}{served.door.prefix}/enter/{served.keys.new_link()}"
