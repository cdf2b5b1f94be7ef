#!/usr/bin/env python3
"""What Megatron-Core's host takes for a layer, on one GPU as rank 0 of eight expert-parallel ranks.

    python3 tools/measure_megatron.py out.json --source DIR [--only "CASE;..."] [--iterations 20]

DIR has `megatron/core` of NVIDIA/Megatron-LM and `transformer_engine` of NVIDIA/TransformerEngine, as their
releases have them: nothing of them is here. Process groups are PyTorch's fake ones, which send nothing, so
that splits, copies to the host and permutations are those of a rank of eight. Transformer Engine's compiled
extension is stood for by `megatron_host/extension.py`; what its functions take is told apart.
"""

import argparse
import collections
import gc
import json
import os
import statistics
import sys
import time
import traceback

import torch

from megatron_host import extension, marks
from megatron_host.install import install
from megatron_host.marks import watch_layers, watch_stages
from megatron_host.step import LAYERS, TOKENS, Step, start

# Qwen3-30B-A3B as Megatron-Bridge runs it; each case says what differs.
CASES = {
    "bf16": {},
    "bf16, fused router": {"moe_router_fusion": True},
    "bf16, 4096 tokens": {"tokens": 4096},
    "bf16, no loss that balances": {"moe_router_load_balancing_type": "none"},
    "bf16, padded to capacity": {"moe_expert_capacity_factor": 1.0, "moe_pad_expert_input_to_capacity": True},
    "bf16, permutation by index": {"moe_permute_fusion": False},
    "bf16, reduced apart": {"overlap_grad_reduce": False},
    "tensorwise": {"fp8": "hybrid", "fp8_recipe": "tensorwise", "moe_router_fusion": True},
    "delayed": {"fp8": "hybrid", "fp8_recipe": "delayed", "moe_router_fusion": True},
    "mxfp8": {"fp8": "e4m3", "fp8_recipe": "mxfp8", "moe_router_fusion": True},
}

def median_us(values):
    return round(1e6 * statistics.median(values), 1) if values else None


def between_layers(prefix):
    """Seconds from layer to layer, of layers that have one before and behind them."""
    times = [at for name, at in marks.times if name == prefix + " layer"]
    return [b - a for a, b in zip(times, times[1:])]


def time_layers(step, iterations):
    forward, backward, whole = [], [], []
    for iteration in range(iterations):
        marks.times.clear()
        times, _ = step.both()
        if iteration >= iterations // 3:
            forward += between_layers("forward")
            backward += between_layers("backward")
            whole.append(times)
    return {"forward_us": median_us(forward), "backward_us": median_us(backward),
            "block_us": [median_us(one) for one in zip(*whole)]}


def time_stand_in(step, iterations):
    extension.is_timed = True
    sums = [collections.defaultdict(lambda: [0, 0.0, 0]), collections.defaultdict(lambda: [0, 0.0, 0])]
    for _ in range(iterations):
        marks.times.clear()
        _, spent = step.both()
        for total, one in zip(sums, spent):
            for name, value in one.items():
                total[name] = [a + b for a, b in zip(total[name], value)]
    extension.is_timed = False
    per = iterations * LAYERS
    return {side: {name: {"calls": round(v[0] / per, 2), "us": round(1e6 * v[1] / per, 1),
                          "launches": round(v[2] / per, 2)} for name, v in total.items()}
            for side, total in zip(("forward", "backward"), sums)}


def time_stages(step, iterations):
    stages = collections.OrderedDict()
    for iteration in range(iterations):
        marks.times.clear()
        step.both()
        if iteration < iterations // 3:
            continue
        for (name, at), (_, after) in zip(marks.times, marks.times[1:]):
            stages.setdefault(name, []).append(after - at)
    count = iterations - iterations // 3
    return {name: {"us": median_us(values), "times": round(len(values) / count / LAYERS, 2)}
            for name, values in stages.items()}


RUNTIME = ("Launch", "Memcpy", "Memset", "Synchronize", "EventRecord", "WaitEvent", "EventQuery")


def count_launches(step):
    """Calls of the driver between marks, by stage, from a trace; and what ran on the device."""
    from torch.profiler import ProfilerActivity, profile

    step.both()
    marks.is_profiled = True
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as trace:
        step.both()
    marks.is_profiled = False
    events = sorted(trace.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    stage, counts, ops = None, collections.OrderedDict(), collections.OrderedDict()
    waited = collections.Counter()
    entries, kernels = collections.Counter(), collections.Counter()
    for event in events:
        name = event.name()
        if name.startswith("mark:"):
            if "cuda" in str(event.device_type()).lower():
                continue
            stage = name[5:]
            entries[stage] += 1
            continue
        if "CUDA" in str(event.device_type()):
            kernels[name[:90]] += 1
            continue
        if stage is None or not name.startswith("cu"):
            if stage and name.startswith("aten::"):
                ops.setdefault(stage, collections.Counter())[name] += 1
            continue
        if any(part in name for part in RUNTIME):
            counts.setdefault(stage, collections.Counter())[name] += 1
            if "Synchronize" in name:
                waited[stage] += event.duration_ns()
    per = LAYERS
    return {"stages": {stage: {name: round(n / per, 2) for name, n in found.items()}
                       for stage, found in counts.items()},
            "entries": dict(entries), "waited_us": {s: round(v / 1e3 / per, 1) for s, v in waited.items()},
            "ops": {stage: {name: round(n / per, 2) for name, n in found.items()}
                    for stage, found in ops.items()},
            "kernels": dict(kernels.most_common(80))}


def measure(name, case, iterations):
    tokens = case.get("tokens", TOKENS)
    step = Step(case, tokens)
    for _ in range(4):
        marks.times.clear()
        step.both()
    watch_layers(step.block)
    gc.collect()
    gc.enable()
    result = {"tokens": tokens, "with garbage collection": time_layers(step, iterations)}
    gc.disable()  # as Megatron-Bridge has it (manual_gc)
    result["layer"] = time_layers(step, iterations)
    result["again"] = time_layers(step, iterations)
    result["stand_in"] = time_stand_in(step, iterations)
    watch_stages(step.block)
    result["stages"] = time_stages(step, iterations)
    try:
        result["launches"] = count_launches(step)
    except Exception:
        result["launches"] = {"failed": traceback.format_exc()[:3000]}
    return result


def loops_in_cpp():
    """Of a product of a chain that PyTorch multiplies in C++ (torch.linalg.multi_dot), one product more."""
    def one(count):
        chain = [torch.randn(64, 64, dtype=torch.bfloat16, device="cuda") for _ in range(count)]
        times = []
        for _ in range(60):
            torch.cuda.synchronize()
            begin = time.perf_counter()
            torch.linalg.multi_dot(chain)
            times.append(time.perf_counter() - begin)
        return statistics.median(times)

    few, many = one(4), one(20)
    return round(1e6 * (many - few) / 16, 2)


def linear_of_te(x, host):
    import transformer_engine.pytorch as te

    of_te = te.Linear(2048, 2048, bias=False, params_dtype=torch.bfloat16, device="cuda")
    extension.is_timed = True
    host(lambda: of_te(x))
    extension.spent.clear()
    whole = host(lambda: of_te(x))
    calls, seconds, _ = extension.spent["generic_gemm"]
    extension.is_timed = False
    product = round(1e6 * seconds / calls, 1)
    return {"linear of Transformer Engine": whole, "its product in the stand-in": product}


def ladder():
    """The same host by PyTorch alone: of configs/validation/software-h200.json, "issue"."""
    x = torch.randn(256, 2048, dtype=torch.bfloat16, device="cuda")
    linear = torch.nn.Linear(2048, 2048, bias=False, dtype=torch.bfloat16, device="cuda")
    out = torch.empty_like(x)
    weight = linear.weight.detach().t()

    def host(function):
        times = []
        for _ in range(12):
            torch.cuda.synchronize()
            begin = time.perf_counter()
            for _ in range(100):
                function()
            times.append((time.perf_counter() - begin) / 100)
        return median_us(times)

    with torch.no_grad():
        result = {"add": host(lambda: x + x), "add_": host(lambda: out.add_(x)),
                  "view": host(lambda: x.view(-1)), "mm out": host(lambda: torch.mm(x, weight, out=out)),
                  "linear module": host(lambda: linear(x)),
                  "zero_": host(lambda: out[:1, :4].zero_())}
    result["linear module, recorded"] = host(lambda: linear(x))
    try:
        result.update(linear_of_te(x, host))
    except Exception:
        result["linear of Transformer Engine"] = traceback.format_exc()[:3000]
    result["product in a loop in C++"] = loops_in_cpp()
    return result


def machine():
    cpu = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return {"device": torch.cuda.get_device_name(), "pytorch": torch.__version__, "cuda": torch.version.cuda,
            "python": sys.version.split()[0], "processor": cpu[0], "cores": len(cpu)}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--source", required=True)
    parser.add_argument("--only", help="cases, parted by semicolons")
    parser.add_argument("--iterations", type=int, default=20)
    arguments = parser.parse_args()
    sys.path.insert(0, arguments.source)
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "1")
    install(arguments.source)
    start()
    found = {"schema": "moesim.megatron-host/1", "machine": machine(), "ladder": ladder(), "cases": {}}
    for name, case in CASES.items():
        if arguments.only and name not in arguments.only.split(";"):
            continue
        begin = time.time()
        try:
            found["cases"][name] = measure(name, case, arguments.iterations)
            print(name, json.dumps(found["cases"][name]["layer"]), f"{time.time() - begin:.0f} s", flush=True)
        except Exception:
            found["cases"][name] = {"failed": traceback.format_exc()[:6000]}
            print(name, traceback.format_exc()[:3000], flush=True)
        gc.collect()
        with open(arguments.out, "w") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
