"""Reference servers: what the clients are developed, shown and tested against. They need the extra `servers`.

One process serves one ASGI app per port (`app.py`). Each service has a folder of its own with a function `service`, and
is listed once, in `app.SERVICES`. Servers share no models with the clients: a shared mistake would satisfy both sides.
"""
