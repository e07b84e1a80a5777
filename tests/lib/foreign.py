"""Servers that nobody here wrote, each asking for the client's certificate: openssl s_server, gnutls-serv,
nginx, HAProxy. Each starter takes a Lab, a Profile and the files, and returns a Server that can say whose
certificate it saw. sessions: the server keeps its sessions itself, as cards want it; the tickets that it
otherwise gives out in TLS 1.3 hold the session, the client's certificate in it."""

import dataclasses
import pathlib
import re
import subprocess

from cardwire_lab import LabError, free_ports, port_listening, wait_for


@dataclasses.dataclass(frozen=True)
class Profile:
    name: str
    kind: str  # of the server's key
    usage: str  # keyUsage of its certificate
    version: str  # "1.2", "1.3"
    cipher: str  # OpenSSL's name; "" for TLS 1.3
    gnutls: str  # priority string


PROFILES = {p.name: p for p in (
    Profile("tls13", "ec", "digitalSignature", "1.3", "", "NORMAL:-VERS-ALL:+VERS-TLS1.3"),
    Profile("ecdhe", "ec", "digitalSignature", "1.2", "ECDHE-ECDSA-AES128-GCM-SHA256",
            "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+ECDHE-ECDSA"),
    Profile("rsa", "rsa", "keyEncipherment", "1.2", "AES128-GCM-SHA256",
            "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA"),
)}


@dataclasses.dataclass
class Server:
    port: int
    process: object
    speaks: str  # "lines": gives each line back; "http": answers GET
    seen: object  # () -> text in which the server names the certificate it accepted

    def stop(self):
        self.process.stop()


def _start(lab, name, command, port, **options):
    process = lab.start(name, command, **options)
    wait_for(f"{name} listening on port {port}", lambda: port_listening(port), process)
    return process


def _retry(start):
    """Somebody may take a free port before the server does."""
    for attempt in range(3):
        try:
            return start()
        except LabError:
            if attempt == 2:
                raise
    return None


def s_server(lab, profile, cert, key, client_ca, extra=(), sessions=False):
    """openssl s_server -Verify; gives each line back reversed."""
    if sessions:
        # Its cache forgets a session whose connection ended without close_notify, unless told otherwise.
        extra = [*extra, "-no_ticket", "-ignore_unexpected_eof"]
    marker = "-----END CERTIFICATE-----\n"
    _, _, above = pathlib.Path(cert).read_text().partition(marker)
    if above.strip():  # it takes the first of a file and wants the others apart
        chain = lab.subfolder("chain") / "above.pem"
        chain.write_text(above)
        extra = [*extra, "-cert_chain", chain]

    def start():
        port = free_ports()
        command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", cert, "-key", key,
                   "-CAfile", client_ca, "-Verify", "2", "-verify_return_error", "-rev",
                   "-tls1_3" if profile.version == "1.3" else "-tls1_2", *extra]
        if profile.cipher:
            command += ["-cipher", profile.cipher]
        process = _start(lab, "s_server", command, port, stdin=subprocess.PIPE)
        return Server(port, process, "lines", process.said)
    return _retry(start)


def gnutls_serv(lab, profile, cert, key, client_ca, sessions=False):
    """gnutls-serv --require-client-cert; gives each line back. It listens on every interface and cannot be
    told not to: it gets a network of its own. It keeps sessions of TLS 1.2 in any case, of 1.3 never."""
    del sessions
    def start():
        port = free_ports()
        process = _start(lab, "gnutls-serv", [
            "/usr/bin/python3", pathlib.Path(__file__).with_name("alone.py"), port,
            "gnutls-serv", "--echo", "--require-client-cert", "--verify-client-cert",
            "--x509cafile", client_ca, "--x509certfile", cert, "--x509keyfile", key,
            "--port", port, "--priority", profile.gnutls], port)
        return Server(port, process, "lines", process.said)
    return _retry(start)


def nginx(lab, profile, cert, key, client_ca, sessions=False):
    def start():
        port = free_ports()
        folder = lab.subfolder("nginx")
        temp = "\n".join(f"    {kind}_temp_path {folder}/{kind};" for kind in
                         ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (folder / "nginx.conf").write_text(f"""
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log info;
events {{}}
http {{
{temp}
    log_format who '$ssl_client_verify $ssl_client_s_dn $ssl_protocol $ssl_cipher $request $ssl_session_reused';
    access_log {folder}/access.log who;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {cert};
        ssl_certificate_key {key};
        ssl_client_certificate {client_ca};
        ssl_verify_client on;
        ssl_protocols TLSv{profile.version};
        ssl_ciphers {profile.cipher or 'HIGH'};
        {'ssl_session_cache shared:here:1m; ssl_session_tickets off;' if sessions else ''}
        location / {{ return 200 "you are $ssl_client_s_dn over $ssl_protocol\\n"; }}
    }}
}}
""")
        process = _start(lab, "nginx", ["/usr/sbin/nginx", "-p", folder, "-c", folder / "nginx.conf",
                                        "-e", folder / "error.log"], port)
        log = folder / "access.log"
        return Server(port, process, "http", lambda: log.read_text() if log.exists() else "")
    return _retry(start)


def haproxy(lab, profile, cert, key, client_ca, sessions=False):
    def start():
        port = free_ports()
        folder = lab.subfolder("haproxy")
        pem = folder / "server.pem"
        pem.write_text(pathlib.Path(cert).read_text() + pathlib.Path(key).read_text())
        version = f"TLSv{profile.version}"
        ciphers = f"ciphers {profile.cipher}" if profile.cipher else ""
        tickets = "no-tls-tickets" if sessions else ""
        (folder / "haproxy.cfg").write_text(f"""
global
    log stdout format raw local0
defaults
    mode http
    log global
    log-format "%{{+Q}}[ssl_c_s_dn] %sslv %sslc %{{+Q}}r resumed=%[ssl_fc_is_resumed]"
    timeout client 60s
    timeout server 60s
    timeout connect 60s
frontend f
    bind 127.0.0.1:{port} ssl crt {pem} ca-file {client_ca} verify required ssl-min-ver {version} ssl-max-ver {version} {ciphers} {tickets}
    http-request return status 200 content-type text/plain lf-string "you are %[ssl_c_s_dn] over %[ssl_fc_protocol]\\n"
""")
        process = _start(lab, "haproxy", ["/usr/sbin/haproxy", "-db", "-f", folder / "haproxy.cfg"],
                         port)
        return Server(port, process, "http", process.said)
    return _retry(start)


SERVERS = {"openssl": s_server, "gnutls": gnutls_serv, "nginx": nginx, "haproxy": haproxy}


def subject_seen(server, serial):
    """True once the server's own log names the certificate whose subject is CN=serial."""
    pattern = re.compile(rf"CN\s*=\s*{serial}", re.I)
    return wait_for("the server naming the card's certificate",
                    lambda: bool(pattern.search(server.seen())), None)
