"""Draws what `thalweg-bench w=stall` prints: how long slices hold a core, with checkpoints and without, by the number of keys.

usage: python3 bench/stalls.py < RESULTS > stalls.svg    (the RESULT lines of several runs, one after the other)
"""
import json, math, sys

SHOWN = [("p50_us", "50 %"), ("p99_us", "99 %"), ("p99.9_us", "99.9 %"), ("p99.99_us", "99.99 %"), ("max_us", "longest")]
COLOURS = ["#2a7", "#27c", "#c42", "#839", "#777"]
LEFT, RIGHT, TOP, BOTTOM = 70, 500, 26, 264
LOWEST_US = 10.0


def x(place):
    return LEFT + 20 + place * (RIGHT - LEFT - 40) / (len(SHOWN) - 1)


def y(us):
    share = math.log(max(us, LOWEST_US) / LOWEST_US) / math.log(highest_us / LOWEST_US)
    return BOTTOM - share * (BOTTOM - TOP)


def shown_time(us):
    return "%g ms" % (us / 1000) if us >= 1000 else "%g µs" % us


def shown_keys(keys):
    return "%g M keys" % (keys / 1e6) if keys >= 1e6 else "%g k keys" % (keys / 1e3)


runs = [json.loads(line.split(" ", 1)[1]) for line in sys.stdin if line.startswith("RESULT ")]
runs = [run for run in runs if run["w"] == "stall"]
if not runs:
    sys.exit("no RESULT line of w=stall on standard input")
highest_us = max(20_000.0, *(run["slice"]["max_us"] for run in runs))
print('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 300" font-family="sans-serif" font-size="11">')
print("<title>How long a slice holds its core, with a checkpoint a second and without</title>")
print('<rect width="640" height="300" fill="#fff"/>')
for us in (10, 100, 1_000, 10_000):
    print('<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>' % (LEFT, y(us), RIGHT, y(us)))
    print('<text x="%d" y="%.1f" text-anchor="end" fill="#333">%s</text>' % (LEFT - 6, y(us) + 4, shown_time(us)))
for place, (_, name) in enumerate(SHOWN):
    print('<text x="%.1f" y="280" text-anchor="middle" fill="#333">%s</text>' % (x(place), name))
sizes = sorted({run["keys"] for run in runs})
for number, keys in enumerate(sizes):
    colour = COLOURS[number % len(COLOURS)]
    for run in (run for run in runs if run["keys"] == keys):
        points = " ".join("%.1f,%.1f" % (x(place), y(run["slice"][kind])) for place, (kind, _) in enumerate(SHOWN))
        dashes = "" if run["checkpoints"] else ' stroke-dasharray="4 3"'
        print('<polyline points="%s" fill="none" stroke="%s" stroke-width="1.6"%s/>' % (points, colour, dashes))
    at = 40 + 16 * number
    print('<text x="%d" y="%d" fill="%s">%s</text>' % (RIGHT + 14, at, colour, shown_keys(keys)))
at = 40 + 16 * len(sizes) + 8
print('<text x="%d" y="%d" fill="#333">with checkpoints: solid</text>' % (RIGHT + 14, at))
print('<text x="%d" y="%d" fill="#333">without: dashed</text>' % (RIGHT + 14, at + 16))
print("</svg>")
