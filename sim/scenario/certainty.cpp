#include "sim/scenario/certainty.hpp"

#include <algorithm>
#include <cmath>

#include "models/base/spread.hpp"

namespace moesim {

double bar_reach() { return normal_exceeded_by((1 - bar_level) / 2); }

std::optional<double> deviation_of(const std::vector<Residual>& residuals) {
  const auto held =
      static_cast<std::size_t>(std::ceil(bar_level * static_cast<double>(residuals.size() + 1) - 1e-9));
  if (held > residuals.size()) return std::nullopt;
  std::vector<double> variances;
  for (const Residual& one : residuals) {
    const double needed = one.off / bar_reach();
    variances.push_back(std::max(0.0, needed * needed - one.explained * one.explained));
  }
  std::sort(variances.begin(), variances.end());
  return std::sqrt(variances[held - 1]);
}

const ErrorFamily* Certainty::find(std::string_view of, std::string_view where) const {
  const auto found = std::find_if(families.begin(), families.end(), [&](const ErrorFamily& one) {
    return one.of == of && one.where == where && one.deviation;
  });
  return found == families.end() ? nullptr : &*found;
}

const ErrorFamily* Certainty::widest(std::string_view of) const {
  const ErrorFamily* found = nullptr;
  for (const ErrorFamily& one : families) {
    if (one.of == of && one.deviation && (found == nullptr || *one.deviation > *found->deviation))
      found = &one;
  }
  return found;
}

Certainty Certainty::without(std::string_view residual) const {
  Certainty less = *this;
  for (ErrorFamily& family : less.families) {
    const auto removed =
        std::erase_if(family.residuals, [&](const Residual& one) { return one.name == residual; });
    if (removed > 0) family.deviation = deviation_of(family.residuals);
  }
  return less;
}

}  // namespace moesim
