"""Import weights from files of other libraries. No task imports this package."""
