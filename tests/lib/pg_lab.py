"""A private PostgreSQL: its own data in a temporary folder, its own socket, no port of the network. Two of them side by
side know nothing of each other. The server refuses to be root: then it runs as the user that Debian's package makes."""

import contextlib
import glob
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

USER = "cardwire"
DEBIAN_USER = "postgres"


def programs():
    """The folder of the newest server that is installed."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"), key=lambda p: float(p.split("/")[4]))
    assert found, "no PostgreSQL is installed: scripts/setup test"
    return pathlib.Path(found[-1]).parent


class Postgres:
    """settings: lines of postgresql.conf. copy_of: another one, of which this becomes a standby. small: megabytes of a
    file system that the server alone sees, at .small, for a tablespace; for root."""

    def __init__(self, settings=(), copy_of=None, name="one", small=None):
        # A socket's path has at most 107 bytes: not in the test's own folder.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cwpg-"))
        self.data = self.folder / "data"
        self.socket = self.folder
        self.name, self.process = name, None
        self.small, self.small_size = self.folder / "small", small
        self.bin = programs()
        self.user = pwd.getpwnam(DEBIAN_USER) if os.geteuid() == 0 else None
        if self.user:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        if copy_of is None:
            self.run("initdb", "-D", self.data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        else:
            self.run("pg_basebackup", "-D", self.data, "-h", copy_of.socket, "-U", USER, "-R", "-c", "fast",
                     "-d", f"application_name={name}")
        lines = ["listen_addresses = ''", f"unix_socket_directories = '{self.socket}'", "max_connections = 40",
                 "shared_buffers = 64MB", *settings]
        with open(self.data / "postgresql.conf", "a", encoding="ascii") as conf:
            conf.write("\n".join(lines) + "\n")

    def run(self, program, *args):
        done = subprocess.run([self.bin / program, *map(str, args)], capture_output=True, text=True, check=False,
                              cwd=self.folder, timeout=120, **self._who())
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"
        return done.stdout

    def _who(self):
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.user else {}

    def start(self):
        with open(self.folder / "log", "ab") as log:
            command = [self.bin / "postgres", "-D", self.data]
            who = self._who()
            if self.small_size:
                command, who = self._with_small(command), {}
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, **who)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            assert self.process.poll() is None, (self.folder / "log").read_text()
            if subprocess.run([self.bin / "pg_isready", "-h", self.socket, "-q"], check=False).returncode == 0:
                return self
            time.sleep(0.02)
        raise AssertionError("PostgreSQL does not start: " + (self.folder / "log").read_text())

    def _with_small(self, command):
        """In a mount namespace of its own, entered by root, who then becomes the server's user."""
        self.small.mkdir(exist_ok=True)
        uid, gid = str(self.user.pw_uid), str(self.user.pw_gid)
        script = 'mount -t tmpfs -o "size=$1m,mode=700,uid=$2,gid=$3" none "$4" && shift 4 && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", script, "sh", str(self.small_size), uid, gid, self.small, "setpriv",
                "--reuid", uid, "--regid", gid, "--clear-groups", *command]

    def stop(self, how=signal.SIGINT):
        """SIGINT: at once, in good order."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)
        self.process = None

    def kill(self):
        """The power cut: -9 to the server and to every process of it."""
        children = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True,
                                  check=False).stdout.split()
        self.process.send_signal(signal.SIGKILL)
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        self.process.wait(60)
        self.process = None

    def sql(self, text, database="postgres"):
        """What psql prints, unaligned and without headers."""
        return self.run("psql", "-h", self.socket, "-U", USER, "-d", database, "-v", "ON_ERROR_STOP=1", "-qAtc",
                        text).strip()

    def address(self, database, *others):
        """For libpq; others: servers that are tried after this one."""
        hosts = ",".join(str(server.socket) for server in (self, *others))
        return f"postgresql:///{database}?host={hosts}&user={USER}"

    def database(self, name):
        """A new, empty one; its address."""
        self.sql(f"CREATE DATABASE {name}")
        return self.address(name)

    def close(self):
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()
