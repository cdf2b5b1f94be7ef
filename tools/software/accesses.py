"""Kernels of PyTorch by access (models/transformer/access_laws.hpp): for each the real calls that launch it, over n
elements, some in rows of h. A maker yields (call's name, elements, bytes read and written, call, pattern of the
kernels' names that count; none: all of them)."""
import torch
import torch.nn.functional as F

B, FLOAT = torch.bfloat16, torch.float32
HEAD, HEADS = 128, 32
VOCABULARY = 32768  # of an embedding
VOCABULARIES = {4096: 128256, 2048: 32000, 5120: 151936}  # that a loss is over, by the width of a model; else 102,400


def fresh(*shape, kind=B):
    return torch.randn(*shape, device="cuda", dtype=kind)


def rows(n, h):
    """Of n elements; in eights, as tokens come, where there are as many."""
    count = max(1, n // h)
    return count if count < 8 else count // 8 * 8


def vocabulary(h):
    return VOCABULARIES.get(h, 102400)


def vectorised(n, h):
    x, y, f, of = fresh(n), fresh(n), fresh(n, kind=FLOAT), fresh(n, kind=FLOAT)
    out = torch.empty_like(x)
    yield "add bf16", n, 6 * n, lambda: torch.add(x, y, out=out), ""
    yield "mul fp32", n, 12 * n, lambda: of.mul_(f), ""
    yield "cast fp32 to bf16", n, 6 * n, lambda: out.copy_(f), ""


def one_read(n, h):
    x, f = fresh(n), fresh(n, kind=FLOAT)
    out, of = torch.empty_like(x), torch.empty_like(f)
    yield "neg bf16", n, 4 * n, lambda: torch.neg(x, out=out), ""
    yield "mul fp32 by a number", n, 8 * n, lambda: torch.mul(f, 2.0, out=of), ""


def silu(n, h):
    x, out = fresh(n), fresh(n)
    yield "silu bf16", n, 4 * n, lambda: torch.ops.aten.silu.out(x, out=out), ""


def silu_backward(n, h):
    x, y, out = fresh(n), fresh(n), fresh(n)
    yield "silu_backward bf16", n, 6 * n, lambda: torch.ops.aten.silu_backward.grad_input(x, y, grad_input=out), ""


def fill(n, h):
    out = fresh(n)
    yield "zero_ bf16", n, 2 * n, out.zero_, ""


def fill_fp32(n, h):
    out = fresh(n, kind=FLOAT)
    yield "zero_ fp32", n, 4 * n, out.zero_, ""


def copy(n, h):
    x, f = fresh(n), fresh(n, kind=FLOAT)
    out, of = torch.empty_like(x), torch.empty_like(f)
    yield "copy_ bf16", n, 4 * n, lambda: out.copy_(x), ""
    yield "copy_ fp32", n, 8 * n, lambda: of.copy_(f), ""


def widened(n, h):
    x, out = fresh(n), fresh(n, kind=FLOAT)
    yield "cast bf16 to fp32", n, 6 * n, lambda: out.copy_(x), ""


def mixed(n, h):
    x, f = fresh(n), fresh(n, kind=FLOAT)
    out = torch.empty_like(f)
    yield "mul bf16 by fp32", n, 10 * n, lambda: torch.mul(x, f, out=out), ""


def mixed_row_factor(n, h):
    t = rows(n, h)
    x, one, out = fresh(t, h), fresh(t, 1, kind=FLOAT), fresh(t, h, kind=FLOAT)
    yield "mul bf16 by a row's fp32", t * h, 6 * t * h, lambda: torch.mul(x, one, out=out), ""


def strided(n, h):
    t = rows(n, HEADS * HEAD)
    n = t * HEADS * HEAD
    x, r = fresh(1, t, HEADS, HEAD).transpose(1, 2), fresh(1, HEADS, t, HEAD)
    yield "heads before tokens", n, 4 * n, x.contiguous, ""
    yield "add of a view", n, 6 * n, lambda: torch.add(x, r), ""


def broadcast(n, h):
    t = rows(n, h)
    x, w = fresh(t, h), fresh(h)
    out = torch.empty_like(x)
    yield "mul by a vector bf16", t * h, 4 * t * h, lambda: torch.mul(x, w, out=out), ""


def strided_broadcast(n, h):
    t = rows(n, HEADS * HEAD)
    n = t * HEADS * HEAD
    x, cos = fresh(1, t, HEADS, HEAD).transpose(1, 2), fresh(1, 1, t, HEAD)
    yield "mul of a view by a vector bf16", n, 4 * n, lambda: x * cos, ""


def slices(n, h):
    t = rows(n, h)
    wide, out = fresh(t, 2 * h), fresh(t, h)
    yield "halves multiplied bf16", t * h, 6 * t * h, lambda: torch.mul(wide[:, :h], wide[:, h:], out=out), ""


def silu_of_slice(n, h):
    t = rows(n, h)
    wide, out = fresh(t, 2 * h), fresh(t, h)
    yield "silu of a half bf16", t * h, 4 * t * h, lambda: torch.ops.aten.silu.out(wide[:, :h], out=out), ""


def silu_backward_of_slice(n, h):
    t = rows(n, h)
    wide, y, out = fresh(t, 2 * h), fresh(t, h), fresh(t, h)
    yield ("silu_backward of a half bf16", t * h, 6 * t * h,
           lambda: torch.ops.aten.silu_backward.grad_input(y, wide[:, :h], grad_input=out), "")


def row_factor(n, h):
    t = rows(n, h)
    f, one, out = fresh(t, h, kind=FLOAT), fresh(t, 1, kind=FLOAT), fresh(t, h, kind=FLOAT)
    yield "mul by a row's number fp32", t * h, 8 * t * h, lambda: torch.mul(f, one, out=out), ""


def from_rows(n, h):
    t = rows(n, h)
    one, out = fresh(t, 1, kind=FLOAT), fresh(t, h, kind=FLOAT)
    yield "number of a row over its elements", t * h, 4 * t * h, lambda: torch.div(one.expand(t, h), h, out=out), ""


def masked_rows(n, h):
    t = rows(n, h)
    x, mask = fresh(t, h), torch.zeros(t, 1, device="cuda", dtype=torch.bool)
    mask[t // 2:] = True
    yield "masked_fill_ of rows bf16", t * h, 4 * t * h, lambda: x.masked_fill_(mask, 0.0), ""


def expanded(n, h):
    t = rows(n, HEADS * HEAD)
    n = t * HEADS * HEAD
    k = fresh(1, t, HEADS // 4, HEAD).transpose(1, 2)
    shape = (1, HEADS // 4, 4, t, HEAD)
    yield "keys repeated 4 times", n, 5 * n // 2, lambda: k[:, :, None].expand(*shape).reshape(1, HEADS, t, HEAD), ""


def joined(n, h):
    t = max(2, 2 * (n // (2 * h)))
    x, y = fresh(t // 2, h), fresh(t // 2, h)
    yield "cat of rows bf16", t * h, 4 * t * h, lambda: torch.cat((x, y), 0), ""


def joined_halves(n, h):
    t = rows(n, HEADS * HEAD)
    n = t * HEADS * HEAD
    x = fresh(1, t, HEADS, HEAD).transpose(1, 2)
    a, minus = x[..., :HEAD // 2], fresh(1, HEADS, t, HEAD // 2)
    yield "cat of halves of heads", n, 4 * n, lambda: torch.cat((minus, a), -1), ""


def joined_unaligned(n, h):
    t = rows(n, HEADS * (h + 1))
    x, sink = fresh(1, HEADS, t, h), fresh(HEADS).reshape(1, -1, 1, 1).expand(1, HEADS, t, 1)
    n = HEADS * t * (h + 1)
    yield "cat of scores and a sink bf16", n, 4 * n, lambda: torch.cat((x, sink), -1), ""


def row_sums(n, h):
    f = fresh(rows(n, h), h, kind=FLOAT)
    yield "mean of rows fp32", f.numel(), 4 * f.numel(), lambda: f.mean(-1, keepdim=True), "reduce_kernel"


def short_row_sums(n, h):
    f = fresh(rows(n, HEAD), HEAD, kind=FLOAT)
    yield "mean of rows of 128 fp32", f.numel(), 4 * f.numel(), lambda: f.mean(-1, keepdim=True), "reduce_kernel"


def column_sums(n, h):
    x = fresh(rows(n, h), h)
    f = x.float()
    yield "sum of columns bf16", x.numel(), 2 * x.numel(), lambda: x.sum(0), "reduce_kernel"
    yield "sum of columns fp32", f.numel(), 4 * f.numel(), lambda: f.sum(0), "reduce_kernel"


def strided_column_sums(n, h):
    x = fresh(1, HEADS, rows(n, HEADS * HEAD), HEAD).transpose(1, 2)
    yield "sum over tokens and heads bf16", x.numel(), 2 * x.numel(), lambda: x.sum((0, 1, 2)), "reduce_kernel"


def softmax(n, h):
    h = h if h != 2048 else 128  # a router's experts
    f = fresh(rows(n, h), h, kind=FLOAT)
    out = torch.empty_like(f)
    yield "softmax fp32", f.numel(), 8 * f.numel(), lambda: torch.softmax(f, -1, out=out), "(?i)softmax"


def softmax_backward(n, h):
    g, p = fresh(rows(n, h), h, kind=FLOAT), torch.softmax(fresh(rows(n, h), h, kind=FLOAT), -1)
    yield ("softmax backward fp32", g.numel(), 12 * g.numel(), lambda: torch._softmax_backward_data(g, p, -1, FLOAT),
           "(?i)softmax")


def softmax_unaligned(n, h):
    x = fresh(rows(n, h + 1), h + 1)
    yield "softmax of odd rows bf16", x.numel(), 4 * x.numel(), lambda: torch.softmax(x, -1), "(?i)softmax"


def softmax_backward_unaligned(n, h):
    g, p = fresh(rows(n, h + 1), h + 1), torch.softmax(fresh(rows(n, h + 1), h + 1), -1)
    yield ("softmax backward of odd rows bf16", g.numel(), 6 * g.numel(),
           lambda: torch._softmax_backward_data(g, p, -1, B), "(?i)softmax")


def maximum(n, h):
    x, f = fresh(rows(n, h + 1), h + 1), fresh(rows(n, 8 * h), 8 * h, kind=FLOAT)
    yield "max of scores bf16", x.numel(), 2 * x.numel(), lambda: torch.max(x, -1, keepdim=True), "reduce_kernel"
    yield "max of logits fp32", f.numel(), 4 * f.numel(), lambda: torch.max(f, -1), "reduce_kernel"


def log_softmax(n, h):
    words = vocabulary(h)
    f = fresh(rows(n, words), words, kind=FLOAT)
    yield "log_softmax fp32", f.numel(), 8 * f.numel(), lambda: torch.log_softmax(f, -1), "(?i)softmax"


def log_softmax_backward(n, h):
    words = vocabulary(h)
    g = fresh(rows(n, words), words, kind=FLOAT)
    p = torch.log_softmax(g, -1)
    yield ("log_softmax backward fp32", g.numel(), 12 * g.numel(),
           lambda: torch._log_softmax_backward_data(g, p, -1, FLOAT), "(?i)softmax")


def sums_of_few_rows(n, h, top=8):
    t = rows(n, top * h)
    x = fresh(t, top, h)
    elements = x.numel() + t * h
    yield "sum of 8 rows bf16", elements, 2 * elements, lambda: x.sum(1), "reduce_kernel"


def gather(n, h):
    x = fresh(rows(n, h), h)
    order = torch.randperm(x.shape[0], device="cuda")
    yield "index_select bf16", x.numel(), 4 * x.numel(), lambda: x.index_select(0, order), ""
    yield "index bf16", x.numel(), 4 * x.numel(), lambda: x[order], ""


def places(n, h, top=8):
    """Rows of tokens, each `top` times and in no order: the tokens' rows, those, and the place of each."""
    t = top * rows(n, top * h)
    index = torch.randperm(t, device="cuda") // top
    return fresh(t // top, h), fresh(t, h), index


def gather_again(n, h):
    x, out, index = places(n, h)
    each = index[:, None].expand(*out.shape)
    yield "gather of rows bf16", out.numel(), 4 * out.numel(), lambda: x.gather(0, each), ""


def scatter_add(n, h):
    total, x, index = places(n, h)
    each = index[:, None].expand(*x.shape)
    yield "scatter_add_ of rows bf16", x.numel(), 6 * x.numel(), lambda: total.scatter_add_(0, each, x), "scatter"


def index_add(n, h):
    total, x, index = places(n, h)
    yield "index_add_ bf16", x.numel(), 6 * x.numel(), lambda: total.index_add_(0, index, x), "index"


def index_put(n, h):
    total, x, index = places(n, h)
    yield ("index_put_ added bf16", x.numel(), 4 * x.numel(),
           lambda: total.index_put_((index,), x, accumulate=True), "indexing_backward")


def index_put_fp32(n, h):
    total, x, index = places(n, h)
    total, x = total.float(), x.float()
    yield ("index_put_ added fp32", x.numel(), 8 * x.numel(),
           lambda: total.index_put_((index,), x, accumulate=True), "indexing_backward")


def embedding_gradient(n, h):
    g = fresh(rows(n, h), h)
    words = torch.randint(0, VOCABULARY, (g.shape[0],), device="cuda")
    yield ("embedding backward bf16", g.numel(), 6 * g.numel(),
           lambda: torch.ops.aten.embedding_dense_backward(g, words, VOCABULARY, -1, False),
           "embedding_backward|compute_grad_weight|sum_and_scatter")


def topk(n, h, experts=128):
    scores = fresh(rows(n, experts), experts, kind=FLOAT)
    yield ("topk of 8 fp32", scores.numel(), 4 * scores.numel(), lambda: torch.topk(scores, 8, -1),
           "gatherTopK|radixFindKthValues|computeBlock|gatherKth")


def counts(n, h, experts=128, top=8):
    t = rows(n, experts * top)
    mask = torch.zeros(t, top, experts, device="cuda", dtype=torch.int64)
    mask.scatter_(2, torch.randint(0, experts, (t, top, 1), device="cuda"), 1)
    mask = mask.permute(2, 1, 0)
    yield "sum of a one_hot", mask.numel(), 8 * mask.numel(), lambda: mask.sum(dim=(-1, -2)), "reduce_kernel"


def head_sums(n, h):
    t = rows(n, HEADS * HEAD)
    r = fresh(1, HEADS // 4, 4, t, HEAD)
    yield "sum over 4 heads bf16", r.numel(), 2 * r.numel(), lambda: r.sum(2), "reduce_kernel"


def strided_head_sums(n, h):
    t = rows(n, HEADS * HEAD)
    r = fresh(1, HEADS // 4, 4, HEAD, t).transpose(3, 4)
    yield "sum over 4 heads across bf16", r.numel(), 2 * r.numel(), lambda: r.sum(2), "reduce_kernel"


def complex_product(n, h):
    t = rows(n, HEADS * HEAD)
    x = torch.view_as_complex(fresh(1, t, HEADS, HEAD // 2, 2, kind=FLOAT))
    turn = torch.view_as_complex(fresh(1, t, 1, HEAD // 2, 2, kind=FLOAT))
    n = t * HEADS * HEAD
    yield "mul complex by one of each position", n, 8 * n, lambda: x * turn, ""


def norm(n, h):
    x, w = fresh(rows(n, h), h), fresh(h)
    yield "rms_norm bf16", x.numel(), 4 * x.numel(), lambda: F.rms_norm(x, (h,), w), "layer_norm|rms"


def norm_input(n, h):
    x, w = fresh(rows(n, h), h).requires_grad_(), fresh(h).requires_grad_()
    g, made = fresh(rows(n, h), h), F.rms_norm(x, (h,), w)
    yield ("rms_norm backward bf16", x.numel(), 6 * x.numel(),
           lambda: torch.autograd.grad(made, (x, w), g, retain_graph=True), "grad_input")


def of_lists(n, kind):
    """Tensors of up to 4 million elements, as a model has them, in multiples of what is loaded at once."""
    count = max(4, n >> 22)
    each = max(1024, n // count // 1024 * 1024)
    return [fresh(each, kind=kind) for _ in range(count)], count * each


def adam(n, h):
    for kind, nbytes, label in ((B, 14, "bf16"), (FLOAT, 28, "fp32")):
        own, elements = of_lists(n, kind)
        own = [torch.nn.Parameter(each) for each in own]
        for each in own:
            each.grad = torch.randn_like(each)
        step = torch.optim.AdamW(own, lr=1e-4, fused=True).step
        step()
        yield "AdamW fused " + label, elements, nbytes * elements, step, "FusedOptimizer|fused_adam"


def listed(n, h):
    a, elements = of_lists(n, B)
    b, _ = of_lists(n, B)
    yield "_foreach_add_ bf16", elements, 6 * elements, lambda: torch._foreach_add_(a, b), ""
    yield "_foreach_mul_ bf16", elements, 4 * elements, lambda: torch._foreach_mul_(a, 0.5), ""


def multi_tensor(n, h):
    a, elements = of_lists(n, B)
    b, _ = of_lists(n, FLOAT)
    c, _ = of_lists(n, B)
    yield "_foreach_copy_ fp32 to bf16", elements, 6 * elements, lambda: torch._foreach_copy_(a, b), ""
    yield "_foreach_copy_ bf16", elements, 4 * elements, lambda: torch._foreach_copy_(a, c), ""


def split(n, h, ranks=8):
    width = max(1, n // (ranks * 4 * h)) * h
    x = fresh(ranks, 4 * width)
    outs = [fresh(ranks, width) for _ in range(4)]
    yield ("split_with_sizes_copy bf16", x.numel(), 4 * x.numel(),
           lambda: torch.split_with_sizes_copy(x, [width] * 4, dim=1, out=outs), "")


def chunk_cat(n, h, ranks=8):
    width = max(1, n // (ranks * 4 * h)) * h
    xs = [fresh(ranks, width) for _ in range(4)]
    out = fresh(ranks, 4 * width)
    yield ("_chunk_cat bf16", out.numel(), 4 * out.numel(),
           lambda: torch._chunk_cat(xs, dim=0, num_chunks=ranks, out=out), "")


def scaled(n, h):
    x, number = fresh(n), fresh(1, kind=FLOAT)[0].abs().clamp(0.9, 1.1).to(B)
    yield "mul_ by a number on the device bf16", n, 4 * n, lambda: x.mul_(number), ""


def vector_norm(n, h):
    x = fresh(n)
    yield "vector_norm bf16", n, 2 * n, lambda: torch.linalg.vector_norm(x), "reduce_kernel"


def across(n, h):
    x = fresh(rows(n, h), h)
    yield "transposed copy bf16", x.numel(), 4 * x.numel(), lambda: x.t().contiguous(), ""


MAKERS = (vectorised, one_read, silu, silu_backward, fill, fill_fp32, copy, gather, widened, strided, broadcast,
          strided_broadcast, slices, silu_of_slice, silu_backward_of_slice, row_factor, from_rows, masked_rows,
          expanded, mixed, mixed_row_factor, joined_halves, joined, joined_unaligned, row_sums, short_row_sums,
          column_sums, strided_column_sums, softmax, softmax_unaligned, softmax_backward, softmax_backward_unaligned,
          maximum, log_softmax, log_softmax_backward, sums_of_few_rows, index_put, index_put_fp32, embedding_gradient,
          index_add, topk, counts, head_sums, strided_head_sums, adam, complex_product, norm, norm_input, gather_again,
          scatter_add, listed, scaled, vector_norm, across, multi_tensor, split, chunk_cat)

# The power of two of the fewest elements that are measured: of lists, of which a block takes 65,536; of logits; of
# rows, whose tokens are no fewer than some 64; of what goes element by element.
OF_LISTS, OF_LOGITS = (adam, listed, multi_tensor), (log_softmax, log_softmax_backward)
OF_ROWS = (gather, row_sums, short_row_sums, column_sums, strided_column_sums, softmax, softmax_unaligned,
           softmax_backward, softmax_backward_unaligned, maximum, sums_of_few_rows, index_put, index_put_fp32, embedding_gradient,
           index_add, topk, counts, head_sums, strided_head_sums, norm, norm_input, gather_again, scatter_add)
LEAST = {**dict.fromkeys(OF_LISTS + OF_LOGITS, 22), **dict.fromkeys(OF_ROWS, 18)}

# Widths of rows: of the grid in turn, of what is held out drawn from more. Attention's rows are keys.
WIDTHS, OTHER_WIDTHS = (4096, 2048, 5120), (1024, 2880, 3072, 6144, 7168, 8192)
