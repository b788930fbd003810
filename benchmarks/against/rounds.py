"""Runs every contestant in every case, in turns and in processes of their own, and keeps what they saw."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from against.contestants import CONTESTANTS
from against.load import HELD, Job, Seen, ask
from against.sync_contestants import CONTESTANTS as SYNC

BENCHMARKS = Path(__file__).resolve().parents[1]
ROOT = BENCHMARKS.parent
OTHERS = ROOT / ".venv-bench" / "bin" / "python"
"""The interpreter of the environment with the clients of others, made by `make peers`."""

LOADED = 0.9
"""The server is said to have been the limit where it was busy for a greater share of the time than this."""

BASE = "httpx2"

PATIENCE = 30.0
"""Seconds that one process may take."""


@dataclass(frozen=True)
class Case:
    """One load: the calls, how many at a time, and who takes part (None: everybody who can)."""

    name: str
    title: str
    what: str
    in_flight: int
    colour: str = "async"
    secure: bool = False
    only: tuple[str, ...] | None = None
    base: str = BASE

    def names(self) -> list[str]:
        if self.colour == "sync":
            return list(SYNC)
        skill = "tls" if self.secure else self.what
        return [
            name
            for name, one in CONTESTANTS.items()
            if (self.only is None or name in self.only) and skill not in one.without
        ]


FEW = ("httpx2", "aiohttp", "pyreqwest", "holdfast-httpx2", "holdfast", "holdfast-uvloop")
CASES = (
    *(Case(f"get-{number}", f"GET, {number} in flight", "get", number) for number in (1, 16, 64, 256)),
    Case("get-1024", "GET, 1,024 in flight", "get", 1024, only=FEW),
    Case("held", "memory of 1,000 calls in flight", "held", HELD),
    Case("post", "POST of 1 KB, 64 in flight", "post", 64),
    Case("download", "download of 1 MB, 16 in flight", "download", 16),
    Case("upload", "upload of 1 MB, 16 in flight", "upload", 16),
    Case("tls", "GET over TLS, 64 in flight", "get", 64, secure=True, only=FEW),
    Case("typed-1", "typed GET, 1 in flight", "typed", 1, base="openai"),
    Case("typed-64", "typed GET, 64 in flight", "typed", 64, base="openai"),
    Case("sync-1", "sync GET, 1 thread", "get", 1, colour="sync"),
    Case("sync-16", "sync GET, 16 threads", "get", 16, colour="sync"),
)
QUICK = ("get-1", "get-64", "get-256", "typed-64", "sync-16")


@dataclass
class Result:
    """What one contestant saw in one case, round by round, with the share of the time that the server was busy."""

    by_round: dict[int, Seen] = field(default_factory=dict)
    busy: list[float] = field(default_factory=list)

    def add(self, number: int, seen: Seen, busy: float) -> None:
        self.by_round[number] = seen
        self.busy.append(busy)

    @property
    def rounds(self) -> list[Seen]:
        return list(self.by_round.values())

    @property
    def rate(self) -> float:
        """Calls per second."""
        return median(one.calls / one.wall for one in self.rounds)

    @property
    def cpu(self) -> float:
        """Seconds of processor time of the client per call, all of its threads together."""
        return median(one.cpu / one.calls for one in self.rounds)

    @property
    def p50(self) -> float:
        return median(one.p50 for one in self.rounds)

    @property
    def p99(self) -> float:
        return median(one.p99 for one in self.rounds)

    @property
    def memory(self) -> float:
        """Bytes."""
        return median(one.memory for one in self.rounds)

    @property
    def server(self) -> float:
        return median(self.busy)

    def figures(self) -> dict[str, Any]:
        if not self.rounds[0].calls:
            return {"memory_bytes": self.memory, "rounds": len(self.rounds)}
        return {
            "rate": self.rate,
            "cpu": self.cpu,
            "p50": self.p50,
            "p99": self.p99,
            "server_busy": self.server,
            "rounds": [asdict(one) for one in self.rounds],
        }


Results = dict[str, dict[str, Result]]
"""By case, then by contestant."""


@dataclass
class Figures:
    """All that came of it. `left_out`: who did not take part, and why."""

    results: Results = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def times(self, case: Case, name: str) -> float | None:
        """Calls per second as a multiple of the base's: the median of the ratios of each round."""
        rows = self.results.get(case.name, {})
        if name not in rows or case.base not in rows:
            return None
        ours, base = rows[name].by_round, rows[case.base].by_round
        both = [number for number in ours if number in base]
        if not both:
            return None
        return median(
            (ours[number].calls / ours[number].wall) / (base[number].calls / base[number].wall) for number in both
        )


class Server:
    """The server in its process, with TLS or without."""

    def __init__(self, url: str, context: Any = None) -> None:
        self.url = url
        self._context = context

    def count(self) -> dict[str, Any]:
        if self._context is None:
            told: dict[str, Any] = ask(self.url, "/count")
            return told
        import httpx2

        secure: dict[str, Any] = httpx2.get(f"{self.url}/count", verify=self._context, trust_env=False).json()
        return secure


@contextmanager
def server(certificate: tuple[Path, Path] | None = None, context: Any = None) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
        scheme = "http" if certificate is None else "https"
        url = f"{scheme}://127.0.0.1:{listening.getsockname()[1]}"
        descriptor = listening.fileno()
        os.set_inheritable(descriptor, True)
        files = [] if certificate is None else [str(path) for path in certificate]
        command = [sys.executable, "-m", "against.server", str(descriptor), *files]
        process = subprocess.Popen(command, pass_fds=(descriptor,), cwd=BENCHMARKS)
    try:
        made = Server(url, context)
        made.count()
        yield made
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def certified(folder: Path) -> Iterator[tuple[tuple[Path, Path], Path, Any]]:
    """A certificate for the loopback interface: its files, that of the authority, and a context that trusts it."""
    import ssl

    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    chain, key, root = folder / "chain.pem", folder / "key.pem", folder / "root.pem"
    chain.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    authority.cert_pem.write_to_path(str(root))
    yield (chain, key), root, ssl.create_default_context(cafile=root)


def more_files() -> None:
    """Lets this process, and those that it starts, have a socket for each call in flight."""
    try:
        import resource
    except ImportError:
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def interpreters() -> list[Path]:
    return [Path(sys.executable), OTHERS]


def _has(python: Path, packages: tuple[str, ...]) -> bool:
    # Where niquests is, urllib3 is another one than requests is made for: requests is measured elsewhere.
    script = (
        "import sys; from importlib.metadata import distribution as d; names = sys.argv[1:]\n"
        "for name in names: d(name)\n"
        "if 'urllib3' in names:\n    import urllib3\n    sys.exit('future' in (urllib3.__doc__ or urllib3.__version__))"
    )
    done = subprocess.run([str(python), "-c", script, *packages], capture_output=True, check=False)
    return not done.returncode


def housed(packages: tuple[str, ...]) -> Path | None:
    """The interpreter of the first environment that has all of these packages."""
    return next((python for python in interpreters() if python.exists() and _has(python, packages)), None)


def measured(python: Path, job: Job, target: Server) -> tuple[Seen, float]:
    """Runs one process.

    Raises:
        RuntimeError: it failed, or the server counted other requests than it made.
    """
    before = target.count()
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [str(python), "-m", "against.load", json.dumps(asdict(job))],
        capture_output=True,
        text=True,
        check=False,
        cwd=BENCHMARKS,
        env=environment,
        timeout=PATIENCE,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
        raise RuntimeError(lines[-1].strip())
    seen = Seen(**json.loads(done.stdout))
    after = target.count()
    counted = after["requests"] - before["requests"]
    if counted != seen.requests:
        raise RuntimeError(f"the server counted {counted} requests, and the client made {seen.requests}")
    # The warm-up loads the server as the rest does.
    share = (after["cpu"] - before["cpu"]) * (seen.calls / seen.requests) / seen.wall if seen.calls else 0.0
    return seen, share


def play(
    cases: list[Case], rounds: int, seconds: float, names: list[str] | None, tell: Callable[[str], None]
) -> Figures:
    """All rounds of all cases. `tell` gets a line now and then."""
    figures = Figures()
    more_files()
    homes: dict[tuple[str, ...], Path | None] = {}

    def home(colour: str, name: str) -> Path | None:
        one = (SYNC if colour == "sync" else CONTESTANTS)[name]
        if one.packages not in homes:
            homes[one.packages] = housed(one.packages)
        if homes[one.packages] is None:
            figures.left_out[name] = f"{' and '.join(one.packages)} not installed (make peers installs them)"
        return homes[one.packages]

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-peers-")))
        plain = stack.enter_context(server())
        secure: tuple[Server, Path] | None = None
        if any(case.secure for case in cases):
            files, root, context = stack.enter_context(certified(folder))
            secure = stack.enter_context(server(files, context)), root

        def once(case: Case, name: str, number: int) -> None:
            python = home(case.colour, name)
            if python is not None:
                target, root = (plain, None) if not case.secure or secure is None else secure
                _once(figures, case, name, python, target, root, seconds, number)

        with suppress(KeyboardInterrupt):  # what there is by then is told
            for number in range(rounds):
                for case in cases:
                    wanted = [name for name in case.names() if names is None or name in names]
                    # Another one begins each round, so that none always comes after the same neighbour.
                    at = number % len(wanted) if wanted else 0
                    for name in wanted[at:] + wanted[:at]:
                        once(case, name, number)
                tell(f"round {number + 1} of {rounds} is done")
    return figures


def _once(
    figures: Figures,
    case: Case,
    name: str,
    python: Path,
    target: Server,
    root: Path | None,
    seconds: float,
    number: int,
) -> None:
    uvloop = case.colour == "async" and CONTESTANTS[name].uvloop
    certificate = None if root is None else str(root)
    job = Job(name, case.colour, case.what, target.url, case.in_flight, seconds, certificate, uvloop)
    try:
        seen, busy = measured(python, job, target)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        what = f"it took more than {PATIENCE:.0f} s" if isinstance(error, subprocess.TimeoutExpired) else error
        figures.wrong.append(f"{case.title}, {name}: {what}")
        return
    figures.versions[f"{case.colour} {name}"] = f"{seen.versions} ({python.parents[1].name})"
    figures.results.setdefault(case.name, {}).setdefault(name, Result()).add(number, seen, busy)


def growth(results: Mapping[str, Mapping[str, Result]], name: str) -> float | None:
    """Processor time per call at 1,024 in flight, as a multiple of that at 16."""
    few, many = results.get("get-16", {}).get(name), results.get("get-1024", {}).get(name)
    return None if few is None or many is None else many.cpu / few.cpu
