"""The embedded admin cluster in which the operation is shown and tested; production code never imports it."""
