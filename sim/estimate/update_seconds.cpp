// Seconds of an update for each parameter and tensor.
#include <algorithm>

#include "sim/estimate/estimate.hpp"
#include "sim/work/update.hpp"

namespace moesim {
namespace {

constexpr std::int64_t many = 1'000'000'000;  // elements, so that launches over lists of them are even

/// Of an update.
struct Seconds {
  double device = 0, host = 0;
};

Seconds seconds_of(const Updated& part, const Scenario& scenario) {
  const Timed timed = sum_of(update_ops(scenario, part), scenario).timed();
  return {to_seconds(std::max(timed.time, timed.host.device)), to_seconds(timed.host.issue)};
}

/// For each element of `part`, and for each of its tensors, which are then counted twice.
struct Each {
  Seconds element, tensor;
};

Each each_of(Updated part, std::int64_t Updated::*tensors, const Scenario& scenario) {
  const auto count = static_cast<double>(part.*tensors);
  const Seconds once = seconds_of(part, scenario);
  part.*tensors *= 2;
  const Seconds twice = seconds_of(part, scenario);
  const auto all = static_cast<double>(part.all);
  const auto each = [&](double Seconds::*member, Each& found) {
    const double more = twice.*member - once.*member;
    found.tensor.*member = count > 0 ? more / count : 0;
    found.element.*member = (once.*member - more) / all;
  };
  Each found;
  each(&Seconds::device, found);
  each(&Seconds::host, found);
  return found;
}

}  // namespace

double UpdateRate::seconds(const Updated& part) const {
  const auto times = [](std::int64_t count, double each) { return static_cast<double>(count) * each; };
  return times(part.all - part.rest, matrices) + times(part.rest, rest) + times(part.matrices, of_matrix) +
         times(part.others, of_other);
}

/// For each weight that a device casts.
double of_each_cast(const Scenario& scenario, std::int64_t Updated::*which) {
  Updated part;
  part.*which = many;
  return seconds_of(part, scenario).device / static_cast<double>(many);
}

/// Of so many elements that launches over lists of tensors are even; as if one device had the whole model.
UpdateSeconds update_seconds(const Scenario& scenario) {
  std::vector<Weight> weights;
  HeldElements held;
  for (std::int64_t rank = 0; rank < scenario.layout.sizes().pipeline; ++rank) {
    for (const Weight& weight : weights_of_rank(scenario, rank)) weights.push_back(weight);
    held += held_elements(scenario, rank);
  }
  const Updated whole = updated_part(held, {}, weights);
  const auto times = [&](std::int64_t elements) {
    return static_cast<double>(many) / static_cast<double>(std::max<std::int64_t>(1, elements));
  };
  const Each matrices = each_of(
      {.all = many, .matrices = whole.matrices, .weights = weights, .share = times(whole.all - whole.rest)},
      &Updated::matrices, scenario);
  const Each rest = each_of({.all = many, .rest = many, .others = whole.others}, &Updated::others, scenario);
  const auto rate = [&](double Seconds::*of) {
    return UpdateRate{matrices.element.*of, rest.element.*of, matrices.tensor.*of, rest.tensor.*of};
  };
  return {.held = to_seconds(sum_of(gradient_ops(scenario, many), scenario).timed().time) / many,
          .device = rate(&Seconds::device),
          .host = rate(&Seconds::host),
          .copies = copy_seconds(scenario),
          .cast_updated = of_each_cast(scenario, &Updated::narrow),
          .cast_held = of_each_cast(scenario, &Updated::narrow_held)};
}

}  // namespace moesim
