"""Kernels that stream memory, by size: what PyTorch's own kernels reach, each op behind a cache filled with other
lines ("cold") and right behind itself ("hot")."""
import torch
import torch.nn.functional as F

from . import trace

B, FLOAT = torch.bfloat16, torch.float32


def fresh(*shape, kind=B, grad=False):
    return torch.randn(*shape, device="cuda", dtype=kind).requires_grad_(grad) if kind.is_floating_point else \
        torch.randint(0, 1 << 30, shape, device="cuda", dtype=kind)


def plain(n):
    """n elements, one after the other."""
    x, y = fresh(n), fresh(n)
    f = x.float()
    out, of = torch.empty_like(x), torch.empty_like(f)
    yield "copy bf16", 4 * n, lambda: out.copy_(x)
    yield "copy fp32", 8 * n, lambda: of.copy_(f)
    yield "cast bf16 to fp32", 6 * n, lambda: of.copy_(x)
    yield "cast fp32 to bf16", 6 * n, lambda: out.copy_(f)
    yield "add bf16", 6 * n, lambda: torch.add(x, y, out=out)
    yield "add_ bf16", 6 * n, lambda: out.add_(x)
    yield "add_ fp32", 12 * n, lambda: of.add_(f)
    yield "mul bf16", 6 * n, lambda: torch.mul(x, y, out=out)
    yield "mul fp32 by a number", 8 * n, lambda: torch.mul(f, 2.0, out=of)
    yield "pow 2 fp32", 8 * n, lambda: torch.pow(f, 2, out=of)
    yield "neg bf16", 4 * n, lambda: torch.neg(x, out=out)
    yield "silu bf16", 4 * n, lambda: torch.ops.aten.silu.out(x, out=out)
    yield "silu backward bf16", 6 * n, lambda: torch.ops.aten.silu_backward.grad_input(x, y, grad_input=out)
    yield "sigmoid fp32", 8 * n, lambda: torch.sigmoid(f, out=of)
    yield "zero_ bf16", 2 * n, out.zero_
    yield "mul bf16 by fp32", 10 * n, lambda: torch.mul(x, f, out=of)
    yield "dropout bf16", 5 * n, lambda: torch.native_dropout(x, 0.1, True)


def rows(n, h=4096):
    """Rows of h elements: norms and their pieces, sums over rows and columns."""
    t = n // h
    x, y, w, one = fresh(t, h), fresh(t, h), fresh(h), fresh(t, 1, kind=FLOAT)
    f, of, out = x.float(), torch.empty(t, h, device="cuda"), torch.empty_like(x)
    yield "row factor fp32", 8 * n, lambda: torch.mul(f, one, out=of)
    yield "column factor bf16", 4 * n, lambda: torch.mul(x, w, out=out)
    yield "mean of rows fp32", 4 * n, lambda: f.mean(-1, keepdim=True)
    yield "sum of rows bf16", 2 * n, lambda: x.sum(-1, keepdim=True)
    yield "sum of columns bf16", 2 * n, lambda: x.sum(0)
    yield "sum of columns fp32", 4 * n, lambda: f.sum(0)
    yield "softmax fp32", 8 * n, lambda: torch.softmax(f, -1, out=of)
    yield "softmax bf16 to fp32", 6 * n, lambda: torch.softmax(x, -1, dtype=FLOAT)
    yield "softmax backward fp32", 12 * n, lambda: torch._softmax_backward_data(f, of, -1, FLOAT)
    yield "rms_norm bf16", 4 * n, lambda: F.rms_norm(x, (h,), w)
    yield "layer_norm bf16", 4 * n, lambda: F.layer_norm(x, (h,), w, w)
    wide = fresh(t, 2 * h)
    yield "chunks multiplied bf16", 6 * n, lambda: torch.mul(wide[:, :h], wide[:, h:], out=out)
    yield "cat of rows bf16", 8 * n, lambda: torch.cat((x, y), 0)
    yield "cat of columns bf16", 8 * n, lambda: torch.cat((x, y), -1)
    yield "transposed copy bf16", 4 * n, lambda: x.t().contiguous()
    weight = w.clone().requires_grad_()
    for name, norm in (("rms_norm", lambda v: F.rms_norm(v, (h,), weight)),
                       ("layer_norm", lambda v: F.layer_norm(v, (h,), weight, weight))):
        v = x.clone().requires_grad_()
        made = norm(v)
        yield name + " backward bf16", 6 * n, lambda: torch.autograd.grad(made, (v, weight), y, retain_graph=True)


def heads(n, d=128, count=32):
    """[batch, heads, tokens, d] as a view of [batch, tokens, heads, d]: what rotary and repeated keys do."""
    t = n // (d * count)
    x = fresh(1, t, count, d).transpose(1, 2)
    k = fresh(1, t, count // 4, d).transpose(1, 2)
    cos = fresh(1, 1, t, d)
    half = d // 2
    a, b = x[..., :half], x[..., half:]
    yield "rotary: factor of a view", 4 * n, lambda: x * cos
    yield "rotary: minus a half", 2 * n, lambda: -b
    minus = -b
    yield "rotary: cat of halves", 4 * n, lambda: torch.cat((minus, a), -1)
    r = torch.cat((minus, a), -1)
    yield "rotary: add", 6 * n, lambda: x + r
    yield "heads before tokens", 4 * n, lambda: x.contiguous()
    yield "tokens before heads", 4 * n, lambda: r.transpose(1, 2).contiguous()
    yield "keys repeated 4 times", 2.5 * n, lambda: k[:, :, None].expand(1, count // 4, 4, t, d).reshape(1, count, t, d)
    yield "sum over 4 repeats", 2.5 * n, lambda: r.view(1, count // 4, 4, t, d).sum(2)
    yield "slice backward", 3 * n, lambda: torch.ops.aten.slice_backward(a, list(x.shape), 3, 0, half, 1)


def gathers(n, h=2048):
    """Rows of h elements by index; 8 places of each token."""
    t = max(8, n // h)
    x, out = fresh(t // 8, h), fresh(t, h)
    index = torch.arange(t, device="cuda")[torch.randperm(t, device="cuda")] // 8
    permutation = torch.randperm(t, device="cuda")
    total, table = torch.zeros_like(x), fresh(32768, h)
    words = torch.randint(0, 32768, (t,), device="cuda")
    yield "index, 8 reads of a row", 4 * n + 8 * t, lambda: x[index]
    yield "index, permuted rows", 4 * n + 8 * t, lambda: out[permutation]
    yield "index_select, permuted rows", 4 * n + 8 * t, lambda: out.index_select(0, permutation)
    yield "index_add_, 8 a row", 6 * n + 8 * t, lambda: total.index_add_(0, index, out)
    yield "index_put_ added, 8 a row", 6 * n + 8 * t, lambda: total.index_put_((index,), out, accumulate=True)
    yield "index_put_ added, once a row", 6 * n + 8 * t, lambda: torch.zeros_like(out).index_put_((permutation,), out,
            accumulate=True)
    yield "scatter_add_ of rows", 6 * n + 8 * t, lambda: total.scatter_add_(0, index[:, None].expand(t, h), out)
    yield "embedding", 4 * n + 8 * t, lambda: F.embedding(words, table)
    yield "embedding backward", 4 * n + 8 * t, lambda: torch.ops.aten.embedding_dense_backward(out, words, 32768, -1,
        False)


def routing(t, experts=128, top=8):
    scores = fresh(t, experts, kind=FLOAT)
    chosen = torch.topk(scores, top, -1)[1]
    flat = chosen.reshape(-1)
    mask = F.one_hot(chosen, experts).permute(2, 1, 0)
    yield "topk of 128", 4 * t * experts, lambda: torch.topk(scores, top, -1)
    yield "softmax of 128", 8 * t * experts, lambda: torch.softmax(scores, -1)
    yield "argsort of places", 16 * t * top, lambda: torch.argsort(flat, stable=True)
    yield "sort of places, int32", 16 * t * top, lambda: torch.sort(flat.int())
    yield "histc of places", 8 * t * top, lambda: torch.histc(flat.float(), bins=experts, min=0, max=experts - 1)
    yield "bincount of places", 8 * t * top, lambda: torch.bincount(flat, minlength=experts)
    yield "one_hot", 8 * t * top * experts, lambda: F.one_hot(chosen, experts)
    yield "sum of one_hot", 8 * t * top * experts, lambda: mask.sum(dim=(-1, -2))
    yield "where of one expert", 8 * t * top, lambda: torch.where(mask[1])
    yield "gather of scores", 12 * t * top, lambda: scores.gather(1, chosen)
    yield "scatter of ones", 12 * t * top, lambda: torch.zeros_like(scores).scatter_(1, chosen, 1.0)


def losses(t, vocabulary=128256):
    logits, words = fresh(t, vocabulary), torch.randint(0, vocabulary, (t,), device="cuda")
    f = logits.float()
    n = t * vocabulary
    yield "logits to fp32", 6 * n, logits.float
    made = torch.log_softmax(f, -1)
    yield "log_softmax fp32", 8 * n, lambda: torch.log_softmax(f, -1)
    yield "log_softmax bf16", 4 * n, lambda: torch.log_softmax(logits, -1)
    yield "log_softmax backward fp32", 12 * n, lambda: torch._log_softmax_backward_data(f, made, -1, FLOAT)
    one = f.clone().requires_grad_()
    yield "cross_entropy fp32, both passes", 32 * n, lambda: torch.autograd.grad(F.cross_entropy(one, words), one)


def cases(quick):
    sizes = [1 << 19, 1 << 21] if quick else [1 << 18, 1 << 20, 1 << 22, 1 << 23, 1 << 24, 1 << 26, 1 << 28, 1 << 30]
    groups = [(make, n) for n in sizes for make in (plain, rows, heads, gathers)]
    groups += [(routing, t) for t in ([512] if quick else [256, 2048, 8192, 32768])]
    groups += [(losses, t) for t in ([128] if quick else [512, 2048, 8192])]
    return [group for group in groups if group[0] is not gathers or group[1] <= 1 << 28]


def every(quick, sizes):
    for make, n in cases(quick):
        try:
            for name, nbytes, call in make(n):
                key = "%s|%d" % (name, n)
                sizes[key] = nbytes
                yield key, call
        except RuntimeError as error:
            print("streams:", make.__name__, n, str(error).split("\n")[0][:100], flush=True)
        torch.cuda.empty_cache()


def measure(write, quick, deadline):
    for state in ("cold", "hot"):
        sizes = {}
        found, failed = trace.timed(every(quick, sizes), repetitions=3, flush=state == "cold")
        result = {}
        for key, kernels in found.items():
            name, n = key.split("|")
            result.setdefault(name, []).append([int(n), sizes[key], round(sum(kernel[2] for kernel in kernels), 2)]
                                               + [[kernel[:3] for kernel in kernels]] * (len(kernels) > 1
                or state == "cold" and n == str(1 << 24)))
        write(state, {"columns": ["elements or tokens", "bytes", "us", "kernels"], "ops": result, "failed": failed})
