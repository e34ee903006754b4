"""Flower's settings: it shows who works on what, and lets nobody change it.

Start it with ``celery -A archon_batch.engine.app flower --conf=workers/flowerconfig.py``. The
password is read from the environment, ``FLOWER_BASIC_AUTH=user:password``; without one Flower
refuses to start. ``/metrics`` and ``/healthcheck`` stay open in spite of it, so that the address
is loopback's unless ``FLOWER_ADDRESS`` says otherwise, as it does inside a container.
"""

import os

address = os.environ.get("FLOWER_ADDRESS", "127.0.0.1")
port = 5555
basic_auth = os.environ["FLOWER_BASIC_AUTH"].split(",")
read_only = True
# Tasks are named after jobs and rows; their arguments are keys, never prompts or answers.
natural_time = True
max_tasks = 20_000
