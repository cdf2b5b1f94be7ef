// Times as measured: the roofline with parameters fitted to a device's measurements, times a smooth surface
// through what it misses (models/cost/family_model.hpp), one for each kind of op. On a measured shape the
// answer is the measurement up to its noise; far from all of them it is the physical model's, and says so.
#include "models/cost/calibrated.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "models/base/error.hpp"
#include "models/cost/access_fit.hpp"
#include "models/cost/family_model.hpp"
#include "models/cost/roofline.hpp"

namespace moesim {
namespace {

class Calibrated final : public Cost {
 public:
  explicit Calibrated(const Calibration& calibration)
      : device_(calibration.device),
        described_(calibration.described),
        accesses_(calibration.accesses),
        physical_(make_roofline()) {
    for (const FamilyFit& fit : calibration.families)
      families_.emplace_back(fit, *physical_, device_, calibration.grid);
  }

  bool follows_clock() const override { return device_.power.has_value(); }
  OpTime time(const Op& asked, const Device& device, const DeviceState& state) const override {
    if (device.name != device_.name) {
      throw InputError("cost.table",
                       fmt::format("calibrates {}, but the cluster is made of {}", device_.name, device.name),
                       "moesim calibrate measures the GPUs of the machine it runs on");
    }
    const Device* const before = unchanged(device);
    if (state.clock != 1 && !device_.power) {
      throw InputError("cost.table",
                       "was measured without power, at clocks that are not told: its times do not follow the "
                       "clock at which cluster.device.power holds the device",
                       "moesim calibrate measures power too; or leave out cluster.device.power");
    }
    if (asked.flops.count <= 0 && asked.bytes.count <= 0) return {};
    if (asked.access.share > 0) return by_access(asked, device, before, state);
    const Op op = simplified(asked);
    OpTime answer = physical_->time(op, device_, state);
    double factor = 1;
    answer.extrapolated = true;
    if (const FamilyModel* family = model_of(family_of(op))) {
      const FamilyModel::Answer found = family->at(op);
      answer.extrapolated = found.is_far;
      factor *= found.factor;
    }
    if (before != nullptr) {
      factor *= seconds(op, device, state) / seconds(op, *before, state);
      answer.extrapolated = true;
    }
    answer.time = from_seconds(std::max(1e-12, to_seconds(answer.time) * factor));
    return answer;
  }

  /// Of what was measured on the very device; changes of it and laws that are assumed have no measurements.
  std::optional<double> deviation(const Op& asked, const Device& device) const override {
    if (asked.flops.count <= 0 && asked.bytes.count <= 0) return std::nullopt;
    if (unchanged(device) != nullptr) return std::nullopt;
    if (asked.access.share > 0) return deviation_by_access(asked.access);
    const Op op = simplified(asked);
    const FamilyModel* const family = model_of(family_of(op));
    return family == nullptr ? std::nullopt : std::optional(family->deviation(op));
  }

 private:
  /// By the law that was fitted to such kernels; where there is none by that of the code, on the cluster's
  /// device.
  OpTime by_access(const Op& asked, const Device& device, const Device* before,
                   const DeviceState& state) const {
    const AccessFit* const fit = fit_of(asked.access, accesses_);
    if (fit == nullptr) {
      OpTime assumed = physical_->time(asked, device, state);
      assumed.extrapolated = true;
      return assumed;
    }
    const Op op = by_law(asked, *fit);
    OpTime answer = physical_->time(op, device_, state);
    answer.extrapolated = is_far(op, *fit) || before != nullptr;
    if (before != nullptr)
      answer.time = scaled(answer.time, seconds(op, device, state) / seconds(op, *before, state));
    return answer;
  }

  /// As far as the median error of the sizes that judged the law says.
  std::optional<double> deviation_by_access(const Access& access) const {
    constexpr double median_of_normal = 0.6745;  // of the deviation, without sign
    const AccessFit* const fit = fit_of(access, accesses_);
    if (fit == nullptr) return std::nullopt;
    return (fit->held_out.shapes > 0 ? fit->held_out : fit->fitted).median / median_of_normal;
  }

  /// The account of the measured device that `device` is a change of: the nearer of the fitted one and of the
  /// device file that the fit began with; null where it is one of the two.
  const Device* unchanged(const Device& device) const {
    const std::vector<std::string_view> fitted = differing_physics(device, device_);
    if (fitted.empty()) return nullptr;
    if (!described_) {
      throw InputError(
          "cost.table",
          fmt::format("does not say from which device file it was fitted, and cluster.device has another {} "
                      "than what it has fitted: what a change of that does cannot be told",
                      fitted.front()),
          "moesim calibrate --measurements FILE --out FILE fits it again and says so");
    }
    const std::vector<std::string_view> file = differing_physics(device, *described_);
    if (file.empty()) return nullptr;
    return file.size() <= fitted.size() ? &*described_ : &device_;
  }

  /// What the physical model says.
  double seconds(const Op& op, const Device& device, const DeviceState& state) const {
    return std::max(1e-12, to_seconds(physical_->time(op, device, state).time));
  }

  const FamilyModel* model_of(const Family& family) const {
    for (const FamilyModel& model : families_)
      if (model.family() == family) return &model;
    // Grouped products in fp8 are measured on few devices: what bf16's miss, theirs miss as well.
    if (family.precision != Precision::bf16) return model_of({family.kind, family.pass, Precision::bf16});
    return nullptr;
  }

  Device device_;
  std::optional<Device> described_;
  std::vector<AccessFit> accesses_;
  std::unique_ptr<const Cost> physical_;
  std::vector<FamilyModel> families_;
};

std::unique_ptr<const Cost> make(Reader& reader) {
  Reader table = reader.part("table", "calibration that moesim calibrate wrote");
  return make_calibrated(table.is_describing() ? Calibration{} : read_calibration(table));
}

}  // namespace

std::unique_ptr<const Cost> make_calibrated(const Calibration& calibration) {
  return std::make_unique<Calibrated>(calibration);
}

extern constexpr Entry<Cost> calibrated_cost{
    "calibrated",
    "as measured on a device: the roofline fitted to it, corrected by a surface through its measurements",
    make};

}  // namespace moesim
