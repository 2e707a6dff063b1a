"""Reports what a folder holds with a LangGraph graph, whose run is seen live in Planwire.

    pip install 'planwire[langgraph]'
    planwire serve                                      # shows the page at http://127.0.0.1:7420
    python langgraph_report.py FOLDER --pace 0.5        # and watch

It needs no model and no network: the model is one of LangChain's own that says what it was told to. The one line that
publishes the run is the one with ``callbacks``.
"""

from __future__ import annotations

import argparse
import operator
import os
import time
import uuid
from pathlib import Path
from typing import Annotated, Any, Dict, List, TypedDict

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from planwire import URL
from planwire.langgraph import PlanwireCallbackHandler

FOLDERS_MAX = 4
"""Subfolders that get a subgraph of their own."""

FILES_MAX = 2_000
"""Files that are looked at in each."""

pace_s = 0.0
"""How long each tool takes at least, so that people can watch."""


class Report(TypedDict, total=False):
    """The state of the whole graph."""

    folder: str
    folders: List[str]
    facts: Annotated[List[str], operator.add]
    report: str


class Folder(TypedDict, total=False):
    """The state of the subgraph for one folder."""

    folder: str
    facts: Annotated[List[str], operator.add]


def files_below(folder: str) -> List[Path]:
    """The files of a folder and all below it."""
    found: List[Path] = []
    for path, _, names in os.walk(folder):
        found += [Path(path, name) for name in names]
        if len(found) >= FILES_MAX:
            break
    return found[:FILES_MAX]


@tool
def list_folder(folder: str) -> Dict[str, List[str]]:
    """Lists the subfolders and files of a folder."""
    time.sleep(pace_s)
    entries = sorted(Path(folder).iterdir())
    return {
        "folders": [each.name for each in entries if each.is_dir() and not each.is_symlink()],
        "files": [each.name for each in entries if each.is_file()],
    }


@tool
def count_files(folder: str) -> int:
    """Counts the files below a folder."""
    time.sleep(pace_s)
    return len(files_below(folder))


@tool
def largest_file(folder: str) -> str:
    """Finds the largest file below a folder."""
    time.sleep(pace_s)
    sizes = [(each.stat().st_size, each.name) for each in files_below(folder) if each.is_file()]
    if not sizes:
        raise FileNotFoundError(f"{Path(folder).name} holds no file")
    size, name = max(sizes)
    return f"{name} ({size} bytes)"


def count(state: Folder) -> Folder:
    number = count_files.invoke({"folder": state["folder"]})
    return {"facts": [f"{Path(state['folder']).name}: {number} files"]}


def largest(state: Folder) -> Folder:
    try:
        found = largest_file.invoke({"folder": state["folder"]})
    except FileNotFoundError as error:
        found = str(error)
    return {"facts": [f"{Path(state['folder']).name}: largest is {found}"]}


def look(state: Report) -> Report:
    folders = list_folder.invoke({"folder": state["folder"]})["folders"]
    return {"folders": [each for each in folders if not each.startswith(".")][:FOLDERS_MAX]}


def below(state: Report) -> List[Send]:
    """One run of the subgraph for each folder, all at the same time."""
    return [Send("folder", {"folder": str(Path(state["folder"], each))}) for each in state["folders"]]


def has_folders(state: Report) -> str:
    """Which way the graph goes."""
    return "split" if state["folders"] else "write"


def write(state: Report) -> Report:
    facts = sorted(state["facts"])
    said = AIMessage(
        f"{Path(state['folder']).name} holds {len(state['folders'])} folders.",
        usage_metadata={"input_tokens": 12 * len(facts), "output_tokens": 9, "total_tokens": 12 * len(facts) + 9},
    )
    summary = GenericFakeChatModel(messages=iter([said])).invoke("Say it in one sentence:\n" + "\n".join(facts))
    return {"report": "\n".join([str(summary.content), *facts])}


def graph() -> Any:
    """The graph: look, then a subgraph for each folder with two branches, then write."""
    folder = StateGraph(Folder)
    folder.add_node("count", count)
    folder.add_node("largest", largest)
    for branch in ("count", "largest"):
        folder.add_edge(START, branch)
        folder.add_edge(branch, END)
    compiled = folder.compile(name="folder")

    def one_folder(state: Folder) -> Report:
        return {"facts": compiled.invoke(state)["facts"]}

    whole = StateGraph(Report)
    whole.add_node("look", look)
    whole.add_node("split", lambda state: {"facts": [f"{len(state['folders'])} folders looked at"]})
    whole.add_node("folder", one_folder)
    whole.add_node("write", write)
    whole.add_edge(START, "look")
    whole.add_conditional_edges("look", has_folders, ["split", "write"])
    whole.add_conditional_edges("split", below, ["folder"])
    whole.add_edge("folder", "write")
    whole.add_edge("write", END)
    return whole.compile(name="folder-report")


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description="Reports what a folder holds, and publishes how.")
    parser.add_argument("folder", nargs="?", default=".")
    parser.add_argument("--url", default=URL, help="where planwire serve listens")
    parser.add_argument("--pace", type=float, default=0.5, help="seconds that each tool takes at least")
    arguments = parser.parse_args()
    global pace_s
    pace_s = arguments.pace
    # The plan has the id of the run, so that it is known before.
    run_id = uuid.uuid4()
    print(f"{arguments.url.rstrip('/')}/#{run_id}", flush=True)
    report = graph()
    handler = PlanwireCallbackHandler(arguments.url, graph=report)
    inputs = {"folder": os.path.abspath(arguments.folder), "facts": []}
    goal = {"planwire_goal": "Say what a folder holds"}
    result = report.invoke(inputs, {"callbacks": [handler], "run_id": run_id, "metadata": goal})
    print(result["report"])


if __name__ == "__main__":
    main()
