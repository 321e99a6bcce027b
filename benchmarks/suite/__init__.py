"""What is compared: suites as data, checked and selected."""
