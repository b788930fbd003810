"""The Crews server (port 8001): executes whatever has been registered as a crew.

A crew is a function, plain or async, or an object such as CrewAI's with `kickoff(inputs)` or `akickoff(inputs)`: see
`crew`. Where `holdfast serve` finds it: see `holdfast.servers.crews.discovery`.
"""

from holdfast.servers.crews.registry import Crew, CrewError, CrewRegistrationError, Registry, crew

__all__ = ["Crew", "CrewError", "CrewRegistrationError", "Registry", "crew"]
