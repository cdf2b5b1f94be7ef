"""Steps of models that no member of `software` was written with: what it says of these was never looked at before."""
from . import models, steps
from .steps import case

OWN = {
    "llama-1b": ("Llama",
                 dict(hidden_size=2048, num_attention_heads=32, num_key_value_heads=8, intermediate_size=8192,
                      vocab_size=128256, num_hidden_layers=6)),
    "llama-13b": ("Llama",
                  dict(hidden_size=5120, num_attention_heads=40, num_key_value_heads=40, intermediate_size=13824,
                       vocab_size=32000, num_hidden_layers=3)),
    "mistral-7b": ("Mistral",
                   dict(hidden_size=4096, num_attention_heads=32, num_key_value_heads=8, head_dim=128,
                        intermediate_size=14336, vocab_size=32768, num_hidden_layers=5, sliding_window=None)),
    "qwen3-8b": ("Qwen3",
                 dict(hidden_size=4096, num_attention_heads=32, num_key_value_heads=8, head_dim=128,
                      intermediate_size=12288, vocab_size=151936, num_hidden_layers=3)),
    "qwen2-1.5b": ("Qwen2",
                   dict(hidden_size=1536, num_attention_heads=12, num_key_value_heads=2, intermediate_size=8960,
                        vocab_size=151936, num_hidden_layers=10)),
    "mixtral-small": ("Mixtral",
                      dict(hidden_size=3072, num_attention_heads=24, num_key_value_heads=8, intermediate_size=8192,
                           vocab_size=32000, num_hidden_layers=3, num_local_experts=8, num_experts_per_tok=2,
                           sliding_window=None)),
    "qwen3-moe-64": ("Qwen3Moe",
                     dict(hidden_size=2048, num_attention_heads=32, num_key_value_heads=4, head_dim=128,
                          intermediate_size=6144, moe_intermediate_size=1024, vocab_size=151936, num_hidden_layers=3,
                          num_experts=64, num_experts_per_tok=6, norm_topk_prob=True)),
    "gpt-oss-16": ("GptOss",
                   dict(hidden_size=2880, num_attention_heads=64, num_key_value_heads=8, head_dim=64,
                        intermediate_size=2880, vocab_size=201088, num_hidden_layers=2, num_local_experts=16,
                        num_experts_per_tok=4, sliding_window=128)),
}
GROUPED, ONE_BY_ONE = {"experts": "grouped_mm"}, {"experts": "eager"}


def cases():
    for batch, tokens, options in ((1, 1024, {}), (2, 2048, {}), (8, 2048, {"checkpoint": True}),
                                   (4, 512, {"clip": True}), (2, 1024, {"attention": "eager"}),
                                   (2, 2048, {"autocast": True}), (1, 2048, {"accumulate": 4})):
        yield case("llama-1b", batch, tokens, **options)
    for batch, tokens, options in ((1, 2048, {}), (2, 4096, {}), (1, 256, {}), (1, 1024, {"accumulate": 2})):
        yield case("llama-13b", batch, tokens, **options)
    for batch, tokens, options in ((1, 3072, {}), (3, 2048, {"update": "foreach"}), (1, 8192, {"checkpoint": True}),
                                   (2, 2048, {"mask": True})):
        yield case("mistral-7b", batch, tokens, **options)
    yield case("qwen3-8b", 2, 2048)
    yield case("qwen3-8b", 1, 1024, clip=True)
    yield case("qwen2-1.5b", 1, 2048)
    yield case("qwen2-1.5b", 4, 4096)
    for batch, tokens, options in ((1, 2048, GROUPED), (2, 4096, GROUPED), (1, 1024, ONE_BY_ONE),
                                   (2, 2048, ONE_BY_ONE), (1, 2048, dict(accumulate=2, **GROUPED))):
        yield case("mixtral-small", batch, tokens, **options)
    for batch, tokens, options in ((1, 2048, GROUPED), (2, 4096, GROUPED), (1, 1024, ONE_BY_ONE),
                                   (1, 4096, dict(checkpoint=True, **GROUPED))):
        yield case("qwen3-moe-64", batch, tokens, **options)
    yield case("gpt-oss-16", 1, 2048, **GROUPED)
    yield case("gpt-oss-16", 1, 1024, **ONE_BY_ONE)


def measure(write, quick, deadline):
    models.MODELS.update(OWN)
    steps.measure_all([(each, False) for each in cases()], write, quick, deadline)
