"""Opens the status page in headless Chromium: URL FOLDER SILENT REASON. Screenshots go to FOLDER.

The peer SILENT and the drop reason REASON must be on the page; it must work with a keyboard, in dark and light, and on a
phone; its policy must not be violated. Speaks the protocol of WebDriver, which is JSON over HTTP.
"""

import base64
import json
import subprocess
import sys
import time
import urllib.request

url, folder, silent, reason = sys.argv[1:]
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


session = None
driver = subprocess.Popen(["chromedriver", "--port=9515"], stdout=subprocess.DEVNULL)
try:
    wait("the driver is ready", lambda: call("GET", "/status")["ready"])
    arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,1000"]
    options = {"args": arguments, "binary": "/usr/bin/chromium"}
    capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
    session = "/session/" + call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})["sessionId"]

    def run(script):
        return call("POST", session + "/execute/sync", {"script": script, "args": []})

    def cdp(command, **parameters):
        call("POST", session + "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def picture(name):
        run("document.activeElement.blur(); scrollTo(0, 0)")
        time.sleep(1.5)
        with open(f"{folder}/{name}.png", "wb") as file:
            file.write(base64.b64decode(call("GET", session + "/screenshot")))

    def text(selector):
        return run(f"return document.querySelector({json.dumps(selector)}).textContent")

    def press(key):
        actions = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        call("POST", session + "/actions", {"actions": [{"type": "key", "id": "k", "actions": actions}]})

    call("POST", session + "/url", {"url": url})
    # Both are at the top of the page, and in the picture.
    wait("the silent peer is on the list", lambda: silent in text("#findings"))
    wait("the reason of drops is on the list", lambda: reason in text("#findings"))
    wait("the peer owes an answer for 15 s", lambda: "no answer" in text("#findings"))
    assert "problem" in text("#state"), text("#state")
    assert "bad" in run(f"return document.querySelector('[data-id=\"{silent}\"] rect').getAttribute('class')")
    wait("the reason is in the table", lambda: reason in text("#reasons tbody"))
    bad = run("return [...document.querySelectorAll('#findings li')].every(row => row.getBoundingClientRect().top < innerHeight)")
    assert bad, "each problem is on the first screen"
    # Ticks are round, and the axes have units.
    ticks = run("return [...document.querySelectorAll('#throughput text.end')].map(one => one.textContent)")
    values = [float(tick) for tick in ticks if tick.replace(".", "").isdigit()]
    size = values[1] - values[0]
    assert len(values) >= 3 and str(size).strip("0.")[:1] in ("1", "2", "5"), ticks
    assert "bit/s" in text("#throughput") and "-5 min" in text("#throughput") and "now" in text("#throughput")
    assert "packets/s" in text("#drops"), text("#drops")
    assert "ready" in text("#events") or "up" in text("#events"), text("#events")

    # The keyboard reaches everything, and sorts.
    reached = []
    for _ in range(30):
        press("\ue004")
        reached.append(run("const at = document.activeElement; return at.id || at.dataset.key || at.dataset.copy || at.className || at.tagName"))
    for part in ["skip", "label", "rank", "inRate", "events"]:
        assert part in reached, (part, reached)
    assert any("adit" in part for part in reached), reached
    run("document.querySelector('[data-key=label]').focus()")
    press("\ue007")
    assert run("return document.querySelector('[data-key=label]').parentElement.getAttribute('aria-sort')") == "ascending"

    picture("light")
    cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    picture("dark")
    light = run("return getComputedStyle(document.body).backgroundColor")
    cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    assert light != run("return getComputedStyle(document.body).backgroundColor")
    cdp("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=2, mobile=True)
    time.sleep(1.5)
    assert run("return document.documentElement.scrollWidth <= 390"), "nothing is wider than a phone"
    assert run("return document.querySelector('#topology svg').getBoundingClientRect().width <= 390")
    picture("phone")
    # A reply of /health that has problems is no complaint.
    lines = call("POST", session + "/se/log", {"type": "browser"})
    complaints = [line for line in lines if line["level"] == "SEVERE" and "/health" not in line["message"]]
    assert not complaints, complaints
finally:
    # The browser ends with its session, also after a failure.
    if session:
        call("DELETE", session)
    driver.kill()
    driver.wait()
