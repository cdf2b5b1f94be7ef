// What of a layer CUDA graphs hold in Megatron-Core, and what they leave of its launches.
#include <utility>

#include "models/software/megatron_core.hpp"

namespace moesim::megatron {
namespace {

/// Whether an op is before the first layer or behind the last.
bool is_of_ends(const Op& op) {
  return op.module == Module::embedding || op.module == Module::loss || op.norm_of == NormOf::last ||
         op.name == "head projection";
}

/// Whether a graph holds an op: attention to its residual, or the norm before the router to the permutation
/// (core/transformer/transformer_layer.py: _te_cuda_graph_capture).
bool is_held(const Op& op, const GraphScope& graphs) {
  if (op.part == LayerPart::router) return graphs.router;
  if (op.module == Module::permute) return graphs.preprocess;
  if (op.part != LayerPart::attention || is_of_ends(op)) return false;
  return op.name == "feed-forward norm" ? graphs.router : graphs.attention;
}

/// The op with which the graph of a layer is launched.
bool launches_graph(const Op& op, const GraphScope& graphs) {
  return graphs.attention ? op.module == Module::core : op.module == Module::router;
}

/// A graph is a launch, and 228 ns for each kernel in it (host.hpp), behind a call in Python that brings
/// inputs to their places (transformer_engine/pytorch/graph.py: make_graphed_callables).
constexpr std::int64_t calls_of_graph = 2;

}  // namespace

void capture(const Op& op, const Choices& choices, std::size_t first, std::vector<Op>& kernels) {
  if (!is_held(op, choices.graphs)) return;
  std::int64_t calls = launches_graph(op, choices.graphs) ? calls_of_graph : 0;
  for (std::size_t i = first; i < kernels.size() && kernels[i].waits == 0; ++i)
    kernels[i].calls = std::exchange(calls, 0);
}

}  // namespace moesim::megatron
