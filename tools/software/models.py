"""Models of a public library, a few layers each, with random weights: shapes of our own choice."""
import torch

COMMON = {"max_position_embeddings": 131072, "use_cache": False, "tie_word_embeddings": False, "attention_dropout": 0.0}
MODELS = {
    "llama": ("Llama",
              dict(hidden_size=4096, num_attention_heads=32, num_key_value_heads=8, intermediate_size=14336,
                   vocab_size=128256, num_hidden_layers=4)),
    "llama-small": ("Llama",
                    dict(hidden_size=2048, num_attention_heads=32, num_key_value_heads=8, intermediate_size=8192,
                         vocab_size=64128, num_hidden_layers=8)),
    "llama-mha": ("Llama",
                  dict(hidden_size=3072, num_attention_heads=24, num_key_value_heads=24, intermediate_size=8192,
                       vocab_size=32064, num_hidden_layers=6)),
    "qwen2": ("Qwen2",
              dict(hidden_size=3584, num_attention_heads=28, num_key_value_heads=4, intermediate_size=18944,
                   vocab_size=152064, num_hidden_layers=3)),
    "qwen3": ("Qwen3",
              dict(hidden_size=2560, num_attention_heads=32, num_key_value_heads=8, head_dim=128,
                   intermediate_size=9728, vocab_size=151936, num_hidden_layers=5)),
    "mixtral": ("Mixtral",
                dict(hidden_size=4096, num_attention_heads=32, num_key_value_heads=8, intermediate_size=14336,
                     vocab_size=32000, num_hidden_layers=2,
                     num_local_experts=8, num_experts_per_tok=2, sliding_window=None)),
    "qwen3-moe": ("Qwen3Moe",
                  dict(hidden_size=2048, num_attention_heads=32, num_key_value_heads=4, head_dim=128,
                       intermediate_size=6144, moe_intermediate_size=768,
                       vocab_size=151936, num_hidden_layers=4, num_experts=128, num_experts_per_tok=8,
                       norm_topk_prob=True)),
    "gpt-oss": ("GptOss",
                dict(hidden_size=2880, num_attention_heads=64, num_key_value_heads=8, head_dim=64,
                     intermediate_size=2880, vocab_size=201088,
                     num_hidden_layers=4, num_local_experts=32, num_experts_per_tok=4, sliding_window=128)),
    "deepseek-v3": ("DeepseekV3",
                    dict(hidden_size=4096, num_attention_heads=32, num_key_value_heads=32, q_lora_rank=1536,
                         kv_lora_rank=512, qk_nope_head_dim=128,
                         qk_rope_head_dim=64, v_head_dim=128, intermediate_size=11008,
                         moe_intermediate_size=1408, n_routed_experts=64, num_experts_per_tok=8,
                         n_shared_experts=1, n_group=8, topk_group=4, first_k_dense_replace=1,
                         vocab_size=129280, num_hidden_layers=3)),
}
SMALL = dict(hidden_size=256, intermediate_size=512, vocab_size=1024, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2)
SMALL_EXTRA = {"DeepseekV3": dict(num_key_value_heads=4, q_lora_rank=128, kv_lora_rank=64, qk_nope_head_dim=64,
                                  qk_rope_head_dim=32, v_head_dim=64, moe_intermediate_size=128, n_routed_experts=16),
               "Qwen3Moe": dict(moe_intermediate_size=128, num_experts=16, head_dim=64),
               "GptOss": dict(head_dim=64, num_local_experts=8, intermediate_size=256), "Qwen3": dict(head_dim=64)}


def keys(name, quick):
    library, own = MODELS[name]
    own = dict(COMMON, **own)
    if quick:
        own.update(SMALL)
        own.update(SMALL_EXTRA.get(library, {}))
    return library, own


def build(name, quick=False, attention="sdpa", experts=None, kind=torch.bfloat16, **changes):
    import transformers
    library, own = keys(name, quick)
    own.update(changes)
    if library == "GptOss" and attention == "sdpa":
        attention = "eager"  # its sinks are not in SDPA
    config = getattr(transformers, library + "Config")(**own)
    config._attn_implementation = attention
    if experts:
        config._experts_implementation = experts
    before = torch.get_default_dtype()
    torch.set_default_dtype(kind)
    try:
        with torch.device("cuda"):
            model = getattr(transformers, library + "ForCausalLM")(config)
    finally:
        torch.set_default_dtype(before)
    if experts and hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation(experts)
    for each in model.parameters():
        if each.dim() > 1 and each.abs().max() == 0:
            torch.nn.init.normal_(each, std=0.02)
    model.train()
    return model


def vocabulary(name, quick):
    return keys(name, quick)[1]["vocab_size"]


def size(model):
    return {"parameters": sum(each.numel() for each in model.parameters()),
            "tensors": sum(1 for _ in model.parameters())}
