#include "sim/layer/act_list.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace moesim {
namespace {

/// The pass of the act with which a block keeps or lets go.
OpPass keeps_in(Pass pass) {
  if (pass == Pass::forward) return OpPass::forward;
  return pass == Pass::backward_input ? OpPass::backward_input : OpPass::backward_weight;
}

/// A program that computes nothing lets go with its first act.
std::vector<KeptBlock> kept_by(const Program& program, Pass pass) {
  std::vector<KeptBlock> kept;
  for (std::size_t i = 0; i < program.acts.size(); ++i) {
    const Act& act = program.acts[i];
    if (act.kind != ActKind::compute || act.pass != keeps_in(pass)) continue;
    const auto known = std::find_if(kept.begin(), kept.end(),
                                    [&](const KeptBlock& other) { return other.block == act.activity; });
    if (known != kept.end() && pass == Pass::forward) continue;
    if (known != kept.end()) kept.erase(known);
    kept.push_back({act.segment, act.activity, static_cast<std::uint16_t>(i)});
  }
  if (kept.empty() && !program.acts.empty())
    kept.push_back({program.acts.front().segment, program.acts.front().activity, 0});
  return kept;
}

}  // namespace

Program ActList::take(Pass pass) {
  end();
  program_.kept = kept_by(program_, pass);
  return std::move(program_);
}

}  // namespace moesim
