"""What the host takes to issue work: no kernel here is long enough to hold it up."""
import time

import torch
import torch.nn.functional as F

from . import trace


def issue(call, count=500, before=None):
    """Microseconds of the host for one call: the least of 5 rounds, the device idle at the start of each."""
    best = float("inf")
    for _ in range(5):
        if before:
            before()
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(count):
            call()
        best = min(best, (time.perf_counter() - begin) / count * 1e6)
        torch.cuda.synchronize()
    return round(best, 3)


def calls(bf16=torch.bfloat16):
    x = torch.randn(64, 64, device="cuda", dtype=bf16)
    y, f = torch.randn_like(x), torch.randn(64, 64, device="cuda")
    w, scale = torch.randn(64, 64, device="cuda", dtype=bf16), torch.randn(64, device="cuda", dtype=bf16)
    rows = torch.arange(64, device="cuda")
    q = torch.randn(1, 2, 64, 64, device="cuda", dtype=bf16)
    linear = torch.nn.Linear(64, 64, bias=False, device="cuda", dtype=bf16)
    out = torch.empty_like(x)
    return {
        "add": lambda: x + y, "mul": lambda: x * y, "add, out given": lambda: torch.add(x, y, out=out),
        "add_": lambda: x.add_(y), "silu": lambda: F.silu(x),
        "cast": lambda: x.float(), "cast back": lambda: f.to(bf16), "pow": lambda: f.pow(2),
        "mean": lambda: f.mean(-1, keepdim=True),
        "rsqrt": lambda: torch.rsqrt(f), "view": lambda: x.view(1, 64, 64), "transpose": lambda: x.transpose(0, 1),
        "slice": lambda: x[:, :32],
        "neg": lambda: -x, "cat": lambda: torch.cat((x, y), -1), "contiguous": lambda: x.t().contiguous(),
        "softmax": lambda: F.softmax(x, -1, dtype=torch.float32),
        "matmul": lambda: x @ w, "linear": lambda: F.linear(x, w), "linear module": lambda: linear(x),
        "bmm": lambda: torch.bmm(q[0], q[0]),
        "sdpa flash": lambda: F.scaled_dot_product_attention(q, q, q, is_causal=True),
        "rms_norm": lambda: F.rms_norm(x, (64,), scale),
        "index": lambda: x[rows], "index_add_": lambda: x.index_add_(0, rows, y), "topk": lambda: torch.topk(f, 8, -1),
        "argsort": lambda: torch.argsort(rows),
        "one_hot": lambda: F.one_hot(rows, 64), "zeros": lambda: torch.zeros(64, 64, device="cuda"),
        "empty": lambda: torch.empty(64, 64, device="cuda"),
        "dropout": lambda: F.dropout(x, 0.1), "sum": lambda: x.sum(0),
        "record_event": lambda: torch.cuda.Event().record(),
    }


def backward(depth=400):
    """Microseconds of the host for a node of the backward pass, by kind of node."""
    bf16 = torch.bfloat16
    x = torch.randn(64, 64, device="cuda", dtype=bf16, requires_grad=True)
    w = torch.randn(64, 64, device="cuda", dtype=bf16, requires_grad=True)
    c = torch.randn(64, 64, device="cuda", dtype=bf16)
    kinds = {"mul by a constant (1 kernel)": lambda v: v * c, "mul of two (2 kernels, 1 accumulation)": lambda v: v * w,
             "linear (2 kernels, 1 accumulation)": lambda v: F.linear(v, w), "silu (1 kernel)": F.silu,
             "view (none)": lambda v: v.view(64, 64),
             "cast to and fro (2 kernels)": lambda v: v.float().to(bf16), "add (none)": lambda v: v + c}
    result = {}
    for name, step in kinds.items():
        best = float("inf")
        for _ in range(4):
            x.grad = w.grad = None
            v = x
            for _ in range(depth):
                v = step(v)
            gradient = torch.ones_like(v)
            torch.cuda.synchronize()
            begin = time.perf_counter()
            v.backward(gradient)
            best = min(best, (time.perf_counter() - begin) / depth * 1e6)
            torch.cuda.synchronize()
        result[name] = round(best, 3)
    return result


def waits():
    """Microseconds of reads on the host while the device has nothing to do, and of one behind a millisecond of work."""
    x, counts = torch.ones(4096, device="cuda"), torch.arange(64, device="cuda")
    mask = torch.ones(4096, 8, device="cuda") > 0
    kinds = {"item": lambda: x[0].item(), "tolist of 64": counts.tolist, "nonzero of 32768": mask.nonzero,
             "where": lambda: torch.where(mask),
             "cpu of 4096": x.cpu, "synchronize": torch.cuda.synchronize, "bool": lambda: bool(mask[0, 0])}
    return {name: issue(call, 100) for name, call in kinds.items()}


def graphs(nodes=500):
    x = torch.randn(64, 64, device="cuda")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        x.mul_(1.0)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(nodes):
            x.mul_(1.0)
    graph.replay()
    torch.cuda.synchronize()
    begin = time.perf_counter()
    graph.replay()
    issued = time.perf_counter()
    torch.cuda.synchronize()
    return {"nodes": nodes, "host_us": round((issued - begin) * 1e6, 2),
            "device_us_per_node": round((time.perf_counter() - begin) * 1e6 / nodes, 3)}


def gaps():
    """Time between the end of a kernel and the start of the next in one stream, and kernels' own least times."""
    x = torch.randn(64, 64, device="cuda", dtype=torch.bfloat16)
    big = torch.randn(4 << 20, device="cuda")
    mat = torch.randn(1024, 1024, device="cuda", dtype=torch.bfloat16)
    runs = {"add of 4096": lambda: x + x, "copy of 16 MiB": lambda: big.clone(), "product of 1024": lambda: mat @ mat,
            "product and add": lambda: mat @ mat + mat}
    result = {}
    for name, call in runs.items():
        call()

        def run():
            torch.cuda._sleep(8_000_000)
            for _ in range(200):
                call()
        kernels = [event for event in trace.Trace(trace.record(run, shapes=False)).kernels
                   if "spin" not in event["name"]]
        kernels.sort(key=lambda event: event["ts"])
        between = sorted(b["ts"] - a["ts"] - a["dur"] for a, b in zip(kernels[20:], kernels[21:]))
        times = sorted(event["dur"] for event in kernels)
        result[name] = {"gap_us": round(between[len(between) // 2], 3), "kernel_us": round(times[len(times) // 2], 3),
                        "kernels": len(kernels)}
    return result


def measure(write, quick, deadline):
    write("gaps", gaps())
    write("waits", waits())
    write("graph", graphs())
    table = calls()
    with torch.no_grad():
        write("issue, nothing recorded", {name: issue(call) for name, call in table.items()})
    recorded = {}
    for name, call in recording().items():
        recorded[name] = issue(call)
    write("issue, recorded for backward", recorded)
    write("backward node", backward())
    write("compiled", compiled())


def recording():
    bf16 = torch.bfloat16
    x = torch.randn(64, 64, device="cuda", dtype=bf16, requires_grad=True)
    w = torch.randn(64, 64, device="cuda", dtype=bf16, requires_grad=True)
    q = torch.randn(1, 2, 64, 64, device="cuda", dtype=bf16, requires_grad=True)
    linear = torch.nn.Linear(64, 64, bias=False, device="cuda", dtype=bf16)
    rows = torch.arange(64, device="cuda")
    return {"mul": lambda: x * w, "add": lambda: x + w, "silu": lambda: F.silu(x), "linear": lambda: F.linear(x, w),
            "linear module": lambda: linear(x),
            "cast": lambda: x.float(), "view": lambda: x.view(1, 64, 64), "transpose": lambda: x.transpose(0, 1),
            "cat": lambda: torch.cat((x, w), -1),
            "index": lambda: x[rows], "sdpa flash": lambda: F.scaled_dot_product_attention(q, q, q, is_causal=True),
            "mean": lambda: x.mean(-1, keepdim=True)}


def compiled():
    """A compiled function of one kernel against the same in eager mode: guards and dispatch on the host."""
    def chain(x, y):
        return F.silu(x) * y + x
    x = torch.randn(64, 64, device="cuda", dtype=torch.bfloat16)
    fast = torch.compile(chain)
    with torch.no_grad():
        fast(x, x)
        result = {"chain of 3, eager": issue(lambda: chain(x, x)), "chain of 3, compiled": issue(lambda: fast(x, x))}
    y = x.clone().requires_grad_()
    fast(y, y)
    result["chain of 3, compiled, recorded"] = issue(lambda: fast(y, y), 100)
    return result
