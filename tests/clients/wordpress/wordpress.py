"""A real WordPress with its real Akismet plugin, on loopback, from Debian's packages: database, files, browser.

It needs ``php`` with MySQL, ``mariadbd`` and the files of the package ``wordpress``, installed, or unpacked in the
folder that WORDPRESS_DIR names. ``.ci/run`` gets them.
"""

from __future__ import annotations

import html
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

ADMIN, PASSWORD = "ada", "a long enough password"
_INTEGRATION = Path(__file__).parents[3] / "integrations" / "wordpress"
_CONFIG = """<?php
define('DB_NAME', 'wordpress'); define('DB_USER', 'root'); define('DB_PASSWORD', '');
define('DB_HOST', 'localhost:%s'); define('DB_CHARSET', 'utf8mb4'); define('DB_COLLATE', '');
define('AUTH_KEY', 'a'); define('SECURE_AUTH_KEY', 'b'); define('LOGGED_IN_KEY', 'c'); define('NONCE_KEY', 'd');
define('AUTH_SALT', 'e'); define('SECURE_AUTH_SALT', 'f'); define('LOGGED_IN_SALT', 'g'); define('NONCE_SALT', 'h');
define('DISABLE_WP_CRON', true); define('AUTOMATIC_UPDATER_DISABLED', true);
$table_prefix = 'wp_';
if (!defined('ABSPATH')) { define('ABSPATH', __DIR__ . '/'); }
require_once ABSPATH . 'wp-settings.php';
"""
# Nobody here reads mail, nothing outside is asked for updates, and errors of PHP would be in the pages.
_QUIET = """<?php
add_filter('pre_wp_mail', '__return_true');
add_filter('pre_http_request', function ($answer, $args, $url) {
    return preg_match('~^https?://(api|downloads)[.]wordpress[.]org/~', $url) ? new WP_Error('quiet') : $answer;
}, 5, 3);
add_filter('pre_option_comment_previously_approved', function () { return '0'; });
"""


def missing() -> str | None:
    """What is missing here to start it; ``None`` where nothing is."""
    if (files := find_files()) is None:
        return "the files of WordPress are missing (package wordpress, or WORDPRESS_DIR)"
    if not (files / "wp-content" / "plugins" / "akismet").is_dir():
        return "the plugin Akismet is missing beside WordPress"
    for command in ("php", "mariadbd", "mariadb-install-db", "mariadb-admin"):
        if shutil.which(command, path=_path()) is None:
            return f"{command} is missing"
    modules = subprocess.run(["php", "-m"], capture_output=True, text=True, check=False).stdout.split()
    return None if "mysqli" in modules else "php has no mysqli (package php-mysql)"


def find_files() -> Path | None:
    """The folder of WordPress."""
    named = os.environ.get("WORDPRESS_DIR")
    places = [Path(named)] if named else [Path("/usr/share/wordpress")]
    return next((place for place in places if (place / "wp-load.php").exists()), None)


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


class WordPress:
    """A site that runs: pages are asked for as visitors and as its administrator would."""

    def __init__(self, url: str, home: Path) -> None:
        self.url, self._home = url, home
        self.admin = httpx.Client(base_url=url, follow_redirects=True, timeout=60)
        self._visitors = 1

    def close(self) -> None:
        self.admin.close()

    def install(self) -> None:
        """Answer the questions of the installation, sign in, switch the plugin on."""
        said = {
            "weblog_title": "Bread",
            "user_name": ADMIN,
            "admin_password": PASSWORD,
            "admin_password2": PASSWORD,
            "admin_email": "ada@blog.example",
            "blog_public": "0",
        }
        page = self.admin.post("/wp-admin/install.php?step=2", data=said).text
        assert "wp-login.php" in page, page
        self.admin.get("/wp-login.php")
        signed_in = self.admin.post("/wp-login.php", data={"log": ADMIN, "pwd": PASSWORD, "testcookie": "1"})
        assert "wp-admin-bar" in signed_in.text, signed_in.text
        self.follow("/wp-admin/plugins.php", r"plugins\.php\?action=activate&plugin=akismet%2Fakismet\.php[^\"']*")

    def set(self, url: str, key: str) -> str:
        """Fill in our screen; what it says afterwards."""
        page = self.admin.get("/wp-admin/options-general.php?page=comment-moderation").text
        form = dict(
            re.findall(r"name=['\"](option_page|action|_wpnonce|_wp_http_referer)['\"] value=['\"]([^'\"]*)", page)
        )
        form |= {"comment_moderation[url]": url, "comment_moderation[key]": key}
        return self.admin.post("/wp-admin/options.php", data=form).text

    def follow(self, page: str, link: str) -> str:
        """Click the first link of a page in the administration that looks like that; the page it leads to."""
        shown = self.admin.get(page).text
        found = re.search(link, html.unescape(shown))
        assert found, f"{page} has no link {link}: {shown[:5000]}"
        return self.admin.get(f"/wp-admin/{found[0]}").text

    def click(self, act: str, comment: int) -> None:
        """Click what stands below a comment: ``spam``, ``unspam``."""
        status = "spam" if act == "unspam" else "all"
        link = rf"comment\.php\?(?:p=\d+&|c={comment}&|action={act}comment&){{2,3}}_wpnonce=\w+"
        self.follow(f"/wp-admin/edit-comments.php?comment_status={status}", link)

    def comment(self, text: str) -> int:
        """Write a comment as a visitor from an address of their own; the comment's number."""
        self._visitors += 1
        name = f"Visitor {self._visitors}"
        said = {"comment_post_ID": "1", "comment_parent": "0", "author": name, "comment": text, "url": ""}
        said["email"] = f"v{self._visitors}@visitor.example"
        # WordPress takes one comment in 15 seconds from each address.
        transport = httpx.HTTPTransport(local_address=f"127.0.0.{self._visitors}")
        with httpx.Client(base_url=self.url, transport=transport, timeout=60) as visitor:
            answer = visitor.post("/wp-comments-post.php", data=said, headers={"User-Agent": "visitor"})
        assert answer.status_code == 302, answer.text
        return next(number for number, row in self.comments().items() if row["author"] == name)

    def comments(self) -> Mapping[int, dict[str, str]]:
        """Every comment by its number: who wrote it, and its status as WordPress keeps it (``1``, ``0``, ``spam``)."""
        code = (
            "require 'wp-load.php'; foreach (get_comments(['status' => 'any']) as $c) "
            '{ echo $c->comment_ID, "\\t", $c->comment_approved, "\\t", $c->comment_author, "\\n"; }'
        )
        lines = self.run(code).splitlines()
        rows = (line.split("\t") for line in lines)
        return {int(number): {"status": status, "author": author} for number, status, author in rows}

    def status(self, comment: int) -> str:
        return self.comments()[comment]["status"]

    def run(self, code: str) -> str:
        """Run PHP inside of it."""
        done = subprocess.run(
            ["php", "-r", code], cwd=self._home, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextmanager
def running(folder: Path) -> Iterator[WordPress]:
    """A new WordPress with our two files in it, installed and with Akismet switched on, until the block ends."""
    files = find_files()
    assert files is not None
    home, data, log = folder / "wordpress", folder / "data", folder / "log"
    shutil.copytree(files, home, symlinks=True, ignore=shutil.ignore_patterns("wp-config.php", ".htaccess"))
    # A short name: that of a socket may have 107 signs.
    run = Path("/tmp") / f"wp-{os.getpid()}"
    run.mkdir(exist_ok=True)
    bound = run / "db"
    (home / "wp-config.php").write_text(_CONFIG % bound)
    must = home / "wp-content" / "mu-plugins"
    must.mkdir(parents=True)
    (must / "quiet.php").write_text(_QUIET)
    for file in _INTEGRATION.glob("*.php"):
        shutil.copy(file, must)
    processes = []
    with log.open("w") as written:
        environment = {**os.environ, "PATH": _path(), "PHP_CLI_SERVER_WORKERS": "3"}
        try:
            user = ["--user=root"] if os.geteuid() == 0 else []
            made = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", *user]
            made += ["--auth-root-authentication-method=normal", "--skip-test-db"]
            subprocess.run(made, check=True, stdout=written, stderr=written, env=environment)
            serve = ["mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={bound}", "--skip-networking", *user]
            serve += ["--innodb-flush-log-at-trx-commit=0", "--skip-log-bin", f"--pid-file={run}/db.pid"]
            processes.append(subprocess.Popen(serve, stdout=written, stderr=written, env=environment))
            ask = ["mariadb-admin", "--no-defaults", f"--socket={bound}", "--user=root"]
            _wait(lambda: subprocess.run([*ask, "ping"], capture_output=True, check=False).returncode == 0, log)
            subprocess.run([*ask, "create", "wordpress"], check=True, stdout=written, stderr=written)
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            php = ["php", "-d", "display_errors=0", "-S", f"127.0.0.1:{port}", "-t", home]
            processes.append(
                subprocess.Popen(php, stdout=written, stderr=written, env=environment, start_new_session=True)
            )
            _wait(lambda: _answers(port), log)
            wordpress = WordPress(f"http://127.0.0.1:{port}", home)
            try:
                wordpress.install()
                yield wordpress
            finally:
                wordpress.close()
        finally:
            for process in reversed(processes):
                # PHP's server has workers of its own.
                if process.args[0] == "php":
                    os.killpg(process.pid, signal.SIGTERM)
                else:
                    process.terminate()
                process.wait(30)
            shutil.rmtree(run, ignore_errors=True)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _wait(is_ready, log: Path, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not is_ready():
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.1)
