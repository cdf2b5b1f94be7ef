"""Products and grouped products as PyTorch launches them, forward, input and weight gradient."""
import torch
import torch.nn.functional as F

from . import trace

B = torch.bfloat16
WEIGHTS = {"llama3-8b qkv": (6144, 4096), "llama3-8b q": (4096, 4096), "llama3-8b k": (1024, 4096),
           "llama3-8b up": (14336, 4096), "llama3-8b down": (4096, 14336),
           "llama3-8b head": (128256, 4096), "qwen2-7b q": (3584, 3584), "qwen2-7b k": (512, 3584),
           "qwen2-7b up": (18944, 3584), "qwen2-7b down": (3584, 18944),
           "qwen3-30b q": (4096, 2048), "qwen3-30b k": (512, 2048), "qwen3-30b o": (2048, 4096),
           "qwen3-30b router": (128, 2048), "1b up": (8192, 2048),
           "gpt-oss q": (4096, 2880), "gpt-oss o": (2880, 4096), "v3 q down": (1536, 7168), "v3 q up": (24576, 1536),
           "v3 kv down": (576, 7168), "v3 kv up": (32768, 512),
           "v3 o": (7168, 16384), "v3 shared up": (2048, 7168)}
EXPERTS = {"mixtral": (8, 4096, 14336, 2), "qwen3-30b": (128, 2048, 768, 8), "gpt-oss-20b": (32, 2880, 2880, 4),
           "v3, 32 experts": (32, 7168, 2048, 8), "olmoe": (64, 2048, 1024, 8)}


def dense(tokens, quick):
    for name, (n, k) in (list(WEIGHTS.items())[:3] if quick else WEIGHTS.items()):
        for t in tokens:
            x = torch.randn(t, k, device="cuda", dtype=B)
            w = torch.randn(n, k, device="cuda", dtype=B) * 0.02
            g = torch.randn(t, n, device="cuda", dtype=B)
            yield "%s|%d|%d|%d|forward" % (name, t, n, k), lambda: F.linear(x, w)
            yield "%s|%d|%d|%d|input" % (name, t, n, k), lambda: g.mm(w)
            yield "%s|%d|%d|%d|weight" % (name, t, n, k), lambda: g.t().mm(x)
            del x, w, g


def counts(rows, experts, skew):
    """Rows of each expert: even, or falling geometrically so that the first has `skew` times the mean."""
    shares = torch.full((experts,), 1.0) if not skew else torch.linspace(skew, 2 - skew if skew < 2 else 0.02, experts)
    ends = (torch.cumsum(shares, 0) / shares.sum() * rows).round().int()
    ends[-1] = rows
    return ends.cuda()


def grouped(tokens, quick):
    multiply = getattr(F, "grouped_mm", None) or torch._grouped_mm
    for name, (experts, h, w, top) in (list(EXPERTS.items())[:1] if quick else EXPERTS.items()):
        first = (torch.randn(experts, 2 * w, h, device="cuda", dtype=B) * 0.02).requires_grad_()
        second = (torch.randn(experts, h, w, device="cuda", dtype=B) * 0.02).requires_grad_()
        for t in tokens:
            for skew in (0, 1.8):
                rows = t * top
                x = torch.randn(rows, h, device="cuda", dtype=B).requires_grad_()
                y = torch.randn(rows, w, device="cuda", dtype=B).requires_grad_()
                ends = counts(rows, experts, skew)
                for part, a, weight in (("first", x, first), ("second", y, second)):
                    key = "%s %s|%d|%d|%d|%d|%s" % (name, part, experts, rows, weight.shape[1], weight.shape[2],
                                                    "even" if not skew else "skew")
                    yield key + "|forward", lambda: multiply(a.detach(), weight.detach().transpose(-2, -1), offs=ends)
                    made = multiply(a, weight.transpose(-2, -1), offs=ends)
                    g = torch.randn_like(made)
                    yield key + "|input", lambda: torch.autograd.grad(made, a, g, retain_graph=True)
                    yield key + "|weight", lambda: torch.autograd.grad(made, weight, g, retain_graph=True)
                    del made, g
        del first, second
        torch.cuda.empty_cache()


def chains():
    """The same product alone, among streaming kernels, and 150 times in a row: what a warm device makes of it."""
    for name, t, n, k in (("8b up", 8192, 14336, 4096), ("8b q", 8192, 4096, 4096), ("8b head", 4096, 128256, 4096),
                          ("moe up", 2048, 2816, 2048)):
        x, w = torch.randn(t, k, device="cuda", dtype=B), torch.randn(n, k, device="cuda", dtype=B) * 0.02
        y = torch.randn(64 << 20, device="cuda", dtype=B)

        def alone():
            torch.cuda._sleep(20_000_000)
            F.linear(x, w)

        def among():
            for _ in range(12):
                F.linear(x, w)
                y.add_(1.0)

        def row():
            for _ in range(150 if t * n * k < 1 << 40 else 25):
                F.linear(x, w)
        yield "%s|%d|%d|%d|alone" % (name, t, n, k), alone
        yield "%s|%d|%d|%d|among" % (name, t, n, k), among
        yield "%s|%d|%d|%d|row" % (name, t, n, k), row


def measure(write, quick, deadline):
    tokens = [512] if quick else [64, 512, 2048, 3000, 4096, 8192, 16384]
    found, failed = trace.timed(dense(tokens, quick), repetitions=3)
    write("dense", {"columns": "name|tokens|n|k|pass", "times": slim(found), "failed": failed})
    found, failed = trace.timed(grouped([512] if quick else [512, 4096, 16384], quick), repetitions=2)
    write("grouped", {"columns": "name|experts|rows|n|k|load|pass", "times": slim(found), "failed": failed})
    if not quick:
        found, failed = trace.timed(chains(), repetitions=1, flush=False)
        write("chains",
              {key: [sum(1 for k in kernels if k[1] == "products"),
                     [k[2] for k in kernels if k[1] == "products"][::max(1, len(kernels) // 8)]]
                         for key, kernels in found.items()})


def slim(found):
    return {key: [[kernel[0], kernel[2]] for kernel in kernels] for key, kernels in found.items()}
