"""An MCP server for tests, of the standard library alone. Notes what it hears in the file that FAKE_LOG names."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

LOCK = threading.Lock()
CANCELLED = threading.Event()
MODE = sys.argv[1] if len(sys.argv) > 1 else "well"
FAMILY = """
trap '' TERM
setsid sh -c 'echo >> there; exec sleep 1000' &
(setsid sh -c 'echo >> there; exec sleep 1000' &)
sh -c 'echo >> there; kill -STOP $$; sleep 1000' &
"""

TOOLS = [
    {
        "name": "echo",
        "description": "gives back",
        "inputSchema": {
            "type": "object",
            "properties": {"text": {"$ref": "#/$defs/Text"}, "times": {"type": "integer", "minimum": 1}},
            "required": ["text"],
            "$defs": {"Text": {"type": "string", "maxLength": 20}},
        },
    }
]
TOOLS += [
    {"name": name, "inputSchema": {"type": "object"}}
    for name in (
        "environment", "die", "die_first", "wait", "progress", "big", "long", "error", "meta", "pid", "grow", "refuse",
        "ask", "orphan", "deaf", "family", "hoard", "touch",
    )
]


def note(what):
    """Writes it down, then wakes who waits for notes, who has work to do already if the socket is full."""
    path = os.environ.get("FAKE_LOG")
    if path:
        with LOCK, open(path, "a", encoding="utf-8") as log:
            log.write(json.dumps(what) + "\n")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wake, contextlib.suppress(OSError):
            wake.setblocking(False)
            wake.sendto(b"", path + ".wake")


def send(message):
    with LOCK:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()


def text(value, **more):
    return {"content": [{"type": "text", "text": value}], **more}


def call(request_id, params):
    name, arguments = params["name"], params.get("arguments", {})
    if name == "echo":
        result = text(" ".join([arguments["text"]] * arguments.get("times", 1)))
    elif name == "environment":
        result = text("", structuredContent={"names": sorted(os.environ), "folder": os.getcwd()})
    elif name == "meta":
        result = text("", structuredContent=params.get("_meta", {}))
    elif name == "pid":
        result = text(str(os.getpid()))
    elif name == "die":
        sys.stderr.write("I am dying\n")
        sys.stderr.flush()
        os._exit(3)
    elif name == "die_first":
        path = os.environ["FAKE_LOG"] + ".died"
        if not os.path.exists(path):
            open(path, "w", encoding="utf-8").close()
            os.kill(os.getpid(), signal.SIGKILL)
        result = text("alive")
    elif name == "orphan":
        # A child that holds the pipes and hears no signal but one.
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        child = subprocess.Popen([sys.executable, "-c", code])
        note({"orphan": child.pid})
        if arguments.get("die"):
            os._exit(4)
        result = text(str(child.pid))
    elif name == "family":
        # One has a session of its own, one was started by a process that has ended, one is stopped. None hears the
        # request to end, and all hold the pipes. Each says in the working folder that it is there.
        subprocess.run(["sh", "-c", FAMILY], check=True)
        if arguments.get("hang"):
            while True:
                time.sleep(60)
        result = text("all there")
    elif name == "hoard":
        hoard = []
        while len(hoard) < arguments["mib"]:
            hoard.append(b"x" * (1024 * 1024))
            time.sleep(0.005)
        while True:
            time.sleep(60)
    elif name == "touch":
        try:
            open(arguments["path"], "w", encoding="utf-8").close()
            result = text("touched")
        except OSError as error:
            result = text(error.strerror, isError=True)
    elif name in ("wait", "deaf"):
        note("waiting")
        if name == "wait":
            CANCELLED.wait()
            note("gave up")
            return
        while True:
            time.sleep(60)
    elif name == "progress":
        token = params["_meta"]["progressToken"]
        for at in range(arguments.get("steps", 3)):
            progress = {"progressToken": token, "progress": at + 1, "total": 3, "message": "swordfish-17"}
            send({"method": "notifications/progress", "params": progress})
        go = os.environ["FAKE_LOG"] + ".go"
        os.mkfifo(go)
        note("progressed")
        # Opening it waits for whoever opens the other end.
        open(go, encoding="utf-8").close()
        result = text("done")
    elif name == "big":
        result = text("x" * arguments["bytes"])
    elif name == "long":
        sys.stdout.write("x" * (9 * 1024 * 1024))
        sys.stdout.flush()
        return
    elif name == "error":
        result = text("as asked", isError=True)
    elif name == "refuse":
        send({"id": request_id, "error": {"code": -32000, "message": "not today"}})
        return
    elif name == "ask":
        result = {"resultType": "input_required", "inputRequests": {}}
    elif name == "grow":
        TOOLS.append({"name": "grown", "inputSchema": {"type": "object", "required": ["a"]}})
        send({"method": "notifications/tools/list_changed"})
        result = text("grown")
    else:
        result = text("no such tool", isError=True)
    send({"id": request_id, "result": result})


def answer(message):
    method, request_id = message.get("method"), message.get("id")
    if method == "initialize":
        capabilities = {"tools": {"listChanged": True}}
        info = {"name": "fake", "version": "1"}
        version = message["params"]["protocolVersion"]
        result = {"protocolVersion": version, "capabilities": capabilities, "serverInfo": info}
        send({"id": request_id, "result": result})
    elif method == "tools/list":
        send({"id": request_id, "result": {"tools": TOOLS}})
    elif method == "tools/call":
        threading.Thread(target=call, args=(request_id, message["params"]), daemon=True).start()
    elif method == "notifications/cancelled":
        CANCELLED.set()
    elif request_id is not None and method:
        send({"id": request_id, "error": {"code": -32601, "message": "method not found"}})


def main():
    note({"started": os.getpid()})
    sys.stderr.write("ready with swordfish-17\n")
    sys.stderr.flush()
    if MODE == "ends":
        sys.stderr.write("no licence\n")
        sys.exit(1)
    if MODE == "silent":
        while True:
            time.sleep(60)
    if MODE == "nonsense":
        sys.stdout.write("hello\n{\"jsonrpc\": 7}\n[]\n\xff\x00\n")
        sys.stdout.flush()
    if MODE == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin:
        message = json.loads(line)
        note({"heard": message.get("method")})
        answer(message)
    note("input closed")
    if MODE == "stubborn":
        while True:
            time.sleep(60)


main()
