// Plans of optimizers, as a scenario's part "optimizer" makes them.
#pragma once

#include <numeric>
#include <string>

#include "models/config/document.hpp"
#include "models/optimizer/optimizer.hpp"

namespace moesim::testing {

inline UpdatePlan update_plan(const std::string& part, const UpdateForm& form = {}) {
  const Value document = parse_json(part, "test");
  Reader reader(document, "optimizer");
  return make_member(reader, optimizers(), "optimizer")->plan(form);
}

/// For each parameter, over all passes that go over it.
inline double bytes_of(const UpdatePlan& plan, Over over = Over::all) {
  double sum = 0;
  for (const UpdatePass& pass : plan.passes)
    if (pass.over == over || pass.over == Over::all) sum += pass.bytes;
  return sum;
}

/// As PyTorch trains in bf16 alone.
inline constexpr UpdateForm in_bf16{
    .gradient = Precision::bf16, .moments = Precision::bf16, .casts_inside = false};

}  // namespace moesim::testing
