"""A headless Chromium, by the protocol of WebDriver, which is JSON over HTTP. The tests of the status page begin with it."""

import base64
import json
import subprocess
import sys
import time
import urllib.request

DRIVER = "http://127.0.0.1:9515"


def call(method, path, body=None):
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(DRIVER + path, data, {"Content-Type": "application/json"}, method=method)
    return json.load(urllib.request.urlopen(request, timeout=120))["value"]


def wait(what, done):
    end = time.monotonic() + 60
    while True:
        try:
            value = done()
        except OSError:
            value = None
        if value:
            return value
        assert time.monotonic() < end, what
        time.sleep(0.2)


class Browser:
    """Ends with the block that it is opened for, also after a failure."""

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        self.session = None
        self.driver = subprocess.Popen(["chromedriver", "--port=9515"], stdout=subprocess.DEVNULL)
        try:
            wait("the driver is ready", lambda: call("GET", "/status")["ready"])
            arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
            options = {"args": arguments, "binary": "/usr/bin/chromium"}
            capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            self.session = "/session/" + call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})["sessionId"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.session:
            call("DELETE", self.session)
        self.driver.kill()
        self.driver.wait()

    def go(self, url):
        call("POST", self.session + "/url", {"url": url})

    def run(self, script):
        return call("POST", self.session + "/execute/sync", {"script": script, "args": []})

    def cdp(self, command, **parameters):
        return call("POST", self.session + "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def text(self, selector):
        return self.run(f"return document.querySelector({json.dumps(selector)}).textContent")

    def press(self, key):
        actions = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        call("POST", self.session + "/actions", {"actions": [{"type": "key", "id": "k", "actions": actions}]})

    def scheme(self, name):
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def laptop(self):
        self.cdp("Emulation.setDeviceMetricsOverride", width=1280, height=800, deviceScaleFactor=1, mobile=False)
        wait("the page is drawn again", lambda: self.run("return innerWidth === 1280"))

    def phone(self):
        self.cdp("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=2, mobile=True)
        fits = "return document.documentElement.scrollWidth <= 390 && document.querySelector('#throughput svg').getBoundingClientRect().width <= 390"
        wait("nothing is wider than a phone", lambda: self.run(fits))

    def picture(self, name):
        self.run("document.activeElement.blur(); scrollTo(0, 0)")
        time.sleep(0.3)
        shot = self.cdp("Page.captureScreenshot", captureBeyondViewport=True)
        with open(f"{self.folder}/{name}.png", "wb") as file:
            file.write(base64.b64decode(shot["data"]))

    def check_charts(self):
        """Ticks are round, axes have units, and no label is over another one."""
        for chart in ["throughput", "drops"]:
            ticks = self.run(f"return [...document.querySelectorAll('#{chart} text.end')].map(one => one.textContent)")
            values = [float(tick) for tick in ticks if tick.replace(".", "").isdigit()]
            size = f"{values[1] - values[0]:.6f}".strip("0.")
            assert len(values) >= 3 and size in ("1", "2", "5"), ticks
            assert "now" in self.text(f"#{chart}"), chart
        assert "bit/s" in self.text("#throughput") and "packets/s" in self.text("#drops")
        over = self.run("""
            const wrong = [];
            for (const picture of document.querySelectorAll("svg")) {
              const boxes = (what) => [...picture.querySelectorAll(what)].filter((one) => one.textContent || one.matches("rect"));
              for (const all of [boxes("text"), boxes("rect")]) {
                const places = all.map((one) => one.getBoundingClientRect());
                for (let a = 0; a < all.length; a++) for (let b = a + 1; b < all.length; b++) {
                  const [one, two] = [places[a], places[b]];
                  const wide = Math.min(one.right, two.right) - Math.max(one.left, two.left);
                  const high = Math.min(one.bottom, two.bottom) - Math.max(one.top, two.top);
                  if (wide > 1 && high > 4) wrong.push(`${all[a].textContent} over ${all[b].textContent}`);
                }
              }
              for (const group of picture.querySelectorAll("g[data-id]")) {
                const right = group.querySelector("rect").getBoundingClientRect().right;
                for (const text of group.querySelectorAll("text")) if (text.getBoundingClientRect().right > right) wrong.push(`${text.textContent} is cut`);
              }
            }
            return wrong;""")
        assert not over, over

    def check_colors(self):
        """Dark and light differ, and text stands out from its ground in both (WCAG AA)."""
        ratio = """
            const light = (color) => {
              const [r, g, b] = color.match(/[\\d.]+/g).map((one) => one / 255).map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
              return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const ground = (node) => { for (; node; node = node.parentElement) { const color = getComputedStyle(node).backgroundColor; if (!color.endsWith(", 0)")) return color; } };
            const weak = [];
            for (const node of document.querySelectorAll("p, td, th, li, h1, h2, code, button, svg text")) {
              const style = getComputedStyle(node), box = node.parentElement.querySelector(":scope > rect");
              const [a, b] = [light(style[node.matches("svg text") ? "fill" : "color"]), light(box ? getComputedStyle(box).fill : ground(node))];
              if ((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5) weak.push(node.textContent);
            }
            return weak;"""
        grounds = []
        for name in ["dark", "light"]:
            self.scheme(name)
            weak = self.run(ratio)
            assert not weak, (name, weak)
            grounds.append(self.run("return getComputedStyle(document.body).backgroundColor"))
        assert grounds[0] != grounds[1]

    def check_complaints(self):
        """Nothing was logged, as of the page's policy; a reply of /health that has problems is no complaint."""
        lines = call("POST", self.session + "/se/log", {"type": "browser"})
        complaints = [line for line in lines if line["level"] == "SEVERE" and "/health" not in line["message"]]
        assert not complaints, complaints
