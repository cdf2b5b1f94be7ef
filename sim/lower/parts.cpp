#include "sim/lower/parts.hpp"

namespace moesim {

void Parts::add(const Flow& flow, double share, std::span<const LinkLoad> loads, std::uint32_t group) {
  if (!wants_flows() || loads.empty()) return;
  const std::uint64_t receiver = grain_ == FlowGrain::pair ? flow.to : 0;
  const std::uint64_t ends = std::uint64_t{flow.from} << 32 | receiver;
  const auto [known, is_new] = part_of_.try_emplace(ends, parts_.size());
  if (is_new) parts_.push_back({.group = group});
  Part& part = parts_[known->second];
  part.bytes += share * flow.bytes;
  part.flows += share;
  part.loads.insert(part.loads.end(), loads.begin(), loads.end());
}

void Parts::write(GraphBuilder& builder, PatternId whole, std::vector<std::uint32_t>* groups) {
  if (parts_.size() > 1) {
    for (const Part& part : parts_) {
      builder.add_part(whole, part.bytes / part.flows, part.loads);
      if (groups != nullptr) groups->push_back(part.group);
    }
  }
  parts_.clear();
  part_of_.clear();
}

}  // namespace moesim
