"""The harness: it drives the stages by command line and files, and makes the table."""
