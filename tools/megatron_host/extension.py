"""Stands for Transformer Engine's compiled extension where it is not built: each function launches as many
kernels as the real one, through PyTorch, and returns tensors of the same shapes. What it computes means
nothing: only the host is looked at. All of Python around it is Transformer Engine's own. `spent` has what
these functions took, which belongs to the stand-in and not to Transformer Engine."""

import enum
import functools
import time

import torch

spent = {}  # function: [calls, seconds, launches it stands for]
is_timed = False
HAS_GPU = torch.cuda.is_available()


def _enum(name, names):
    return enum.IntEnum(name, {one: at for at, one in enumerate(names)})


DType = _enum("DType", ["kByte", "kInt16", "kInt32", "kInt64", "kFloat32", "kFloat16", "kBFloat16",
                        "kFloat8E4M3", "kFloat8E5M2", "kFloat8E8M0", "kFloat4E2M1"])
FP8FwdTensors = _enum("FP8FwdTensors", [f"GEMM{at}_{what}" for at in (1, 2, 3)
                                        for what in ("INPUT", "WEIGHT", "OUTPUT")])
FP8BwdTensors = _enum("FP8BwdTensors", [f"GRAD_{what}{at}" for at in (1, 2, 3)
                                        for what in ("OUTPUT", "INPUT")])
TORCH = {DType.kByte: torch.uint8, DType.kFloat32: torch.float32, DType.kFloat16: torch.float16,
         DType.kBFloat16: torch.bfloat16, DType.kInt32: torch.int32}


class AnyNames(type):
    """An enumeration of whatever names are asked for."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        members = cls.__dict__.get("members") or {}
        if not members:
            type.__setattr__(cls, "members", members)
        return members.setdefault(name, len(members))


def any_names(name):
    return AnyNames(name, (), {})


def timed(launches):
    """A function of the extension that stands for so many launches (a number, or of its arguments)."""

    def wrap(function):
        name = function.__name__

        @functools.wraps(function)
        def call(*args, **kwargs):
            if not is_timed:
                return function(*args, **kwargs)
            begin = time.perf_counter()
            result = function(*args, **kwargs)
            one = spent.setdefault(name, [0, 0.0, 0])
            one[0] += 1
            one[1] += time.perf_counter() - begin
            one[2] += launches(*args) if callable(launches) else launches
            return result

        return call

    return wrap


def _shape(tensor):
    if hasattr(tensor, "shape"):
        return tuple(tensor.shape)
    for name in ("_data", "_rowwise_data", "_columnwise_data"):
        if getattr(tensor, name, None) is not None:
            return tuple(getattr(tensor, name).shape)
    turned = tuple(tensor._transpose.shape)
    return turned[1:] + turned[:1]


@functools.lru_cache(None)
def _operand(rows, columns, device):
    return torch.zeros(rows, columns, dtype=torch.bfloat16, device=device)


@functools.lru_cache(None)
def _few(device):
    return torch.zeros(4, device=device)


def _sizes(a, turns_a, b, turns_b):
    """Rows, columns and depth of what layout TN, NN and NT multiply: operands are told as columns."""
    a, b = _shape(a), _shape(b)
    a_rows, a_columns = functools.reduce(int.__mul__, a[:-1], 1), a[-1]
    b_rows, b_columns = functools.reduce(int.__mul__, b[:-1], 1), b[-1]
    rows = b_columns if turns_b else b_rows
    columns = a_rows if turns_a else a_columns
    return rows, columns, b_rows if turns_b else b_columns


def _device(tensor):
    if hasattr(tensor, "device"):
        return tensor.device
    for name in ("_data", "_transpose", "_rowwise_data", "_columnwise_data"):
        if getattr(tensor, name, None) is not None:
            return getattr(tensor, name).device


def _multiply(sizes, out, device):
    rows, columns, depth = sizes
    left, right = _operand(rows, depth, device), _operand(depth, columns, device)
    out = out if out is not None and out.dtype == torch.bfloat16 else _operand(rows, columns, device)
    torch.mm(left, right, out=out.view(rows, columns))


@timed(1)
def generic_gemm(A, transA, B, transB, D, quantizer, output_dtype, bias, bias_type, gelu, gelu_in, grad,
                 workspace, workspace_size, accumulate, use_split_accumulator, comm_overlap=None,
                 comm_type=None, extra_output=None, bulk_overlap=False, alpha=1.0, beta=None):
    sizes = _sizes(A, transA, B, transB)
    device = _device(A)
    if D is None:
        lead = [sizes[0]] if transB else list(_shape(B)[:-1])
        D = torch.empty(lead + [sizes[1]], dtype=TORCH[output_dtype], device=device)
    _multiply(sizes, D, device)
    return D, None, None, None


@timed(lambda A, *_: len(A))
def te_general_grouped_gemm(A, transa, B, transb, D, D_type, m_splits, bias, bias_type, single_output,
                            pre_gelu_out, grad, workspace, workspaceSize, accumulate, use_split_accumulator,
                            math_sm_count):
    device = _device(A[0])
    zeros = 0  # what comes out is a number: one kernel fills it in place of the first product
    if single_output:
        D[0].zero_()
        zeros = 1
    for a, b in zip(A[zeros:], B[zeros:]):
        sizes = _sizes(a, transa, b, transb)
        if min(sizes) > 0:
            _multiply(sizes, None, device)
    return bias


@timed(lambda tensor, quantizer, *_: launches_of_cast(quantizer))
def quantize(tensor, quantizer, output=None, noop=None):
    return _quantize(tensor, quantizer, output)


def launches_of_cast(quantizer):
    return 4 if type(quantizer).__name__ == "Float8CurrentScalingQuantizer" else 1


def _empty_fp8(tensor, quantizer):
    from transformer_engine.pytorch.tensor.float8_tensor import Float8Tensor
    from transformer_engine.pytorch.tensor.storage.float8_tensor_storage import Float8TensorStorage

    shape, device = list(tensor.shape), tensor.device
    turned = shape[-1:] + shape[:-1]
    data = torch.empty(shape, dtype=torch.uint8, device=device) if quantizer.rowwise_usage else None
    turns = quantizer.columnwise_usage
    transpose = torch.empty(turned, dtype=torch.uint8, device=device) if turns else None
    scale = torch.empty(1, dtype=torch.float32, device=device)
    common = dict(data=data, fp8_scale_inv=scale, fp8_dtype=quantizer.dtype, data_transpose=transpose,
                  quantizer=quantizer)
    if quantizer.internal:
        return Float8TensorStorage(**common)
    return Float8Tensor(shape=shape, dtype=tensor.dtype, **common)


def _quantize(tensor, quantizer, output=None):
    if output is None:
        if type(quantizer).__name__ in ("Float8CurrentScalingQuantizer", "Float8Quantizer"):
            output = _empty_fp8(tensor, quantizer)
        else:
            output = quantizer.make_empty(list(tensor.shape), dtype=tensor.dtype, device=tensor.device)
    few = _few(tensor.device)
    for _ in range(launches_of_cast(quantizer)):
        few.zero_()
    return output


@timed(lambda tensor, sections, quantizers: sum(launches_of_cast(one) for one in quantizers))
def split_quantize(tensor, split_sections, quantizer_list):
    return [_quantize(part, one) for part, one in zip(torch.split(tensor, split_sections), quantizer_list)]


@timed(lambda tensor, quantizer: 1 + launches_of_cast(quantizer))
def bgrad_quantize(input, quantizer):
    return input.sum(dim=0), _quantize(input, quantizer)


@timed(1)
def fp8_transpose(input, dtype, out=None):
    turned = torch.empty(input.shape[-1:] + input.shape[:-1], dtype=torch.uint8, device=input.device)
    _few(input.device).zero_()
    return turned if out is None else out


@timed(1)
def rmsnorm_fwd(input, weight, eps, ln_out, quantizer, otype, sm_margin, zero_centered_gamma):
    if HAS_GPU:
        out, scale = torch.ops.aten._fused_rms_norm(input, [input.shape[-1]], weight, eps)
    else:
        out, scale = torch.empty_like(input), torch.empty(input.shape[0], 1)
    if quantizer is not None:
        out = _quantize(out, quantizer)
    return out, None, scale


@timed(2)
def rmsnorm_bwd(dz, x, rsigma, gamma, sm_margin, zero_centered_gamma):
    if HAS_GPU:
        return torch.ops.aten._fused_rms_norm_backward(dz, x, [x.shape[-1]], rsigma, gamma, [True, True])
    return torch.empty_like(x), torch.empty_like(gamma)


def _heads(tensor):
    return tensor.permute(1, 2, 0, 3)  # sbhd


@timed(1)
def fused_attn_fwd(max_q, max_kv, is_training, attn_scale, p_dropout, set_zero, qkv_layout, bias_type,
                   mask_type, softmax_type, window_size, cu_seqlens_q, cu_seqlens_kv, Q, K, V, *rest):
    if not HAS_GPU:
        return [torch.empty_like(Q, memory_format=torch.contiguous_format), Q, Q]
    q, k, v = _heads(Q), _heads(K), _heads(V)
    attention = torch.ops.aten._scaled_dot_product_flash_attention
    out, sums, _, _, _, _, seed, _, _ = attention(q, k, v, 0.0, True)
    return [out.permute(2, 0, 1, 3).contiguous(), sums, seed]


@timed(3)
def fused_attn_bwd(max_q, max_kv, attn_scale, p_dropout, set_zero, qkv_layout, bias_type, mask_type,
                   softmax_type, window_size, deterministic, cu_q, cu_kv, Q, K, V, O, dO, fake_dtype,
                   dqkv_dtype, aux, *rest):
    if not HAS_GPU:
        return [torch.empty_like(one) for one in (Q, K, V)] + [None, None]
    q, k, v, o, grad = (_heads(one) for one in (Q, K, V, O, dO))
    grads = torch.ops.aten._scaled_dot_product_flash_attention_backward(
        grad, q, k, v, o, aux[0], None, None, max_q, max_kv, 0.0, True, aux[1], aux[1])
    return [one.permute(2, 0, 1, 3) for one in grads] + [None, None]


@timed(0)
def get_fused_attn_backend(*_):
    return NVTE_Fused_Attn_Backend.NVTE_F16_arbitrary_seqlen


NVTE_Fused_Attn_Backend = _enum("NVTE_Fused_Attn_Backend", [
    "NVTE_F16_max512_seqlen", "NVTE_F16_arbitrary_seqlen", "NVTE_FP8", "NVTE_No_Backend"])


@timed(1)
def fused_rope_forward(t, freqs, *_):
    return torch.mul(t, 1.0)


@timed(1)
def fused_rope_backward(grad, freqs, *_):
    return torch.mul(grad, 1.0)


@timed(1)
def fused_topk_with_score_function_fwd(logits, topk, *_):
    # As even as a router can be: token t has experts t top_k, t top_k + 1, ...
    tokens, experts = logits.shape
    marks = _even_choices(tokens, experts, topk, logits.device)
    return torch.mul(logits, 1.0), marks, torch.empty_like(logits)


@functools.lru_cache(None)
def _even_choices(tokens, experts, topk, device):
    marks = torch.zeros(tokens, experts, dtype=torch.bool, device=device)
    at = (torch.arange(tokens, device=device)[:, None] * topk + torch.arange(topk, device=device)) % experts
    return marks.scatter_(1, at, True)


@timed(1)
def fused_topk_with_score_function_bwd(num_tokens, num_experts, routing_map, intermediate, grad_probs, *_):
    return torch.mul(grad_probs, 1.0)


@timed(1)
def fused_score_for_moe_aux_loss_fwd(logits, topk, score_function):
    marks = _even_choices(*logits.shape, topk, logits.device)
    return torch.mul(logits, 1.0), marks, torch.empty_like(logits)


@timed(1)
def fused_score_for_moe_aux_loss_bwd(num_tokens, num_experts, intermediate_output, grad_scores, topk,
                                     score_function):
    return torch.mul(grad_scores, 1.0)


@timed(1)
def fused_moe_aux_loss_fwd(probs, tokens_per_expert, total_num_tokens, num_experts, num_rows, num_cols, topk,
                           coeff):
    return probs.new_zeros(()), torch.empty(1, device=probs.device)


@timed(1)
def fused_moe_aux_loss_bwd(Const_buf, tokens_per_expert, num_rows, num_cols, grad_aux_loss):
    return torch.zeros(num_rows, num_cols, device=Const_buf.device)


@timed(1)
def fused_multi_row_padding(input, output, splits, padded):
    output.zero_()


@timed(1)
def fused_multi_row_unpadding(input, output, splits, unpadded):
    output.zero_()


@timed(1)
def fused_amax_and_scale_update_after_reduction(amax, histories, scales, algorithm, dtype, margin):
    amax.zero_()


@timed(lambda chunk, flag, lists, *_: 1)
def multi_tensor_adam(chunk, flag, lists, *_):
    torch._foreach_mul_(lists[2], 1.0)


@timed(1)
def multi_tensor_scale(chunk, flag, lists, scale):
    torch._foreach_mul_(lists[0], 1.0)


@timed(2)
def multi_tensor_l2norm(chunk, flag, lists, per_tensor=False):
    torch._foreach_mul(lists[0][:1], 1.0)
    return _few(lists[0][0].device)[:1].abs(), None


def get_cublasLt_version():
    return 130000


def get_cudnn_version():
    return 91900


def get_num_cublas_streams():
    return 4


def get_stream_priority_range(*_):
    return 0, -5


def device_supports_multicast(*_):
    return False
