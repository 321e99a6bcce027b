"""`python -m probe CONFIG …`: a linear probe and k-NN on the frozen features of a backbone."""

import sys

from probe.run import main as command

if __name__ == "__main__":
    sys.exit(command())
