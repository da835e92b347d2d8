"""Which handler serves which API number.

An API handler is a function of a session and a request that returns a reply or raises
`irods_zone.errors.IrodsError`. Handlers stand in `irods_zone.api`, are registered with `handles`
and are called by their number alone, so their names are private::

    @handles(Api.OBJ_STAT_AN)
    def _obj_stat(session: Session, request: Request) -> Reply:
        ...

``session`` is the connection's state (`irods_zone.session.Session`): user, open descriptors, ticket
and, through ``session.zone``, the zone's catalog and write locks. ``request.node`` is the input
structure of the API as iRODS names it, ``request.node.keywords()`` its options.
"""

from __future__ import annotations

from collections.abc import Callable

from .api_messages import Reply, Request
from .api_numbers import Api
from .session import Session

Handler = Callable[[Session, Request], Reply]
HANDLERS: dict[int, Handler] = {}


def handles(*numbers: Api) -> Callable[[Handler], Handler]:
    """Register the decorated function as the handler of these APIs."""

    def register(handler: Handler) -> Handler:
        for number in numbers:
            HANDLERS[number] = handler
        return handler

    return register
