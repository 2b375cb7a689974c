"""Opens pages of a built site in headless Chromium, without a network, at a phone's width."""

import json
import queue
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
VISIT = "/__visit__/"  # visit.html, what it asks for and what it reports live here, and all else is the site


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder, the page that visits it, and what that page reports."""

    def __init__(self, *arguments, task, reports, missing, **options):
        self.task, self.reports, self.missing = task, reports, missing
        super().__init__(*arguments, **options)

    def do_GET(self):
        if self.path == f"{VISIT}visit.html":
            self.answer("text/html", Path(__file__).with_name("visit.html").read_bytes())
        elif self.path == f"{VISIT}pages.json":
            self.answer("application/json", json.dumps(self.task).encode())
        else:
            super().do_GET()

    def do_POST(self):
        self.reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer("text/plain", b"")

    def answer(self, kind, body):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code="-", size="-"):
        if int(code) >= 400 and self.path != "/favicon.ico":
            self.missing.append(self.path)

    def log_message(self, format, *arguments):
        """Nothing is printed."""


def visit(site, pages, profile, width=375, timeout=1800):
    """What a reader with a phone would see.

    Parameters
    ----------
    site : Path
        The folder with the built pages.
    pages : list of str
        Relative to it.
    profile : Path
        An empty folder, for Chromium.
    width : int
        In CSS pixels.
    timeout : float
        Seconds for all pages.

    Returns
    -------
    reports : list of dict
        One a page, as visit.html says.
    missing : list of str
        What was asked for and is not there.
    console : list of str
        What Chromium's console shows, such as the errors of scripts.
    """
    reports, missing = queue.Queue(), []
    task = {"width": width, "pages": pages}
    handler = partial(Handler, directory=str(site), task=task, reports=reports, missing=missing)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--remote-debugging-port=0",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--user-data-dir={profile}",
        f"http://127.0.0.1:{server.server_port}{VISIT}visit.html",
    ]
    log = profile / "log"
    try:
        with log.open("w") as stream, subprocess.Popen(command, stdout=stream, stderr=stream) as chromium:
            try:
                found = reports.get(timeout=timeout)
            finally:
                chromium.terminate()
    finally:
        server.shutdown()
        server.server_close()
    console = [line for line in log.read_text(errors="replace").splitlines() if ":CONSOLE" in line]
    return found, missing, console
