#include "tools/calibrate_accesses.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "models/cost/access_fit.hpp"
#include "models/cost/roofline.hpp"
#include "models/transformer/access_laws.hpp"

namespace moesim {
namespace {

std::string percent(double ratio) { return fmt::format("{:.1f} %", 100 * ratio); }

/// Accesses with measurements, in the order of the code.
std::vector<Access> measured_accesses(const std::vector<Measured>& measured) {
  std::vector<Access> accesses;
  for (const std::string_view name : pytorch::access_names()) {
    const bool is_there = std::any_of(measured.begin(), measured.end(),
                                      [&](const Measured& one) { return one.op.access.name == name; });
    if (is_there) accesses.push_back(*pytorch::access_named(name));
  }
  return accesses;
}

/// The device on which the code's numbers hold: that of the device file.
const Device& assumed_on(const Calibration& calibration) {
  return calibration.described ? *calibration.described : calibration.device;
}

/// Names of those that a calibration does not know, so that the numbers of the code are taken.
std::string assumed(const Calibration& calibration) {
  std::vector<std::string_view> names;
  for (const std::string_view name : pytorch::access_names())
    if (fit_of(*pytorch::access_named(name), calibration.accesses) == nullptr) names.push_back(name);
  return names.empty() ? "" : fmt::format("as assumed, not measured: {}\n", fmt::join(names, ", "));
}

}  // namespace

std::string accesses_table(const Calibration& calibration, const std::vector<Measured>& measured) {
  const std::vector<Access> accesses = measured_accesses(measured);
  if (accesses.empty()) return "";
  const Device &device = calibration.device, &described = assumed_on(calibration);
  const std::unique_ptr<const Cost> physical = make_roofline();
  std::string text =
      fmt::format("{:<28}{:>7}{:>11}{:>10}{:>8}{:>9}{:>9}{:>8}{:>9}{:>9}{:>10}\n", "accesses", "share",
                  "per cycle", "shortest", "sizes", "median", "p90", "others", "median", "p90", "assumed");
  std::vector<double> all, all_by_code;
  for (const Access& access : accesses) {
    const AccessFit* fit = fit_of(access, calibration.accesses);
    const std::vector<double> by_code = off_by(access, nullptr, true, *physical, described, measured);
    if (fit == nullptr) {
      text += fmt::format("{:<28}too few sizes\n", access.name);
      continue;
    }
    text += fmt::format(
        "{:<28}{:>7.3f}{:>11}{:>10}{:>8}{:>9}{:>9}{:>8}{:>9}{:>9}{:>10}\n", access.name, fit->law.share,
        fit->law.per_cycle > 0 ? fmt::format("{:.3f}", fit->law.per_cycle) : "",
        fmt::format("{:.2f} us", to_seconds(fit->law.start + device.kernel_floor) * 1e6), fit->fitted.shapes,
        percent(fit->fitted.median), percent(fit->fitted.p90), fit->held_out.shapes,
        percent(fit->held_out.median), percent(fit->held_out.p90), percent(errors_of(by_code).median));
    const std::vector<double> by_fit = off_by(access, fit, true, *physical, device, measured);
    all.insert(all.end(), by_fit.begin(), by_fit.end());
    all_by_code.insert(all_by_code.end(), by_code.begin(), by_code.end());
  }
  const Errors errors = errors_of(all), before = errors_of(all_by_code);
  text +=
      fmt::format("{} other sizes: median {}, p90 {}; as assumed {} and {}\n", errors.shapes,
                  percent(errors.median), percent(errors.p90), percent(before.median), percent(before.p90));
  return text + assumed(calibration);
}

std::string accesses_check(const Calibration& calibration, const std::vector<Measured>& measured) {
  const std::unique_ptr<const Cost> physical = make_roofline();
  std::string text =
      fmt::format("{:<28}{:>8}{:>10}{:>10}{:>10}\n", "access", "sizes", "median", "p90", "worst");
  std::vector<double> all;
  for (const Access& access : measured_accesses(measured)) {
    const AccessFit* fit = fit_of(access, calibration.accesses);
    const Device& device = fit == nullptr ? assumed_on(calibration) : calibration.device;
    std::vector<double> off;
    for (const bool held_out : {false, true})
      for (const double one : off_by(access, fit, held_out, *physical, device, measured)) off.push_back(one);
    all.insert(all.end(), off.begin(), off.end());
    const Errors errors = errors_of(off);
    text +=
        fmt::format("{:<28}{:>8}{:>10}{:>10}{:>10}{}\n", access.name, errors.shapes, percent(errors.median),
                    percent(errors.p90), percent(errors.worst), fit == nullptr ? "  as assumed" : "");
  }
  if (all.empty()) return "";
  const Errors errors = errors_of(all);
  return text + fmt::format("{:<28}{:>8}{:>10}{:>10}{:>10}\n", "all", errors.shapes, percent(errors.median),
                            percent(errors.p90), percent(errors.worst));
}

}  // namespace moesim
