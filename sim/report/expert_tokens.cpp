#include "sim/report/expert_tokens.hpp"

#include <algorithm>
#include <functional>

namespace moesim {

std::vector<LayerTokens> expert_tokens(const Work& work) {
  std::vector<LayerTokens> all;
  if (work.loads == nullptr) return all;
  const Scenario& scenario = work.scenario;
  const std::int64_t microbatches = scenario.router.varies() ? scenario.microbatches() : 1;
  for (std::size_t i = 0; i < scenario.model.layers.size(); ++i) {
    if (!scenario.model.layers[i].is_moe) continue;
    LayerTokens& layer = all.emplace_back(LayerTokens{static_cast<std::int64_t>(i), {}});
    for (std::int64_t microbatch = 0; microbatch < microbatches; ++microbatch) {
      for (std::int64_t group = 0; group < work.loads->groups(); ++group) {
        const std::vector<std::int64_t>& rows =
            work.loads->counts(work.loads->number_of(layer.layer, microbatch, group)).of_experts;
        layer.of_experts.resize(rows.size());
        std::transform(rows.begin(), rows.end(), layer.of_experts.begin(), layer.of_experts.begin(),
                       std::plus<>());
      }
    }
  }
  return all;
}

}  // namespace moesim
