#include "sim/lower/parts.hpp"

namespace moesim {

void FlowParts::way(const Flow& flow, double share, std::span<const LinkWork> works) {
  if (!wants_flows() || works.empty()) return;
  const std::uint64_t receiver = grain_ == FlowGrain::pair ? flow.to : 0;
  const std::uint64_t ends = std::uint64_t{flow.from} << 32 | receiver;
  const auto [known, is_new] = part_of_.try_emplace(ends, parts_.size());
  if (is_new) parts_.push_back({.group = group_});
  Part& part = parts_[known->second];
  part.bytes += share * flow.bytes;
  part.flows += share;
  for (const LinkWork& work : works) part.loads.push_back({work.link, work.load, work.bytes});
}

void FlowParts::write(GraphBuilder& builder, PatternId whole, std::vector<std::uint32_t>* groups) {
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
