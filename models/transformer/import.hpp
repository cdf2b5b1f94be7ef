// Hugging Face config.json to a model file.
#pragma once

#include <string>
#include <vector>

#include "models/config/value.hpp"

namespace moesim {

/// A model file made from a configuration, and what the configuration left open.
struct Imported {
  Value model;  ///< read_model accepts it
  std::vector<std::string>
      guessed;  ///< one sentence each, as "head_dim: taken as hidden_size / num_attention_heads = 128"
};

/// Translates the config.json of DeepSeek-V2 and V3, Kimi K2, Mixtral, Qwen2-MoE, Qwen3-MoE, gpt-oss, GLM-4.5
/// and Llama; also one nested in "text_config". Throws InputError for another architecture and for a missing
/// key.
Imported import_hugging_face(const Value& config);

}  // namespace moesim
