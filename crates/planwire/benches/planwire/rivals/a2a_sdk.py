"""The server of the official A2A SDK for Python, as a rival of the benchmark.

`a2a_sdk.py UPDATES [DATABASE]`: an agent that answers each message with a task of so many updates in a burst. Without a
database it keeps tasks in memory, else in that SQLite file, written with synchronous=FULL. Prints its port.
"""

import asyncio
import logging
import socket
import sys

import uvicorn
from a2a.helpers.proto_helpers import new_task_from_user_message, new_text_part
from a2a.server.agent_execution.agent_executor import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore
from a2a.server.tasks.task_updater import TaskUpdater
from a2a.types.a2a_pb2 import AgentCapabilities, AgentCard, AgentInterface, TaskState
from starlette.applications import Starlette


class Burst(AgentExecutor):
    """Publishes all updates of a task one after the other, as fast as the SDK takes them."""

    def __init__(self, updates):
        self.updates = updates

    async def execute(self, context, event_queue):
        task = new_task_from_user_message(context.message)
        await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        for number in range(self.updates):
            # A message of the size of what a plan says of a decision.
            message = updater.new_agent_message([new_text_part(f"{number} {'x' * 150}")])
            await updater.update_status(TaskState.TASK_STATE_WORKING, message)
        await updater.complete()

    async def cancel(self, context, event_queue):
        raise NotImplementedError


async def store(database):
    if database is None:
        return InMemoryTaskStore()
    from a2a.server.tasks import DatabaseTaskStore
    from sqlalchemy import event
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(f"sqlite+aiosqlite:///{database}")

    @event.listens_for(engine.sync_engine, "connect")
    def durable(connection, _record):
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    tasks = DatabaseTaskStore(engine)
    await tasks.initialize()
    return tasks


async def main():
    logging.disable(logging.CRITICAL)
    updates = int(sys.argv[1])
    database = sys.argv[2] if len(sys.argv) > 2 else None
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    card = AgentCard(
        name="rival",
        description="bursts",
        version="1",
        capabilities=AgentCapabilities(streaming=True),
        supported_interfaces=[
            AgentInterface(url=f"http://127.0.0.1:{port}/", protocol_binding="JSONRPC", protocol_version="1.0")
        ],
    )
    handler = DefaultRequestHandler(agent_executor=Burst(updates), task_store=await store(database), agent_card=card)
    app = Starlette(routes=create_jsonrpc_routes(handler, "/"))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    listener.listen(128)
    print(port, flush=True)
    await server.serve(sockets=[listener])


asyncio.run(main())
