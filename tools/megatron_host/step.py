"""Four layers of Megatron-Core with a model's sizes, forward and backward, on rank 0 of eight."""

import time

import torch

from megatron_host import extension
from megatron_host.marks import mark

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, EXPERTS, TOP_K, WIDTH, EXPERT_PARALLEL = 2048, 32, 4, 128, 128, 8, 768, 8
LAYERS, TOKENS = 4, 256


def time_collectives():
    """Calls of torch.distributed are told apart: fake groups enqueue nothing."""
    for name in ("all_gather_into_tensor", "_all_gather_base", "all_reduce",
                 "reduce_scatter_tensor", "_reduce_scatter_base"):
        if hasattr(torch.distributed, name):
            function = extension.timed(0)(getattr(torch.distributed, name))
            setattr(torch.distributed, name, function)

    exchange = torch.distributed.all_to_all_single

    def all_to_all(output, *args, **kwargs):  # one kernel, as NCCL's; rows that came are numbers
        exchange(output, *args, **kwargs)
        output.zero_()

    all_to_all.__name__ = "all_to_all_single"
    torch.distributed.all_to_all_single = extension.timed(1)(all_to_all)

    def gather(output, input, **_):  # as if every rank had what this one has
        output.view(EXPERT_PARALLEL, -1).copy_(input.view(1, -1))

    gather.__name__ = "all_gather"
    torch.distributed.all_gather_into_tensor = extension.timed(1)(gather)


def start():
    from torch.testing._internal.distributed.fake_pg import FakeStore

    time_collectives()
    torch.distributed.init_process_group("fake", rank=0, world_size=EXPERT_PARALLEL, store=FakeStore())
    from megatron.core import parallel_state, tensor_parallel

    parallel_state.initialize_model_parallel(expert_model_parallel_size=EXPERT_PARALLEL,
                                             expert_tensor_parallel_size=1, create_gloo_process_groups=False)
    tensor_parallel.model_parallel_cuda_manual_seed(1)


def build(case):
    from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig
    from megatron.core.models.common.embeddings.rotary_pos_embedding import RotaryEmbedding
    from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_with_transformer_engine_spec
    from megatron.core.transformer.transformer_block import TransformerBlock
    from megatron.core.transformer.transformer_config import TransformerConfig

    keys = dict(
        num_layers=LAYERS, hidden_size=HIDDEN, num_attention_heads=HEADS, num_query_groups=KV_HEADS,
        kv_channels=HEAD_DIM, ffn_hidden_size=6144, moe_ffn_hidden_size=WIDTH, num_moe_experts=EXPERTS,
        moe_router_topk=TOP_K, moe_router_load_balancing_type="aux_loss", moe_aux_loss_coeff=1e-3,
        moe_router_pre_softmax=False, moe_grouped_gemm=True, moe_token_dispatcher_type="alltoall",
        moe_permute_fusion=True, expert_model_parallel_size=EXPERT_PARALLEL, add_bias_linear=False,
        gated_linear_unit=True, activation_func=torch.nn.functional.silu, bias_activation_fusion=True,
        bias_dropout_fusion=True, hidden_dropout=0.0, attention_dropout=0.0, normalization="RMSNorm",
        layernorm_epsilon=1e-6, qk_layernorm=True, bf16=True, params_dtype=torch.bfloat16,
        pipeline_dtype=torch.bfloat16, apply_rope_fusion=True, gradient_accumulation_fusion=True,
        moe_router_dtype="fp32", persist_layer_norm=True)
    keys.update({key: value for key, value in case.items() if key not in ("tokens", "overlap_grad_reduce")})
    if keys["moe_router_load_balancing_type"] == "none":
        keys["moe_aux_loss_coeff"] = 0.0
    config = TransformerConfig(**keys)
    spec = get_gpt_layer_with_transformer_engine_spec(
        num_experts=EXPERTS, moe_grouped_gemm=True, qk_layernorm=True)
    block = TransformerBlock(config, spec, pre_process=True, post_process=False).cuda()
    wrapped = DistributedDataParallel(
        config, DistributedDataParallelConfig(
            grad_reduce_in_fp32=True, overlap_grad_reduce=case.get("overlap_grad_reduce", True),
            use_distributed_optimizer=True, overlap_param_gather=False), block)
    return wrapped, block, RotaryEmbedding(HEAD_DIM, 1.0, rotary_base=1000000)


class Step:
    def __init__(self, case, tokens):
        self.tokens = tokens
        self.wrapped, self.block, rope = build(case)
        self.hidden = torch.randn(tokens, 1, HIDDEN, dtype=torch.bfloat16, device="cuda", requires_grad=True)
        self.gradient = torch.randn(tokens, 1, HIDDEN, dtype=torch.bfloat16, device="cuda")
        self.rotary = rope(tokens)
        self.mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device="cuda")

    def forward(self):
        return self.wrapped(hidden_states=self.hidden, attention_mask=None, rotary_pos_emb=self.rotary)

    def both(self):
        """Seconds of the host forward and backward, and what the stand-in and collectives took of each."""
        torch.cuda.synchronize()
        self.hidden.grad = None
        extension.spent.clear()
        begin = time.perf_counter()
        # A later microbatch: nothing is reduced, as in all but the last.
        with self.wrapped.no_sync():
            out = self.forward()
            mark("forward end")
            middle = time.perf_counter()
            forward_spent = {k: list(v) for k, v in extension.spent.items()}
            extension.spent.clear()
            mark("backward start")
            out.backward(self.gradient)
            mark("backward end")
        end = time.perf_counter()
        torch.cuda.synchronize()
        backward_spent = {k: list(v) for k, v in extension.spent.items()}
        return (middle - begin, end - middle, time.perf_counter() - begin), (forward_spent, backward_spent)
