#!/usr/bin/env python3
"""What the software that people run launches on one GPU: kernels by op with their bytes, the host's times, updates,
whole steps of models of a public library. The evidence for the members of `software`.

    python3 tools/measure_software.py out.json                      # some 12 minutes on an H200
    python3 tools/measure_software.py out.json --only host,streams  # some of it
    torchrun --nproc_per_node 2 tools/measure_software.py out.json --only parallel

PyTorch is needed for all, transformers for `steps`. Each section runs in a process of its own and writes what it has
found, line by line, to out.json.lines; one that fails leaves the others alone."""
import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import time

SECTIONS = ("host", "streams", "products", "attention", "optimizers", "compiled", "stacks", "steps", "held_out")


def machine():
    import torch
    facts = {"device": torch.cuda.get_device_name(), "pytorch": torch.__version__, "cuda": torch.version.cuda,
             "cudnn": torch.backends.cudnn.version(),
             "nccl": ".".join(map(str, torch.cuda.nccl.version())), "python": platform.python_version(),
             "date": time.strftime("%Y-%m-%d", time.gmtime())}
    try:
        import transformers
        facts["transformers"] = transformers.__version__
    except ImportError:
        pass
    query = ["nvidia-smi", "--query-gpu=driver_version,power.limit", "--format=csv,noheader,nounits"]
    driver, limit = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split("\n")[0].split(", ")
    facts.update(driver=driver, power_limit_w=float(limit))
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        facts["processor"] = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "")
    facts["cores"] = os.cpu_count()
    return facts


def section(name, path, quick, seconds):
    """Runs in the child: appends a line of JSON for each finding."""
    def write(key, value):
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"section": name, "case": key, "value": value}, separators=(",", ":")) + "\n")
    if name == "machine":
        write("machine", machine())
    else:
        importlib.import_module("software." + name).measure(write, quick, time.time() + seconds)


def finish(lines, out):
    from software import compact
    with open(lines, encoding="utf-8") as file:
        text = compact.dump(compact.document(file))
    with open(out, "w", encoding="utf-8") as file:
        file.write(text)


def parent(options):
    lines = options.out + ".lines"
    if os.environ.get("LOCAL_RANK") is not None:
        if os.environ["RANK"] == "0":
            section("machine", lines, options.quick, 0)
        section("parallel", lines, options.quick, options.seconds)
        if os.environ["RANK"] == "0":
            finish(lines, options.out)
        return
    names = options.only.split(",") if options.only else SECTIONS
    for name in ("machine", *names):
        begin = time.time()
        command = [sys.executable, os.path.abspath(__file__), options.out, "--section", name, "--seconds",
                   str(options.seconds)] + ["--quick"] * options.quick
        try:
            code = subprocess.run(command, timeout=options.seconds + 60, check=False).returncode
        except subprocess.TimeoutExpired:
            code = "stopped"
        print("%s: %s, %.0f s" % (name, code, time.time() - begin), flush=True)
    finish(lines, options.out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--only",
                        help="sections, comma between: " + ", ".join(SECTIONS) + ", parallel (under torchrun)")
    parser.add_argument("--quick", action="store_true", help="small shapes, to see that all runs")
    parser.add_argument("--seconds", type=float, default=400, help="a section starts no case after this time")
    parser.add_argument("--section", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.section:
        section(options.section, options.out + ".lines", options.quick, options.seconds)
    else:
        parent(options)


if __name__ == "__main__":
    main()
