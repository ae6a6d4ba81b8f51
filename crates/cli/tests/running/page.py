

# Opens the status pages of a switch, an emulated link, a NAT and a lab: FOLDER KIND=URL... Screenshots go to FOLDER.

# What must be where: in the picture, in the table of drops, of parts, and on the list of what is wrong.
WANTED = {
    "switch": [("#topology", "1 address, netem"), ("#reasons", "loss (netem)"), ("#parts", "Ingress"), ("#topology", "VLAN 10"),
               ("#findings", "its link is down"), ("[data-id='tap:d'] text.bad", "its link is down")],
    "netem": [("#topology", "delay 20ms"), ("#reasons", "loss"), ("#parts", "measured delay 2"), ("#throughput", "tap:e \u2192 tap:f"),
              ("#findings", "No problem")],
    "nat": [("#topology", "Host network"), ("#topology", "to 10.0.2.100:80"), ("#reasons", "multicast"), ("#parts", "From inside"),
            ("#findings", "No problem")],
    "lab": [("#topology", "router"), ("#topology", "a-b: made to fail"), ("#parts", "made to fail"), ("#throughput", "pc-a"),
            ("#findings", "link a-b was made to fail")],
}

with Browser(sys.argv[1]) as page:
    for argument in sys.argv[2:]:
        kind, url = argument.split("=", 1)
        page.scheme("light")
        page.laptop()
        page.go(url)
        for selector, words in WANTED[kind]:
            wait(f"{kind}: {words} in {selector}", lambda: words in page.text(selector))
        wait(f"{kind}: traffic is drawn", lambda: page.run("return document.querySelector('#throughput polyline').points.length > 2"))
        wait(f"{kind}: traffic is counted", lambda: "kbit/s" in page.text("#throughput"))
        # What was asked for is no warning: but for what is down, all is well.
        assert not page.run("return document.querySelectorAll('.warn, #reasons .bad').length"), kind
        # The problems and the picture are on the first screen.
        seen = "return [...document.querySelectorAll('#findings li, #topology rect')].every(one => one.getBoundingClientRect().bottom <= innerHeight)"
        assert page.run(seen), kind
        page.check_charts()
        page.picture(f"{kind}-light")
        page.check_colors()
        page.scheme("dark")
        page.picture(f"{kind}-dark")
        page.phone()
        page.check_charts()
        page.picture(f"{kind}-phone")
        page.check_complaints()
