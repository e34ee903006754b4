"""Flower's settings: it shows who works on what, and lets nobody change it.

Start it with ``celery -A archon_batch.engine.app flower --conf=workers/flowerconfig.py``. The
password is read from the environment, ``FLOWER_BASIC_AUTH=user:password``; without one it
refuses to start. ``/metrics`` and ``/healthcheck`` stay open in spite of it, so that the address
is loopback's unless ``FLOWER_ADDRESS`` says otherwise, as it does inside a container.
"""

import os
import re
import sys

address = os.environ.get("FLOWER_ADDRESS", "127.0.0.1")
port = int(os.environ.get("FLOWER_PORT", "5555"))
basic_auth = os.environ.get("FLOWER_BASIC_AUTH", "").split(",")
if not all(re.fullmatch(r"[^:]+:.+", pair) for pair in basic_auth):
    sys.exit("FLOWER_BASIC_AUTH: set it to user:password")
read_only = True
# A task shows its job as args, and rows, layer and models as kwargs: never a prompt or an answer.
tasks_columns = "args,kwargs,state,received,runtime,worker,uuid"
natural_time = True
max_tasks = 20_000
