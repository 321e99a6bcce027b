"""The harness: suites, plan, run, datasets and reports. It drives the stages by command line and files."""
