

# Opens the status page of a tunnel: FOLDER URL SILENT REASON. Screenshots go to FOLDER.
# The peer SILENT and the drop reason REASON must be on the first screen; the page must work with a keyboard.

folder, url, silent, reason = sys.argv[1:]
with Browser(folder) as page:
    page.laptop()
    page.go(url)
    wait("the silent peer is on the list", lambda: silent in page.text("#findings"))
    wait("the reason of drops is on the list", lambda: reason in page.text("#findings"))
    wait("the peer owes an answer for 15 s", lambda: "no answer" in page.text("#findings"))
    assert "problem" in page.text("#state"), page.text("#state")
    group = f"[data-id=\"{silent}\"]"
    wait("the picture shows it", lambda: "silent for" in page.text(group))
    assert "bad" in page.run(f"return document.querySelector({json.dumps(group + ' rect')}).getAttribute('class')")
    wait("the reason is in the table", lambda: reason in page.text("#reasons tbody"))
    # All of it without scrolling: the list, its remedies, and the picture.
    seen = f"return [...document.querySelectorAll('#findings li, {group}')].every(one => one.getBoundingClientRect().bottom <= innerHeight)"
    assert page.run(seen), "each problem is on the first screen"
    page.check_charts()
    assert "ready" in page.text("#events") or "up" in page.text("#events"), page.text("#events")

    # The keyboard reaches everything, its place is seen, and it sorts.
    reached = []
    for _ in range(30):
        page.press("\ue004")
        at, outline = page.run("const at = document.activeElement; return [at.id || at.dataset.key || at.dataset.copy || at.className || at.tagName, getComputedStyle(at).outlineWidth]")
        assert at in ("BODY", "HTML") or outline == "3px", (at, outline)
        reached.append(at)
    for part in ["skip", "label", "rank", "inRate", "events"]:
        assert part in reached, (part, reached)
    assert any("adit" in part for part in reached), reached
    page.run("document.querySelector('[data-key=label]').focus()")
    page.press("\ue007")
    assert page.run("return document.querySelector('[data-key=label]').parentElement.getAttribute('aria-sort')") == "ascending"

    page.picture("light")
    page.check_colors()
    page.scheme("dark")
    page.picture("dark")
    page.scheme("light")
    page.phone()
    seen = "return [...document.querySelectorAll('#findings .what')].every(one => one.getBoundingClientRect().bottom <= innerHeight)"
    wait("each problem is on the first screen of a phone", lambda: page.run("scrollTo(0, 0); " + seen))
    page.check_charts()
    page.picture("phone")
    page.check_complaints()
