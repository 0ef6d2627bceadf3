"""The session and the table of compare.sh, which builds everything and starts this; see there."""
import datetime, json, os, platform, statistics, subprocess, sys, tempfile, time

here, runs, quick, flink_skipped = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1", sys.argv[4]
engines = dict(e.split("=", 1) for e in sys.argv[5:])
KEYS, LIMIT_S, FOREIGN = 1_000_000, 1800, 0.05

# (workload, dist, n): outputs, a, and f (which only parallelism 1 fixes). The full sizes are workloads.md's;
# those of --quick come from a program of their own written from workloads.md, and timely, renoir and Flink agree.
KNOWN = {
    ("w1", 0, 400_000_000): (3_252_063, "f7cc302c836e4921", None),
    ("w2", 0, 30_000_000): (30_000_000, "bd975a98c49c40cc", "53c0ef27b8b02332"),
    ("w2", 1, 30_000_000): (30_000_000, "610d036231da3e6b", "8f3d38e811cdf7b9"),
    ("w3", 0, 30_000_000): (399_997, "a575d81eae5e82d4", None),
    ("w1", 0, 3_000_000): (24_439, "c6433db3def45fe5", None),
    ("w2", 0, 3_000_000): (3_000_000, "927121ccf344d72a", "4c431f9ab4868269"),
    ("w2", 1, 3_000_000): (3_000_000, "ada4b746c2fed6ce", "d3133d5cd42ee8d3"),
    ("w3", 0, 3_000_000): (100_000, "c19a9d2ed3dad5eb", None),
}
CELLS = [(w, d, p) for w, d in (("w1", 0), ("w2", 0), ("w2", 1), ("w3", 0)) for p in (1, 2)]
NAMES = {("w1", 0): "W1 stateless", ("w2", 0): "W2 uniform", ("w2", 1): "W2 skewed", ("w3", 0): "W3 tumbling"}


def size(w):
    return 3_000_000 if quick else 400_000_000 if w == "w1" else 30_000_000


def flink_warm(w):
    return 3_000_000 if quick else 50_000_000 if w == "w1" else 10_000_000


def wrong(r):
    """What is wrong with a RESULT, or None. A size KNOWN does not list (Flink's warm-up) has no known value."""
    known = KNOWN.get((r["w"], r["dist"], r["n"]))
    if known is None:
        return None if r["run"] < 0 else "no known value for n = %d" % r["n"]
    out, a, f = known
    if r["out"] != out:
        return "%d outputs, not %d" % (r["out"], out)
    if r["a"] != a:
        return "a = %s, not %s" % (r["a"], a)
    got = r.get("f", "0" * 16)
    if f and r["p"] == 1 and got.strip("0") and got != f:
        return "f = %s, not %s" % (got, f)
    return None


def busy_s():
    """CPU seconds all processes of the machine have used."""
    v = [int(x) for x in open("/proc/stat").readline().split()[1:]]
    return (v[0] + v[1] + v[2] + v[5] + v[6]) / os.sysconf("SC_CLK_TCK")


def run(engine, w, d, p, n, cwd, tag=None):
    """One process: a warm-up and one measured run. Returns (its RESULTs, share of the machine others used, error)."""
    cmd = [engines[engine], "w=" + w, "p=%d" % p, "n=%d" % n, "runs=1", "warm=1", "dist=%d" % d, "keys=%d" % KEYS]
    if engine == "flink":
        cmd.append("warmn=%d" % flink_warm(w))
        if tag:
            cmd.append("tag=" + tag)
    t0, b0, u0 = time.monotonic(), busy_s(), os.times()
    with open(os.path.join(cwd, "stderr"), "w+") as err:
        try:
            x = subprocess.run(cmd, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err, text=True, timeout=LIMIT_S)
            rc, text = x.returncode, x.stdout
        except subprocess.TimeoutExpired:
            rc, text = "more than %d s" % LIMIT_S, ""
        err.seek(0)
        tail = err.read()[-1500:]
    u1, wall = os.times(), time.monotonic() - t0
    own = u1.children_user + u1.children_system - u0.children_user - u0.children_system
    foreign = max(0.0, (busy_s() - b0 - own) / (wall * (os.cpu_count() or 1)))
    rs, bad = [], None
    try:
        rs = [json.loads(l[7:]) for l in text.splitlines() if l.startswith("RESULT {")]
        got = [(r["peer"], r["w"], r["p"], r["dist"], r["n"]) for r in rs if r["run"] >= 0]
        if rc == 0 and got != [(engine, w, p, d, n)]:
            bad = "asked for %s, got %s" % ((engine, w, p, d, n), got)
        [(r["evps"], r["ev_per_cpu_s"], r["rss_mb"], r["out"], r["a"], r["cpu_s"]) for r in rs]
    except (ValueError, KeyError) as e:
        bad = "unreadable RESULT: %r" % e
    if rc != 0:
        bad = "exit status %s" % rc
    if bad:
        sys.stderr.write(tail)
    return rs, foreign, bad


def git(*a):
    try:
        return subprocess.run(["git", "--no-optional-locks", "-C", here, *a], capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def cpu_model():
    for l in open("/proc/cpuinfo"):
        if l.startswith("model name"):
            return l.split(":", 1)[1].strip()
    return platform.machine()


def million(x):
    return "%.3g M" % (x / 1e6) if x < 1e9 else "%.0f M" % (x / 1e6)


def main():
    stamp = datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
    raw_path = os.path.join(here, "results", "raw-%s.jsonl" % stamp)
    meta = {"meta": "compare.sh", "date": stamp, "quick": quick, "runs": runs, "engines": sorted(engines), "flink_skipped": flink_skipped,
            "cpu": cpu_model(), "cpus": os.cpu_count(), "kernel": platform.release(), "git": git("rev-parse", "--short", "HEAD") + ("-dirty" if git("status", "--porcelain") else ""),
            "rustflags": os.environ.get("RUSTFLAGS")}
    b0 = busy_s(); time.sleep(2); idle_load = (busy_s() - b0) / (2 * (os.cpu_count() or 1))
    meta["busy_before"] = round(idle_load, 3)
    if idle_load > FOREIGN:
        print("WARNING: other processes use %.0f %% of this machine: the figures will be wrong" % (idle_load * 100), file=sys.stderr)

    done, faults, noisy, total, startup = {}, [], 0, 0, {}
    with open(raw_path, "w") as raw, tempfile.TemporaryDirectory() as cwd:
        def put(o):
            raw.write(json.dumps(o) + "\n"); raw.flush()
        put(meta)
        # Flink counts the CPU time of starting and stopping its cluster in every run; a run of one event shows how much that is.
        if "flink" in engines:
            for w, p in sorted({(w, p) for w, _, p in CELLS}):
                rs, _, bad = run("flink", w, 0, p, 1, cwd, tag="startup")
                for r in rs:
                    put(r)
                if bad:
                    faults.append("%s p=%d flink start-up: %s" % (w, p, bad)); put({"error": faults[-1]})
                else:
                    startup[w, p] = rs[-1]["cpu_s"]
                    print("%s p=%d flink start-up: %.2f CPU s" % (w, p, startup[w, p]), file=sys.stderr)
        for i in range(runs):
            for c, (w, d, p) in enumerate(CELLS):
                names = list(engines); k = (i + c) % len(names)
                for e in names[k:] + names[:k]:
                    rs, foreign, bad = run(e, w, d, p, size(w), cwd)
                    for r in rs:
                        put(r)
                    checks = [x for x in map(wrong, rs) if x] if not bad else []
                    if bad or checks:
                        faults.append("%s dist=%d p=%d %s: %s" % (w, d, p, e, bad or "; ".join(checks)))
                        put({"error": faults[-1]})
                    total += 1; noisy += foreign > FOREIGN
                    put({"foreign_cpu": round(foreign, 3), "of": [e, w, d, p, i]})
                    got = [r for r in rs if r["run"] >= 0] if not bad else []
                    cell = done.setdefault((w, d, p), {}).setdefault(e, {"rs": [], "bad": []})
                    cell["rs"] += got; cell["bad"] += [bad] if bad else checks
                    said = "%s events/s, %s per CPU s" % (million(got[0]["evps"]), million(got[0]["ev_per_cpu_s"])) if got else "FAILED"
                    print("%d/%d %s p=%d %s: %s, %s" % (i + 1, runs, NAMES[w, d], p, e, said, bad or "; ".join(checks) or "check value ok"), file=sys.stderr)

    out = ["Session of %s%s: %s, %d CPUs, Linux %s, commit %s; median of %d run(s)." % (
        stamp, " (--quick: 3 M events, NOT a measurement)" if quick else "", meta["cpu"], meta["cpus"], meta["kernel"], meta["git"] or "unknown", runs), ""]
    if flink_skipped:
        out += ["Flink was skipped: %s." % flink_skipped, ""]
    out += ["| workload | p | engine | events/s | events per CPU s | spread | RSS MB | check value | per CPU s: × Flink | × Flink without start-up | × timely |",
            "| --- | ---: | --- | ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: |"]
    for w, d, p in CELLS:
        cell = done[w, d, p]
        med = lambda e, f: statistics.median(r[f] for r in cell[e]["rs"]) if e in cell and cell[e]["rs"] else None
        sound = lambda e: e in cell and not cell[e]["bad"]  # a wrong answer has no speed to compare with
        base_t = med("timely", "ev_per_cpu_s") if sound("timely") else None
        base_f = med("flink", "ev_per_cpu_s") if sound("flink") else None
        base_net = None
        if base_f and (w, p) in startup:
            cpu = med("flink", "cpu_s") - startup[w, p]
            base_net = size(w) / cpu if cpu > 0.2 * med("flink", "cpu_s") else None
        for e in engines:
            rs, x = cell[e]["rs"], med(e, "ev_per_cpu_s")
            ok = "ok" if sound(e) else "**NO**: " + cell[e]["bad"][0].replace("|", "/")
            if not rs:
                out.append("| %s | %d | %s | – | – | – | – | %s | – | – | – |" % (NAMES[w, d], p, e, ok)); continue
            v = [r["ev_per_cpu_s"] for r in rs]
            ratio = lambda b: "%.2f" % (x / b) if b and x and sound(e) else "–"
            out.append("| %s | %d | %s | %s | %s | %.0f %% | %.0f | %s | %s | %s | %s |" % (
                NAMES[w, d], p, e, million(med(e, "evps")), million(x), 100 * (max(v) - min(v)) / x if x else 0, med(e, "rss_mb"), ok,
                ratio(base_f), ratio(base_net) if e != "flink" else "–", ratio(base_t)))
    out += ["", "n = %s; spread is (max - min) / median of events per CPU second. Flink's CPU time includes starting and stopping its cluster, "
            "its events/s do not: \"without start-up\" takes off the CPU time of a run of one event%s. "
            "In Flink and renoir p = 1 means more than one thread." % (
                "3 M everywhere" if quick else "400 M in W1, 30 M in W2 and W3",
                " (%s s)" % ", ".join("%s p=%d %.1f" % (w, p, s) for (w, p), s in startup.items()) if startup else ""),
            "Other processes used more than %.0f %% of the machine in %d of %d processes measured." % (FOREIGN * 100, noisy, total)]
    if faults:
        out += ["", "**Faults:**", ""] + ["- " + f for f in faults]
    text = "\n".join(out) + "\n"
    paths = [os.path.join(here, "results", "table-%s.md" % stamp)]
    if not (quick or faults or flink_skipped or runs < 3):
        paths.append(os.path.join(here, "results", "table.md"))
    for path in paths:
        with open(path, "w") as f:
            f.write(text)
    print(text)
    print("raw: %s\ntable: %s" % (os.path.relpath(raw_path), ", ".join(map(os.path.relpath, paths))), file=sys.stderr)
    return 1 if faults else 0


sys.exit(main())
