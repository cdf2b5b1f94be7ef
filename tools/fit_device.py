#!/usr/bin/env python3
"""Fits what real kernels reach on a device (configs/devices/*.json) to measurements (configs/calibration/*.json).

usage: fit_device.py          errors of the numbers that stand in the device files
       fit_device.py --fit    the numbers themselves, each family fitted anew

The laws are those of models/cost/roofline.cpp; tests/paper/device_fit_test.cpp checks that program against the
same measurements. Fitted is the mean absolute error of the logarithm, by coordinate descent.
"""
import json
import math
import os
import re
import statistics
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
UNITS = {"us": 1e-6, "ns": 1e-9, "GB/s": 1e9, "TB/s": 1e12, "TFLOPS": 1e12, "G/s": 1e9, "GB": 1e9, "MB": 1e6, "GiB": 2**30, "MiB": 2**20}
BYTES = {"bf16": 2, "fp8": 1}


def merged(base, own):
    """`own` over `base`, part by part."""
    if not isinstance(base, dict) or not isinstance(own, dict):
        return own
    return {**base, **{key: merged(base.get(key), value) for key, value in own.items()}}


def load(path):
    with open(os.path.join(ROOT, "configs", path)) as file:
        value = json.load(file)
    extends = value.pop("extends", None)
    return merged(load(os.path.join(os.path.dirname(path), extends)), value) if extends else value


def plain(value):
    """Quantities as numbers in base units, tiles as pairs."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str):
        tile = re.fullmatch(r"(\d+)x(\d+)", value)
        if tile:
            return int(tile[1]), int(tile[2])
        quantity = re.fullmatch(r"([\d.]+) ?([A-Za-z/]+)", value)
        if quantity and quantity[2] in UNITS:
            return float(quantity[1]) * UNITS[quantity[2]]
    return value


def ceil(a, b):
    return -(-a // b)


def memory_time(d, size):
    return size / (d["memory_bandwidth"] * d["memory_efficiency"])


def traffic_time(d, size, kernels=1):
    least = memory_time(d, size)
    return least + min(kernels * d["memory_ramp"], least)


def interference(d, held):
    """Linear between the points of the curve of products, constant beyond the last."""
    before, factor = 0, 1.0
    for point in d["contention"].get("products", []):
        sms, slowdown = point["communication_sms"], point["compute"]
        if held <= sms:
            return factor + (slowdown - factor) * (held - before) / (sms - before)
        before, factor = sms, slowdown
    return factor


def exposed_sums(d, g, size):
    """Of a weight gradient: what products stand still for while tiles read and write their sums in fp32."""
    return g.get("exposed_sums", 0) * memory_time(d, size)


def product(d, precision, rows, n, k, held=0, sums=0):
    """Seconds of the kernel with its launch: products of rows[i] x n over k. `sums` are bytes that are read and
    written for an element of a weight gradient; else the result is written in bf16."""
    g, left = d["gemm"][precision], d["multiprocessors"] - held
    matrix = g["peak"] / d["multiprocessors"] * g["efficiency"]
    size, best = BYTES[precision], math.inf
    for r, c in g["tiles"]:
        tiles = sum(ceil(m, r) for m in rows) * ceil(n, c)
        step = max(2 * r * c / matrix, (r + c) * size / g["feed"])
        for parts in (1, 2, 3, 4, 6, 8):
            if parts > 1 and ("split_overhead" not in g or len(rows) > 1 or tiles * parts > left or k // parts < 256):
                break
            time = ceil(tiles * parts, left) * (step * ceil(k, parts) + g["tile_overhead"])
            if parts > 1:
                time += g["split_overhead"] + 8 * parts * sum(rows) * n / d["cache_bandwidth"]
            best = min(best, time)
    flops = 2 * sum(rows) * n * k
    compute = max(best * interference(d, held), flops / (g["peak"] * g["sustained"]))
    compute += exposed_sums(d, g, sums * sum(rows) * n)
    experts = sum(1 for m in rows if m)
    traffic = traffic_time(d, (sum(rows) * k + experts * n * k) * size + (sums or 2) * sum(rows) * n)
    fixed = d["launch_overhead"] + d["kernel_floor"] + g["kernel_overhead"]
    return fixed + max(compute, traffic) + g["unhidden"] * min(compute, traffic)


def weight_gradients(d, precision, rows, n, k):
    """Seconds of a grouped kernel whose products are n x k over rows[i]."""
    g, size, best = d["gemm"][precision], BYTES[precision], math.inf
    matrix = g["peak"] / d["multiprocessors"] * g["efficiency"]
    for r, c in g["tiles"]:
        each = ceil(n, r) * ceil(k, c)
        step = max(2 * r * c / matrix, (r + c) * size / g["feed"])
        units = [step * m + g["tile_overhead"] for m in rows if m]
        waves = ceil(each * len(units), d["multiprocessors"])
        best = min(best, max(max(units), waves * statistics.mean(units)))
    compute = max(best, 2 * sum(rows) * n * k / (g["peak"] * g["sustained"]))
    traffic = traffic_time(d, sum(rows) * (n + k) * size + 2 * len(units) * n * k)
    fixed = d["launch_overhead"] + d["kernel_floor"] + g["kernel_overhead"]
    return fixed + max(compute, traffic) + g["unhidden"] * min(compute, traffic)


def attention(d, shape, backward, held=0):
    batch, heads, kv_heads, sequence, head, value, causal, *rest = shape
    window = rest[0] if rest else 0
    a, rows = d["attention"], d["attention"]["tile_rows"]
    pass_ = a["backward" if backward else "forward"]
    units = []
    for first in range(0, sequence, rows):
        end = min(first + rows, sequence) if causal else sequence
        units.append(end - (max(0, first - window + 1) if window else 0))
    flops = 2 * (3 * head + 2 * value if backward else head + value)
    peak = d["gemm"]["bf16"]["peak"] * (pass_.get("wide", 1) if head > 128 else 1)
    products = flops / (peak / d["multiprocessors"] * pass_["efficiency"])
    scores = 1e-9 / pass_["giga_scores_per_second"]
    per_key = rows * (max(products, scores) + pass_.get("unhidden", 1) * min(products, scores))
    left, count = d["multiprocessors"] - held, batch * heads * len(units)
    total = batch * heads * sum(keys * per_key + pass_["tile_overhead"] for keys in units)
    longest = max(units) * per_key + pass_["tile_overhead"]
    # Greedy scheduling ends between total / left and that plus the longest (Graham 1969): halfway.
    compute = longest if count <= left else max(longest, total / left + longest / 2)
    compute = max(compute, batch * heads * sum(units) * rows * flops / (peak * pass_.get("sustained", 2)))
    queries, keys = batch * sequence * heads, batch * sequence * kv_heads
    operands = 2 * (queries + keys) * (head + value)
    size = 2 * operands + 12 * queries if backward else operands + 4 * queries
    kernels = 3 if backward else 1
    fixed = kernels * (d["launch_overhead"] + d["kernel_floor"]) + pass_["kernel_overhead"]
    traffic = traffic_time(d, size, kernels)
    return fixed + max(compute, traffic)


def streaming(d, size):
    return d["launch_overhead"] + d["kernel_floor"] + traffic_time(d, size)


def families(h200, h800, measured, fp8):
    """Name -> list of (predict, measured seconds, label)."""
    us = 1e-6
    yield "h200 bf16 GEMM", [(lambda m=m, n=n, k=k: product(h200, "bf16", [m], n, k), t * us, (m, n, k))
                             for m, n, k, t in measured["gemm_bf16"]]
    yield "h200 bf16 GEMM, backward layouts (check)", [(lambda m=m, n=n, k=k: product(h200, "bf16", [m], n, k), t * us, (l, m, n, k))
                                               for l, m, n, k, t in measured["gemm_layouts"]]
    yield "h200 fp8 GEMM", [(lambda m=m, n=n, k=k: product(h200, "fp8", [m], n, k), t * us, (m, n, k))
                            for m, n, k, t in measured["gemm_fp8"]]
    aligned = [row for row in measured["grouped_bf16"] if all(m % 8 == 0 for m in row[0])]
    odd = [row for row in measured["grouped_bf16"] if row not in aligned]
    for name, rows in (("rows in eights", aligned), ("odd rows", odd)):
        yield "h200 bf16 grouped GEMM, " + name + " (check)", [
            (lambda r=r, n=n, k=k: product(h200, "bf16", r, n, k), min(grouped, loop) * us, (len(r), sum(r), max(r), n, k))
            for r, n, k, grouped, loop, *rest in rows]
    yield "h200 bf16 grouped weight gradient (check)", [
        (lambda r=row[0], n=row[1], k=row[2]: weight_gradients(h200, "bf16", r, n, k), row[5] * us, (row[0], row[1], row[2]))
        for row in measured["grouped_bf16"] if len(row) > 5]
    yield "h200 attention forward", [(lambda s=row[:7]: attention(h200, s, False), row[7] * us, row[:7]) for row in measured["attention_bf16"]]
    yield "h200 attention backward", [(lambda s=row[:7]: attention(h200, s, True), row[8] * us, row[:7]) for row in measured["attention_bf16"]]
    yield "h200 memory-bound", [(lambda b=b: streaming(h200, b), t * us, (op, r, w)) for op, r, w, b, t in measured["memory"]
                                if op not in ("adamw", "softmax")]
    yield "h800 DeepGEMM", [(lambda r=r, n=n, k=k: product(h800, "fp8", r, n, k) - h800["launch_overhead"], t * us, (r, n, k))
                            for r, n, k, t in fp8["deepgemm"]]
    yield "h800 training trace, 20 SMs held (check)", [
        (lambda r=r, n=n, k=k: product(h800, "fp8", r, n, k, 20) - h800["launch_overhead"], t * us, (r, n, k)) for r, n, k, t in fp8["trace"]]
    yield "h800 trace attention, 20 SMs held (check)", [
        (lambda s=row[:7], b=b: attention(h800, s, b, 20) - h800["launch_overhead"], row[7 + b] * us, (b, row[:7]))
        for row in fp8["trace_attention"] for b in (False, True)]
    held = [row for row in measured["contention"] if row[0].startswith("gemm") and row[2] > 0]
    yield "h200 GEMM while SMs are held", [
        (lambda m=tuple(map(int, op.split()[1:])), s=s: product(h200, "bf16", [m[0]], m[1], m[2], s), t * us, (op, how, s))
        for op, how, s, told, t in held]


def published_product(d, row, experts=False):
    """A row of a table by Transformer Engine, grouped: one product of those that it runs for each expert."""
    which, rows, n, k, share = row[0], *row[-4:]
    flops = 2 * rows * n * k
    if experts:
        rows, n, k = {"forward": (rows, n, k), "backward_input": (rows, k, n), "backward_weight": (n, k, rows)}[which]
    sums = 8 if which == "backward_weight" else 0
    return (lambda: product(d, "bf16", [rows], n, k, sums=sums)), flops / (d["gemm"]["bf16"]["peak"] * share), row


def published_attention(d, row, backward, gap):
    """From the first kernel of a call to its last: `gap` has what the host takes between them."""
    heads, kv_heads, head, value, sequence, *shares = row
    flops = 2 * heads * (head + value) * sequence**2 * (2.5 if backward else 1)
    shape = (1, heads, kv_heads, sequence, head, value, True)
    return (lambda: attention(d, shape, backward) + gap[backward]), flops / (d["gemm"]["bf16"]["peak"] * shares[backward]), row


def exposed_share(d):
    """Of further bytes that a weight gradient adds to in fp32 instead of bf16, the share of the time that it takes
    longer: the median over pairs of the same shape."""
    table = load("calibration/measurements-b200-bf16.json")
    in_fp32 = {tuple(row[1:4]): row[4] for row in table["gemm_bf16"] if row[0] == "backward_weight"}
    def seconds(m, n, k, share):
        return 2 * m * n * k / (d["gemm"]["bf16"]["peak"] * share)
    return statistics.median((seconds(m, n, k, in_fp32[m, n, k]) - seconds(m, n, k, share)) / memory_time(d, 4 * m * n)
                             for m, n, k, share in table["sums_bf16"])


def blackwell(b200, gb200, table, gap):
    """The same of a B200 and a GB200."""
    attentions = load("calibration/measurements-gb200-attention.json")
    for which in ("forward", "backward_input", "backward_weight"):
        yield f"b200 bf16 {which}", [published_product(b200, row) for row in table["gemm_bf16"] if row[0] == which]
        yield f"b200 bf16 experts one by one, {which}", [
            published_product(b200, row, True) for row in table["grouped_bf16"] if row[0] == which]
    for backward, name in ((False, "forward"), (True, "backward")):
        yield f"b200 attention {name}", [published_attention(b200, row, backward, gap) for row in table["attention_bf16"]]
        yield f"gb200 attention {name}", [
            (lambda s=row[:8], b=backward: attention(gb200, s, b), row[8 + backward] * 1e-6, row[:8])
            for row in attentions["attention_bf16"] if row[8 + backward]]


def errors(rows):
    return [predict() / time - 1 for predict, time, _ in rows]


def summary(name, rows, worst=0):
    all_errors = errors(rows)
    sizes = sorted(map(abs, all_errors))
    print(f"{name:46} {len(rows):4}  median {statistics.median(sizes):6.1%}  p90 {sizes[int(0.9 * (len(sizes) - 1))]:6.1%}"
          f"  worst {sizes[-1]:6.1%}  bias {statistics.mean(all_errors):+6.1%}")
    for error, row in sorted(zip(all_errors, rows), key=lambda pair: -abs(pair[0]))[:worst]:
        print(f"    {error:+6.1%}  {row[1] * 1e6:9.1f} us  {row[2]}")


def descend(name, rows, places, bounds={}):
    """Moves the numbers at `places` (object, key) until no step of 1 % helps."""
    def loss():
        return statistics.mean(min(abs(math.log(predict() / time)), 0.5) for predict, time, _ in rows)
    best = loss()
    for step in (1.3, 1.1, 1.03, 1.01):
        moved = True
        while moved:
            moved = False
            for place, key in places:
                for factor in (step, 1 / step):
                    old = place[key]
                    low, high = bounds.get(key, (0, math.inf))
                    place[key] = min(max(old * factor, low), high)
                    found = loss()
                    if found < best - 1e-6:
                        best, moved = found, True
                    else:
                        place[key] = old
    print(name, "  ".join(f"{key} {place[key]:.4g}" for place, key in places))


def fit(h200, h800, table):
    # A loop at full clock: 1980 MHz, where the data sheet's peak stands for 1830 MHz.
    limits = {"efficiency": (0.5, 1.08), "sustained": (0.5, 1.0), "memory_efficiency": (0.7, 0.95), "wide": (0.5, 1)}
    bf16, fp8, deep = h200["gemm"]["bf16"], h200["gemm"]["fp8"], h800["gemm"]["fp8"]
    descend("memory", table["h200 memory-bound"], [(h200, key) for key in ("memory_efficiency", "kernel_floor", "memory_ramp")], limits)
    keys = ("efficiency", "sustained", "feed", "tile_overhead", "kernel_overhead", "unhidden", "split_overhead")
    descend("bf16", table["h200 bf16 GEMM"], [(bf16, key) for key in keys] , limits)
    descend("fp8", table["h200 fp8 GEMM"], [(fp8, key) for key in keys], limits)
    for direction in ("forward", "backward"):
        pass_ = h200["attention"][direction]
        pass_.setdefault("wide", 1)
        descend("attention " + direction, table["h200 attention " + direction],
                [(pass_, key) for key in ("efficiency", "wide", "giga_scores_per_second", "tile_overhead", "kernel_overhead")], limits)
    descend("DeepGEMM", table["h800 DeepGEMM"], [(deep, key) for key in keys[:-1]], limits)
    descend("interference", table["h200 GEMM while SMs are held"], [(point, "compute") for point in h200["contention"]["products"]])


def fit_blackwell(b200, gb200, table, gap):
    """The GB200's attention first: what is of the processor and not of power and libraries holds for both."""
    limits = {"efficiency": (0.2, 0.95), "sustained": (0.2, 0.95), "wide": (0.5, 1), "unhidden": (0.001, 1)}
    for number, direction in enumerate(("forward", "backward")):
        gb, b = gb200["attention"][direction], b200["attention"][direction]
        taken_over = ("giga_scores_per_second", "unhidden", "tile_overhead", "kernel_overhead")
        own = ("efficiency", "wide", "sustained")
        descend("GB200 attention " + direction, table["gb200 attention " + direction],
                [(gb, key) for key in own + taken_over], limits)
        b.update({key: gb[key] for key in taken_over})
        descend("B200 attention " + direction, table["b200 attention " + direction],
                [(b, key) for key in own] + [(gap, number)], limits)
    gemm = b200["gemm"]["bf16"]
    gemm["exposed_sums"] = exposed_share(b200) - gemm["unhidden"]
    # At the power limit are those of which a loop of a hundred goes on for 50 ms: shorter ones end before it holds.
    products = [row for name, rows in table.items() if name.startswith("b200 bf16") for row in rows if row[1] > 5e-4]
    descend("B200 bf16", products, [(gemm, "sustained")], limits)
    print("B200 bf16", f"exposed_sums {gemm['exposed_sums']:.4g}")


def main():
    h200, h800 = plain(load("devices/h200.json")), plain(load("devices/h800.json"))
    b200, gb200 = plain(load("devices/b200.json")), plain(load("devices/gb200.json"))
    measured, fp8 = load("calibration/measurements-h200-bf16.json"), load("calibration/measurements-h800-fp8.json")
    published = load("calibration/measurements-b200-bf16.json")
    gap = [us * 1e-6 for us in published["attention_gap_us"]]
    table = {**dict(families(h200, h800, measured, fp8)), **dict(blackwell(b200, gb200, published, gap))}
    if "--fit" in sys.argv[1:]:
        fit(h200, h800, table)
        fit_blackwell(b200, gb200, table, gap)
    for name, rows in table.items():
        summary(name, rows, worst=8 if "--worst" in sys.argv[1:] else 0)


if __name__ == "__main__":
    main()
