"""Failure injection for any route of any reference server, by admin API and by request header.

A rule says what happens (its kind), to which requests (`method`, `path`), and when (`rate`, `count`, `from` and
`for`, `seed`). As JSON, or in a short form:

    curl localhost:8000/_faults -d 'status=503;rate=0.3;count=10;path=/msg'
    curl localhost:8000/_faults -d '{"kind": "latency", "seconds": 0.1, "distribution": "pareto", "up_to": 5}'
    curl localhost:8000/msg -H 'X-Holdfast-Fault: reset=body'

`kinds.py` has the kinds, `grammar.py` how they are written. What ASGI cannot do (resets, garbage, wrong lengths) is
done below it, by `FaultProtocol`. Nothing of this is installed unless `holdfast serve --faults` installs it; without
it the path is a 404 and the header does nothing.
"""

from holdfast.servers.faults.admin import ADMIN_PATH
from holdfast.servers.faults.grammar import FaultRuleError, parse_rules
from holdfast.servers.faults.injection import FaultInjection
from holdfast.servers.faults.kinds import AnyRule
from holdfast.servers.faults.ledger import HEADER
from holdfast.servers.faults.wire import FaultProtocol

__all__ = ["ADMIN_PATH", "HEADER", "AnyRule", "FaultInjection", "FaultProtocol", "FaultRuleError", "parse_rules"]
