"""What the README shows, run against the real program."""

import contextlib
import io
import re
import unittest
from pathlib import Path
from typing import List, Tuple

from .graphs import MISSING
from .serving import RealServer, program

README = Path(__file__).resolve().parent.parent / "README.md"
LINES_MAX = 12
SHOWN = "http://127.0.0.1:7420"
"""The address in the README; each example is run with the one of its server."""


def examples() -> List[Tuple[str, str]]:
    """The examples with the headings under which they stand."""
    text = README.read_text(encoding="utf-8")
    return re.findall(r"^## ([^\n]+)\n\n```python\n(.*?)```$", text, re.MULTILINE | re.DOTALL)


class Readme(unittest.TestCase):
    def test_examples_are_short(self) -> None:
        titles = ["Publish", "Follow", "Subscribe", "Start, look, cancel", "Answer", "With asyncio", "LangGraph"]
        self.assertEqual([title for title, _ in examples()], titles)
        for title, code in examples():
            self.assertLessEqual(len([line for line in code.splitlines() if line.strip()]), LINES_MAX, title)

    @unittest.skipUnless(program(), "PLANWIRE_BIN names no program")
    def test_examples_run_in_their_order(self) -> None:
        printed = {}
        with RealServer() as server:
            for title, code in examples():
                if title == "LangGraph":
                    continue
                out = io.StringIO()
                with contextlib.redirect_stdout(out):
                    exec(compile(code.replace(SHOWN, server.url), f"README.md: {title}", "exec"), {"__name__": title})
                printed[title] = out.getvalue()
        self.assertRegex(printed["Publish"], r"^2 \w{8}-0{15}2 2\n$")
        self.assertIn("2503 PlanCompleted {'outputs': {'files': 2500}", printed["Follow"])
        self.assertRegex(printed["Start, look, cancel"], r"'state': '(completed|failed)'")
        self.assertEqual(printed["Answer"], "r1 Which branch? None\nrequest_not_open\n")
        self.assertIn("2 PlanCompleted", printed["With asyncio"])

    @unittest.skipIf(MISSING, MISSING)
    def test_example_with_langgraph_runs(self) -> None:
        out = io.StringIO()
        code = next(code for title, code in examples() if title == "LangGraph")
        with RealServer() as server, contextlib.redirect_stdout(out):
            exec(compile(code.replace(SHOWN, server.url), "README.md: LangGraph", "exec"), {"__name__": "example"})
        self.assertEqual(out.getvalue(), "Outcome(published=4, waiting=0, lost=0)\n")


if __name__ == "__main__":
    unittest.main()
