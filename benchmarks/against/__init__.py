"""The same load by many clients against one server, each in a process of its own: see `benchmarks/peers.py`."""
