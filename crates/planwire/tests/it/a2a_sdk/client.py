"""The official A2A client for Python against a running server: `client.py URL BINDING`.

Prints one JSON object per scenario, and `cut` where the server shall be killed and started again; then waits for a line.
"""

import asyncio
import json
import sys

import httpx
from a2a.client import ClientConfig, ClientFactory
from a2a.client.client import ClientCallContext
from a2a.client.errors import A2AClientError
from a2a.types.a2a_pb2 import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    SubscribeToTaskRequest,
    TaskState,
)
from google.protobuf.json_format import MessageToDict

URL, BINDING = sys.argv[1:3]
EXTENSION = "urn:planwire:a2a:plan-events:1"
numbers = iter(range(1_000_000))


def message(text, skill=None, note=None, **members):
    metadata = {EXTENSION: note} if note else {"skillId": skill} if skill else None
    number = f"{BINDING}-{next(numbers)}"
    return Message(message_id=number, role=Role.ROLE_USER, parts=[Part(text=text)], metadata=metadata, **members)


def request(*arguments, immediately=False, **members):
    configuration = SendMessageConfiguration(return_immediately=immediately)
    return SendMessageRequest(message=message(*arguments, **members), configuration=configuration)


def note(holder):
    """What our extension says of a task or an update."""
    return MessageToDict(holder.metadata)[EXTENSION]


def kind(update):
    return update.WhichOneof("payload")


def state(holder):
    return TaskState.Name(holder.status.state).removeprefix("TASK_STATE_")


def holder(update):
    return getattr(update, kind(update))


def text(parts):
    return "".join(part.text for part in parts)


async def client(streaming):
    http = httpx.AsyncClient(timeout=httpx.Timeout(5))
    config = ClientConfig(streaming=streaming, supported_protocol_bindings=[BINDING], httpx_client=http)
    return await ClientFactory(config).create_from_url(URL)


async def collect(stream):
    return [update async for update in stream]


def contiguous(updates, after=None):
    """The seqs follow each other without a gap or a repetition."""
    seqs = [int(note(holder(update))["seq"]) for update in updates]
    first = seqs[0] if after is None else after
    expected = list(range(first, first + len(seqs)))
    assert seqs == expected, seqs
    return seqs[-1]


async def send(calls):
    [answer] = await collect(calls.send_message(request("Ann", "greet")))
    task = answer.task
    assert state(task) == "COMPLETED", task
    assert text(task.status.message.parts).startswith("Hello, Ann"), task
    [artifact] = task.artifacts
    assert (artifact.name, text(artifact.parts)) == ("card.txt", "Dear Ann"), artifact
    [direct] = await collect(calls.send_message(request("ping")))
    assert text(direct.message.parts) == "pong", direct
    return {"state": state(task)}


async def stream(streams):
    updates = await collect(streams.send_message(request("Bob", "greet")))
    kinds = [kind(update) for update in updates]
    assert kinds[0] == "task" and set(kinds[1:]) == {"status_update", "artifact_update"}, kinds
    contiguous(updates)
    assert state(updates[-1].status_update) == "COMPLETED"
    return {"updates": len(updates)}


async def second_subscriber(calls, streams):
    [answer] = await collect(calls.send_message(request("go", "ask", immediately=True)))
    task = answer.task.id
    both = [asyncio.create_task(collect(streams.subscribe(SubscribeToTaskRequest(id=task)))) for _ in range(2)]
    await wait_for(calls, task, "INPUT_REQUIRED")
    await collect(calls.send_message(request("blue", task_id=task)))
    one, two = [await each for each in both]
    seqs = [{int(note(holder(update))["seq"]) for update in updates[1:]} for updates in (one, two)]
    later = max(min(seqs[0]), min(seqs[1]))
    assert {seq for seq in seqs[0] if seq >= later} == {seq for seq in seqs[1] if seq >= later}
    for updates in (one, two):
        assert kind(updates[0]) == "task"
        contiguous(updates)
        assert state(updates[-1].status_update) == "COMPLETED"
    return {"updates": [len(one), len(two)]}


async def wait_for(calls, task, wanted):
    for _ in range(200):
        found = await calls.get_task(GetTaskRequest(id=task))
        if state(found) == wanted:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"{task} is {state(found)}, not {wanted}")


async def multi_turn(calls):
    [answer] = await collect(calls.send_message(request("go", "ask")))
    asked = answer.task
    assert state(asked) == "INPUT_REQUIRED", asked
    assert text(asked.status.message.parts) == "Which colour?", asked
    [answer] = await collect(calls.send_message(request("green", task_id=asked.id)))
    assert (answer.task.id, state(answer.task)) == (asked.id, "COMPLETED"), answer
    assert answer.task.context_id == asked.context_id
    assert "green" in text(answer.task.status.message.parts), answer
    said = [text(entry.parts) for entry in answer.task.history]
    assert said[:3] == ["go", "Which colour?", "green"], said
    return {"history": said}


async def subplan_question(calls):
    [answer] = await collect(calls.send_message(request("go", "parent")))
    root = answer.task
    assert (state(root), text(root.status.message.parts)) == ("INPUT_REQUIRED", "Which colour?"), root
    [answer] = await collect(calls.send_message(request("red", task_id=root.id)))
    assert (answer.task.id, state(answer.task)) == (root.id, "COMPLETED"), answer
    listed = await calls.list_tasks(ListTasksRequest(context_id=root.context_id))
    assert len(listed.tasks) == 2 and listed.total_size == 2, listed
    return {"tasks": len(listed.tasks)}


async def cancel(calls):
    [answer] = await collect(calls.send_message(request("go", "ask")))
    canceled = await calls.cancel_task(CancelTaskRequest(id=answer.task.id))
    assert state(canceled) == "CANCELED", canceled
    return {"state": state(canceled)}


async def pause(calls):
    extended = ClientCallContext(service_parameters={"A2A-Extensions": EXTENSION})

    async def asks(what):
        wish = request(what, task_id=task, note={"request": what, "reason": "lunch"})
        [answer] = await collect(calls.send_message(wish, context=extended))
        return answer.task

    [answer] = await collect(calls.send_message(request("go", "twice")))
    task = answer.task.id
    assert note(await asks("pause"))["paused"]
    [answer] = await collect(calls.send_message(request("green", task_id=task, immediately=True)))
    assert (state(answer.task), note(answer.task)["paused"]) == ("WORKING", True), answer
    assert text(answer.task.status.message.parts).endswith("asked the task to pause: lunch"), answer
    assert "paused" not in note(await asks("resume"))
    asked = await wait_for(calls, task, "INPUT_REQUIRED")
    assert text(asked.status.message.parts) == "Which size?", asked
    return {"state": state(asked)}


async def listing(calls):
    pages, token = [], ""
    while True:
        page = await calls.list_tasks(ListTasksRequest(page_size=2, page_token=token))
        pages += page.tasks
        assert len(page.tasks) <= 2
        token = page.next_page_token
        if not token:
            break
    ids = [task.id for task in pages]
    assert len(ids) == len(set(ids)) == page.total_size, (ids, page.total_size)
    times = [task.status.timestamp.ToMilliseconds() for task in pages]
    assert times == sorted(times, reverse=True), times
    return {"tasks": len(ids)}


async def cut_server():
    print("cut", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


# Updates of one connection, in turn; each kill of the server brings twelve new ones, so none waits in vain.
SIZES = [0, 0, 9]


class Followed:
    """A task, followed over many connections."""

    def __init__(self):
        self.seen, self.cursor, self.ended = [], None, False

    def take(self, update):
        """Takes an update in; whether it is one, and not the task as of the cursor."""
        said = note(holder(update))
        self.cursor = said["cursor"]
        if kind(update) == "task":
            # What follows it is new.
            assert not self.seen or int(said["seq"]) == self.seen[-1], (said, self.seen[-1])
            self.seen = self.seen or list(range(1, int(said["seq"]) + 1))
            return False
        self.seen.append(int(said["seq"]))
        self.ended = state(update.status_update) == "COMPLETED"
        return True


async def connection(followed, size, kill):
    """Takes so many updates; then leaves, or lets the server be killed and takes what still comes."""
    streams = await client(streaming=True)
    # With the extension the rest of a task that has ended meanwhile is sent too.
    headers = {"A2A-Extensions": EXTENSION}
    if followed.cursor:
        headers["Last-Event-ID"] = followed.cursor
    context = ClientCallContext(service_parameters=headers)
    taken = 0
    async for update in streams.subscribe(SubscribeToTaskRequest(id="resumed"), context=context):
        taken += followed.take(update)
        if taken == size:
            if not kill:
                break
            await cut_server()
    await streams.close()


async def resume():
    """Follows a task to its end, cut off at many places; the server is killed once in three."""
    followed, cuts = Followed(), 0
    while not followed.ended:
        try:
            await connection(followed, SIZES[cuts % 3], kill=cuts % 3 == 1)
        except (A2AClientError, httpx.HTTPError):
            pass
        cuts += not followed.ended
    assert followed.seen == list(range(1, len(followed.seen) + 1)), followed.seen
    return {"updates": len(followed.seen), "cuts": cuts}


async def main():
    calls, streams = await client(streaming=False), await client(streaming=True)
    for scenario in [send(calls), stream(streams), second_subscriber(calls, streams), multi_turn(calls),
                     subplan_question(calls), cancel(calls), pause(calls), listing(calls), resume()]:
        name = scenario.__name__
        print(json.dumps({"scenario": name, **await scenario}), flush=True)


asyncio.run(main())
