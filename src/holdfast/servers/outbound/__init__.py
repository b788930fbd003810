"""Requests of servers to URLs that others give them: which addresses they may go to, and that they go to no other."""
