"""Tests of the client: ``python -m unittest discover -t . -s tests`` in ``clients/python``.

Those that need a server start the program that ``PLANWIRE_BIN`` names. A test name is a promise.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "src"))
