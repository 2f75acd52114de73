"""Brings one pinned file of a PyPI project, as pip is configured, and runs nothing of it.

    python3 fetch-pypi.py PROJECT FILE SHA256 TARGET

pip need not be there; and it could not, for of a source distribution it runs the set-up code.
"""

import base64
import configparser
import hashlib
import html.parser
import json
import os
import shlex
import ssl
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

LARGEST = 256 << 20
PAGE = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"


def fail(problem):
    print(problem, file=sys.stderr)
    sys.exit(1)


def shown(url):
    """A URL without user, password and query."""
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def from_files():
    """What `pip config list` would print of pip's usual files, where there is no pip."""
    home = os.path.expanduser("~")
    own = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    files = ["/etc/xdg/pip/pip.conf", "/etc/pip.conf", f"{home}/.pip/pip.conf", f"{own}/pip/pip.conf"]
    parser = configparser.RawConfigParser()
    try:
        parser.read(files + [os.environ.get("PIP_CONFIG_FILE") or os.devnull], encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        fail(f"pip's configuration cannot be read: {error}")
    for section in parser.sections():
        for key, value in parser.items(section):
            yield f"{section}.{key.replace('_', '-')}={shlex.quote(value)}"


def pip_settings():
    """What pip's files and environment say: the narrower section wins, the environment wins over files."""
    found = {}
    listed = subprocess.run(
        [sys.executable, "-I", "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    for line in listed.stdout.splitlines() if listed.returncode == 0 else from_files():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        rank = {"global": 0, "install": 1, "download": 2, ":env:": 3}.get(section)
        value = "".join(shlex.split(value)[:1])
        if rank is not None and rank >= found.get(key, (0, ""))[0]:
            found[key] = (rank, value)
    settings = {key: value for key, (_, value) in found.items()}
    for key in ("index-url", "cert", "proxy"):
        value = os.environ.get("PIP_" + key.upper().replace("-", "_"))
        if value:
            settings[key] = value
    return settings


class Links(html.parser.HTMLParser):
    """The `href`s of a page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]


class Index:
    def __init__(self, settings):
        url = settings.get("index-url") or "https://pypi.org/simple"
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https"):
            fail(f"pip's index-url is {shown(url)}, which is neither http nor https")
        self.host = parts.netloc.rpartition("@")[2]
        self.url = urllib.parse.urlunsplit((parts.scheme, self.host, parts.path.rstrip("/") + "/", "", ""))
        self.login = None
        if parts.username:
            login = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
            self.login = "Basic " + base64.b64encode(login.encode()).decode()
        tls = ssl.create_default_context(cafile=settings.get("cert") or None)
        handlers = [urllib.request.HTTPSHandler(context=tls)]
        if settings.get("proxy"):
            handlers.append(urllib.request.ProxyHandler(dict.fromkeys(("http", "https"), settings["proxy"])))
        self.opener = urllib.request.build_opener(*handlers)

    def open(self, url, accept):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https"):
            fail(f"the index names {shown(url)}, which is neither http nor https")
        request = urllib.request.Request(url, headers={"Accept": accept})
        if self.login and parts.netloc == self.host:
            # Never sent on to where a redirection leads.
            request.add_unredirected_header("Authorization", self.login)
        try:
            return self.opener.open(request, timeout=60)
        except urllib.error.HTTPError as error:
            fail(f"{shown(url)} answers {error.code} {error.reason}")
        except (OSError, urllib.error.URLError) as error:
            fail(f"{shown(url)} cannot be reached: {getattr(error, 'reason', error)}")

    def find(self, project, name):
        """Where the file is."""
        page = urllib.parse.urljoin(self.url, project + "/")
        with self.open(page, PAGE) as answer:
            text = answer.read(LARGEST).decode("utf-8", "replace")
            page, kind = answer.url, answer.headers.get_content_type()
        if kind.endswith("json"):
            links = [entry["url"] for entry in json.loads(text)["files"]]
        else:
            parser = Links()
            parser.feed(text)
            links = parser.found
        for link in links:
            url = urllib.parse.urldefrag(urllib.parse.urljoin(page, link)).url
            if urllib.parse.unquote(urllib.parse.urlsplit(url).path).endswith("/" + name):
                return url
        return fail(f"{shown(page)} lists no {name}")


def main(project, name, wanted, target):
    index = Index(pip_settings())
    url = index.find(project, name)
    digest, size = hashlib.sha256(), 0
    try:
        with index.open(url, "*/*") as answer, open(target, "wb") as out:
            while block := answer.read(1 << 16):
                size += len(block)
                if size > LARGEST:
                    fail(f"{shown(url)} is larger than {LARGEST} bytes")
                digest.update(block)
                out.write(block)
    except OSError as error:
        fail(f"{name} was cut off, or cannot be written: {error}")
    if digest.hexdigest() != wanted:
        fail(f"{name} is not the file that was pinned: SHA-256 {digest.hexdigest()} instead of {wanted}")


main(*sys.argv[1:])
