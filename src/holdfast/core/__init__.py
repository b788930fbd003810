"""The resilience logic: flows and policies that do no I/O, read no clock, and know no event loop."""
