"""Start everything, have something happen, ask Prometheus, draw the page, and take a picture of it."""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dashboard import page, prometheus, story
from stage import chart
from stage.scene import ROOT, Scene, raise_scene

PICTURE = ROOT / "docs" / "dashboard.png"
POLL_SECONDS = 2
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main() -> int:
    """Draw it; 77 where what it needs is not installed."""
    parser = argparse.ArgumentParser(prog="python -m dashboard", description=__doc__)
    parser.add_argument("--seconds", type=float, default=25, help="that each part of the story lasts (default 25)")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="where the picture goes")
    options = parser.parse_args()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    missing = [] if shutil.which("prometheus") else [prometheus.INSTALL]
    missing += [] if browser else ["no chromium: apt-get install chromium"]
    if browser is None or missing:
        print("\n".join(missing), file=sys.stderr)
        return 77
    with tempfile.TemporaryDirectory(prefix="openscale-dashboard-") as name:
        folder = Path(name)
        with raise_scene(
            print, folder=folder, postgres=False, settings={"KEY_POLL_SECONDS": str(POLL_SECONDS)}
        ) as scene:
            text, height = _asked(scene, folder, options.seconds)
        (folder / "page.html").write_text(text)
        _shot(browser, folder / "page.html", options.picture, height)
    print(options.picture)
    return 0


def _asked(scene: Scene, folder: Path, seconds: float) -> tuple[str, int]:
    with scene.gateway() as gateway:
        ports = [url.removeprefix("http://") for url in (scene.operator.health_url, gateway.health_url)]
        with prometheus.run(folder, ports, chart.CHART / "files" / "alerts.yaml") as found:
            begin = time.time()
            story.play(scene, gateway, print, seconds)
            print(f"alerts that fire: {sorted(found.firing())}")
            return page.made(chart.CHART / "files" / "dashboard.json", found, page.Span(begin, time.time()))


def _shot(browser: str, file: Path, picture: Path, height: int) -> None:
    """A picture of a page, by a browser without a window and without a network."""
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1"]
    arguments += ["--disable-background-networking", "--disable-component-update", "--no-first-run"]
    arguments += [f"--user-data-dir={file.parent / 'browser'}", f"--window-size={page.WIDTH},{height}"]
    command = [browser, *arguments, f"--screenshot={picture}", file.as_uri()]
    subprocess.run(command, check=True, timeout=180, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
