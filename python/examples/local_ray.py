"""Ray for the examples: on this machine alone, or the cluster that RAY_ADDRESS names."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

if "ray" in sys.modules:
    raise ImportError("import local_ray before ray, which reads its settings when it is imported")
if not os.environ.get("RAY_ADDRESS"):
    # It sends no statistics of usage, and all its ports are on 127.0.0.1.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

import ray
import ray.data


@contextmanager
def local_ray(cpus: int) -> Iterator[None]:
    """Ray with this many CPUs, of which a worker takes one. At the end its processes are ended.

    A pool of workers that takes all CPUs waits for ever: reading the data set needs one too.
    """
    if os.environ.get("RAY_ADDRESS"):
        ray.init()
    else:
        ray.init(num_cpus=cpus, include_dashboard=False)
    # Otherwise a worker that is up early may have done all the work before the next one is.
    ray.data.DataContext.get_current().wait_for_min_actors_s = 60
    try:
        yield
    finally:
        ray.shutdown()
