"""Ray for the examples: on this machine alone, or the cluster that RAY_ADDRESS names."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

ALONE = not os.environ.get("RAY_ADDRESS")
TOO_LATE = "ray" in sys.modules
if ALONE:
    # Ray reads these when it is imported. It sends no statistics of usage, and all its ports are on 127.0.0.1.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

import ray
import ray.data


@contextmanager
def local_ray(cpus: int) -> Iterator[None]:
    """Ray with this many CPUs, of which a worker takes one. At the end its processes are ended.

    A pool of workers that takes all CPUs waits for ever: reading the data set needs one too.
    """
    if ALONE and TOO_LATE:
        raise ImportError("expected local_ray to be imported before ray, which reads its settings when it is imported")
    if ALONE:
        ray.init(num_cpus=cpus, include_dashboard=False)
    else:
        ray.init()
    # Otherwise a worker that is up early may have done all the work before the next one is.
    ray.data.DataContext.get_current().wait_for_min_actors_s = 60
    try:
        yield
    finally:
        ray.shutdown()
