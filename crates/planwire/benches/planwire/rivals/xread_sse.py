"""Server-sent events of a Redis stream, as one writes them in Python: redis-py's XREAD and sse-starlette.

`xread_sse.py REDIS_PORT`: `GET /?stream=NAME` follows that stream from now on. Prints its own port.
"""

import asyncio
import logging
import socket
import sys

import redis.asyncio
import uvicorn
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.routing import Route

# Entries of one XREAD, so that a burst costs few of them.
COUNT = 512


def follow(client):
    async def answer(request):
        stream = request.query_params["stream"]

        async def frames():
            last = await client.xrevrange(stream, count=1)
            after = last[0][0] if last else "0"
            yield ServerSentEvent(comment="hello", sep="\n")
            while True:
                for _, entries in await client.xread({stream: after}, count=COUNT, block=1_000):
                    for after, fields in entries:
                        yield ServerSentEvent(data=fields[b"e"].decode(), id=after.decode(), sep="\n")

        return EventSourceResponse(frames(), sep="\n", ping=3600)

    return answer


async def main():
    logging.disable(logging.CRITICAL)
    client = redis.asyncio.Redis(host="127.0.0.1", port=int(sys.argv[1]), protocol=2)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    app = Starlette(routes=[Route("/", follow(client))])
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    listener.listen(128)
    print(listener.getsockname()[1], flush=True)
    await server.serve(sockets=[listener])


asyncio.run(main())
