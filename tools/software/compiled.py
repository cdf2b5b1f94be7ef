"""Blocks in the manner of torchtitan (fp32 complex rotary embedding, fused norms, SDPA, grouped products), eager and
compiled block by block: kernels, what is kept, the host's time."""
import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from . import host, trace

B = torch.bfloat16


class Attention(nn.Module):
    def __init__(self, h, heads, kv_heads, head):
        super().__init__()
        self.head, self.repeats = head, heads // kv_heads
        self.q, self.k, self.v = (nn.Linear(h, n * head, bias=False) for n in (heads, kv_heads, kv_heads))
        self.o = nn.Linear(heads * head, h, bias=False)

    def turn(self, x, turns):
        pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * turns).flatten(3).type_as(x)

    def forward(self, x, turns):
        b, s, _ = x.shape
        q, k, v = (part(x).view(b, s, -1, self.head) for part in (self.q, self.k, self.v))
        q, k = self.turn(q, turns), self.turn(k, turns)
        k, v = (each[:, :, :, None].expand(b, s, -1, self.repeats, self.head).reshape(b, s, -1, self.head)
                for each in (k, v))
        y = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True)
        return self.o(y.transpose(1, 2).contiguous().view(b, s, -1))


class Pair(nn.Module):
    def __init__(self, h, width):
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(h, width, bias=False), nn.Linear(h, width,
        bias=False), nn.Linear(width, h, bias=False)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Experts(nn.Module):
    def __init__(self, h, width, experts, top):
        super().__init__()
        self.experts, self.top = experts, top
        self.router = nn.Linear(h, experts, bias=False)
        self.gate, self.up = (nn.Parameter(torch.randn(experts, width, h) * 0.02) for _ in range(2))
        self.down = nn.Parameter(torch.randn(experts, h, width) * 0.02)

    def forward(self, x):
        shape, x = x.shape, x.view(-1, x.shape[-1])
        scores, chosen = torch.topk(F.softmax(self.router(x).float(), dim=1), self.top, dim=1)
        count = torch.histc(chosen.view(-1).float(), bins=self.experts, min=0, max=self.experts)
        order = torch.argsort(chosen.view(-1), stable=True)
        scale, index = scores.view(-1)[order], (order // self.top)[:, None].expand(-1, x.shape[1])
        rows = (torch.gather(x, 0, index).float() * scale[:, None]).to(x.dtype)
        ends = torch.cumsum(count, 0, dtype=torch.int32)
        multiply = torch._grouped_mm
        made = F.silu(multiply(rows, self.gate.transpose(-2, -1), offs=ends)) * multiply(rows,
                self.up.transpose(-2, -1), offs=ends)
        made = multiply(made, self.down.transpose(-2, -1), offs=ends)
        return torch.zeros_like(x).scatter_add(0, index, made).view(shape)


class Block(nn.Module):
    def __init__(self, h, heads, kv_heads, head, width, experts=0, top=0):
        super().__init__()
        self.attention, self.norms = Attention(h, heads, kv_heads,
                                               head), nn.ModuleList([nn.RMSNorm(h) for _ in range(2)])
        self.feed = Experts(h, width, experts, top) if experts else Pair(h, width)

    def forward(self, x, turns):
        x = x + self.attention(self.norms[0](x), turns)
        return x + self.feed(self.norms[1](x))


SHAPES = {"dense 4096": (4096, 32, 8, 128, 14336), "dense 2048": (2048, 16, 8, 128, 6144),
          "64 experts": (2048, 16, 4, 128, 1024, 64, 6)}


def one(shape, batch, tokens, way, checkpointed=False):
    with torch.device("cuda"):
        block = Block(*shape).to(B)
    call = torch.compile(block) if way == "compiled" else block
    x = torch.randn(batch, tokens, shape[0], device="cuda", dtype=B, requires_grad=True)
    phase = torch.outer(torch.arange(tokens,
                                     device="cuda"), 1e4 ** (-torch.arange(0, shape[3], 2, device="cuda") / shape[3]))
    turns = torch.polar(torch.ones_like(phase), phase)[None, :, None, :]

    def forward():
        return checkpoint(call, x, turns, use_reentrant=False) if checkpointed else call(x, turns)
    begin = time.time()
    gradient = torch.randn_like(x)
    forward().backward(gradient)
    torch.cuda.synchronize()
    result = {"first_s": round(time.time() - begin, 1)}
    block.zero_grad(set_to_none=True)
    x.grad = None
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    made = forward()
    result["kept_bytes"] = torch.cuda.memory_allocated() - before
    result["peak_forward_bytes"] = torch.cuda.max_memory_allocated() - before
    made.backward(gradient)
    result["peak_bytes"] = torch.cuda.max_memory_allocated() - before
    result["host_forward_us"] = host.issue(forward, 10)

    def both():
        forward().backward(gradient)
    result["host_both_us"] = host.issue(both, 5)
    made = forward()
    cases = [("forward", forward), ("both", both)]
    found, failed = trace.timed(cases, repetitions=2, flush=False)
    result["kernels"] = {key: [[kernel[0], kernel[1], kernel[2]] for kernel in kernels] for key,
                         kernels in found.items()}
    return result


def measure(write, quick, deadline):
    for name, shape in SHAPES.items():
        if quick:
            shape = (256, 4, 2, 64, 512) + ((8, 2) if len(shape) > 5 else ())
        for batch, tokens in ((1, 256),) if quick else ((1, 4096), (2, 4096)):
            for way, checkpointed in (("eager", False), ("compiled", False), ("compiled", True)):
                if time.time() > deadline or (checkpointed and batch > 1):
                    continue
                key = "%s, %d x %d, %s%s" % (name, batch, tokens, way, ", checkpointed" * checkpointed)
                try:
                    write(key, one(shape, batch, tokens, way, checkpointed))
                except Exception as error:  # the next may be supported
                    write(key, {"error": "%s: %s" % (type(error).__name__, str(error)[:300])})
                torch.cuda.empty_cache()
