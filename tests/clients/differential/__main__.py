"""Compare two running servers:   python -m differential --theirs URL --ours URL [--seed N] [--story NAME …]

Both are reset again and again: give it none whose data matter."""

import argparse
import random
import sys

from .runner import play, stories
from .wire import Wire


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--theirs", required=True, help="URL of Chroma's own server")
    parser.add_argument("--ours", required=True)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--story", action="append", help="only these")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    told = stories(options.seed)
    if options.story:
        told = {name: told[name] for name in options.story}
    report = play(told, Wire(options.theirs), Wire(options.ours))
    print(report)
    return min(len(report.findings), 1)


sys.exit(main())
