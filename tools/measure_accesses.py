#!/usr/bin/env python3
"""How long PyTorch's streaming kernels take on this GPU, by size: what `moesim calibrate` fits accesses to.

    python3 tools/measure_accesses.py accesses.json            # 20 seconds on an H200
    moesim calibrate --measurements accesses.json --calibration h200.json --out h200-with-accesses.json

PyTorch is needed and nothing else. Each call stands behind a copy, as a kernel of a step behind others: the last-level
cache is full of other lines, half of them not written back. What counts is the time of its kernels alone, as CUPTI has
it, without the gap before them. Sizes that judge the fit are drawn by --seed."""
import argparse
import json
import random
import re
import subprocess
import sys
import time

MOST_BYTES, MOST_BYTES_OF_LISTS = 2 << 30, 8 << 30
REPETITIONS = 7
HELD_OUT = 6  # sizes of each access
UNSUPPORTED = (RuntimeError, TypeError, AttributeError, NotImplementedError)  # of a call, in this version of PyTorch


def device_of(facts):
    """The GPU that PyTorch calls 0, which need not be the driver's first."""
    return "--id=GPU-%s" % facts.uuid


def machine():
    import torch
    facts = torch.cuda.get_device_properties(0)
    query = ["nvidia-smi", device_of(facts), "--query-gpu=driver_version,clocks.max.sm,clocks.max.mem", "--format=csv,noheader,nounits"]
    driver, clock, memory_clock = subprocess.run(query, capture_output=True, text=True,
                                                 check=True).stdout.split("\n")[0].split(", ")
    return {"device": facts.name, "uuid": str(facts.uuid).replace("-", ""),
            "compute_capability": "%d.%d" % (facts.major, facts.minor), "multiprocessors": facts.multi_processor_count,
            "memory_bytes": facts.total_memory, "cache_bytes": facts.L2_cache_size, "max_clock_mhz": float(clock),
            "memory_clock_mhz": float(memory_clock), "driver": driver, "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(), "pytorch": torch.__version__}


def state(call):
    """Clock in MHz and power in W while the call goes on."""
    import torch
    query = ["nvidia-smi", device_of(torch.cuda.get_device_properties(0)), "--query-gpu=clocks.sm,power.draw", "--format=csv,noheader,nounits"]
    with subprocess.Popen(query, stdout=subprocess.PIPE, text=True) as reading:
        while reading.poll() is None:
            for _ in range(8):
                call()
            torch.cuda.current_stream().synchronize()
        clock, power = reading.stdout.read().split("\n")[0].split(", ")
    return float(clock), float(power)


def sizes(exponents, dice, accesses):
    """(elements, width of rows, whether it judges the fit)."""
    for number, exponent in enumerate(exponents):
        yield 1 << exponent, accesses.WIDTHS[number % len(accesses.WIDTHS)], False
    for _ in range(HELD_OUT):  # in 64s: odd ones are copied and loaded element by element
        n = int(2 ** dice.uniform(exponents[0], exponents[-1] - 1)) // 64 * 64
        yield n, dice.choice(accesses.WIDTHS + accesses.OTHER_WIDTHS), True


def said(what, error):
    return "%s: %s" % (what, str(error).split("\n")[0][:120])


def cases(maker, exponents, dice, accesses, lines, failed):
    """(key, call) of one access; `lines` takes what is known of each before it is timed."""
    import torch
    seen, most = set(), MOST_BYTES_OF_LISTS if maker in accesses.OF_LISTS else MOST_BYTES
    for number, (n, width, held_out) in enumerate(sizes(exponents, dice, accesses)):
        try:
            for name, elements, nbytes, call, pattern in maker(n, width):
                if nbytes > most or (name, elements) in seen:
                    continue
                seen.add((name, elements))
                key = "%s|%d" % (name, number)
                lines[key] = {"op": "streaming", "access": maker.__name__, "elements": elements, "bytes": nbytes,
                              "held_out": held_out, "pattern": pattern, "call": name}
                yield key, call
        except UNSUPPORTED as error:
            failed.append(said("%s of %d elements" % (maker.__name__, n), error))
        torch.cuda.empty_cache()


def middle_of(runs):
    ordered = sorted(runs)
    return ordered[len(ordered) // 2]


def timed(line, repetitions):
    """The line with its time: the median over repetitions, the first left out, of the kernels that count."""
    totals, names = [], ()
    for _, kernels in sorted(repetitions.items())[1:]:
        own = [kernel for kernel in kernels if re.search(line["pattern"], kernel[0])]
        if own:
            totals.append(sum(kernel[2] for kernel in own))
            names = tuple(kernel[0] for kernel in own)
    if not totals:
        return None
    middle = middle_of(totals)
    off = middle_of(abs(total - middle) for total in totals)
    made = {key: line[key] for key in ("op", "access", "elements", "bytes")}
    made.update(kernels=len(names), time_s=float("%.6g" % (middle * 1e-6)),
                noise=float("%.3g" % (1.4826 * off / middle)), samples=len(totals))
    if line["held_out"]:
        made["held_out"] = True
    made["method"] = line["call"] + ": " + ", ".join(sorted(set(names)))[:80]
    return made


def record(maker, exponents, dice, spare, lines, failed):
    """Kernels of each case by repetition; the largest call, None where there is none."""
    import torch
    from software import accesses, trace
    from torch.profiler import record_function
    largest = (0, None)

    def run():
        nonlocal largest
        for key, call in cases(maker, exponents, dice, accesses, lines, failed):
            try:
                for number in range(REPETITIONS + 1):
                    spare[0].copy_(spare[1])
                    with record_function("case:%s#%d" % (key, number)):
                        call()
                torch.cuda.synchronize()
            except UNSUPPORTED as error:
                failed.append(said(lines.pop(key)["call"], error))
                continue
            largest = max(largest, (lines[key]["bytes"], call), key=lambda each: each[0])
    return trace.by_case(trace.Trace(trace.record(run, shapes=False))), largest[1]


def measure(maker, exponents, dice, spare):
    """Lines of one access and sentences of what could not be measured."""
    lines, failed, result = {}, [], []
    found, call = record(maker, exponents, dice, spare, lines, failed)
    if call is None:
        return [], failed
    clock, power = state(call)
    for key, line in lines.items():
        made = timed(line, found.get(key, {}))
        names = sorted({kernel[0] for kernels in found.get(key, {}).values() for kernel in kernels})
        if made is not None:
            result.append(dict(made, clock_mhz=clock, power_w=power))
        elif names:  # else there was nothing to copy
            failed.append("%s of %d elements: none of its kernels counts, they are %s" %
                          (line["call"], line["elements"], ", ".join(names)[:160]))
    return result, failed


def document(facts, lines, missing, started, quick):
    device = dict(facts, started=started, finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    head = json.dumps(device)[1:-1]
    text = ",\n  ".join(json.dumps(line) for line in lines)
    return ('{"schema": "moesim.measurements/1", "mode": "%s", "devices": [{%s,\n "measurements": [\n  %s],\n'
            ' "not_measured": %s}]}\n' % ("quick" if quick else "full", head, text, json.dumps(missing)))


def exponents_of(maker, quick):
    """Powers of two that are measured."""
    from software import accesses
    least, most = accesses.LEAST.get(maker, 12), 29 if maker in accesses.OF_LISTS else 28
    return [each for each in ((14, 20, 24) if quick else (12, 14, 16, *range(18, 30))) if least <= each <= most]


def chosen(options, parser):
    from software import accesses
    makers = {maker.__name__: maker for maker in accesses.MAKERS}
    names = options.only.split(",") if options.only else list(makers)
    for name in names:
        if name not in makers:
            parser.error("unknown access '%s' (known: %s)" % (name, ", ".join(makers)))
    return [makers[name] for name in names]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--only", help="accesses, comma between")
    parser.add_argument("--seed", type=int, default=1, help="of the sizes that judge the fit")
    parser.add_argument("--quick", action="store_true", help="few sizes, to see that all runs")
    options = parser.parse_args()
    import torch
    if not torch.cuda.is_available():
        sys.exit("measure_accesses: PyTorch finds no GPU here")
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    # Twice the last-level cache, copied to as much before each call.
    spare = torch.zeros(2, torch.cuda.get_device_properties(0).L2_cache_size // 2, device="cuda")
    facts, lines, missing = machine(), [], []
    for maker in chosen(options, parser):
        begin = time.time()
        found, failed = measure(maker, exponents_of(maker, options.quick),
                                random.Random("%d %s" % (options.seed, maker.__name__)), spare)
        lines += found
        missing += dict.fromkeys(failed)
        print("%s: %d lines, %.1f s" % (maker.__name__, len(found), time.time() - begin), flush=True)
        with open(options.out, "w", encoding="utf-8") as file:
            file.write(document(facts, lines, missing, started, options.quick))


if __name__ == "__main__":
    main()
