#include "models/cost/access_fit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/base/at.hpp"
#include "models/config/fields.hpp"
#include "models/cost/bounds.hpp"
#include "models/cost/descent.hpp"
#include "models/transformer/access_laws.hpp"

namespace moesim {
namespace {

// Ends of what is physical: a kernel may read from the cache, and takes 10 ns to 1 ms with nothing to do.
constexpr double least_share = 0.01, most_share = 10, least_per_cycle = 0.01, most_per_cycle = 1e5,
                 shortest_run = 1e-8, longest_run = 1e-3;

using Rows = std::vector<const Measured*>;

Rows rows_of(const Access& access, bool held_out, const std::vector<Measured>& measured) {
  Rows rows;
  for (const Measured& one : measured)
    if (one.held_out == held_out && one.op.access.name == access.name) rows.push_back(&one);
  return rows;
}

double kernels_of(const Op& op) { return real(std::max<std::int64_t>(1, op.kernels)); }

/// A law as a descent moves it: its shortest run in place of what that is beyond the device's own floor.
struct Law {
  double shortest, share, per_cycle;
  Access on(const Device& device, std::string_view name) const {
    return {.share = share,
            .per_cycle = per_cycle,
            .start = from_seconds(shortest) - device.kernel_floor,
            .name = name};
  }
};

/// Seconds beyond the shortest run; of a kernel that takes hardly more, half of its time.
double body_of(const Measured& row, double shortest) {
  return std::max(row.seconds / 2, row.seconds - kernels_of(row.op) * shortest);
}

/// Whether kernels of so many bytes an element are there that bytes and elements can be told apart.
bool tells_apart(const Rows& rows) {
  const auto each = [](const Measured* row) { return real(row->op.bytes.count) / real(row->op.m); };
  const auto [least, most] = std::minmax_element(
      rows.begin(), rows.end(), [&](const auto* a, const auto* b) { return each(a) < each(b); });
  return each(*most) > 1.2 * each(*least);
}

/// Where descents begin: what the smallest kernel and the largest say by themselves, and where bytes and
/// elements can be told apart, also the highest rate of each, below which the law cannot be.
std::vector<Law> guesses(const Access& assumed, bool counts, const Device& device, const Rows& rows) {
  double shortest = longest_run;
  for (const Measured* row : rows) shortest = std::min(shortest, row->seconds / kernels_of(row->op));
  const double each_cycle = to_seconds(device.cycle) / real(device.multiprocessors);
  const auto law_by = [&](const Measured& row) {
    const double body = body_of(row, shortest);
    return Law{.shortest = shortest,
               .share = std::clamp(real(row.op.bytes.count) / body / device.memory_bandwidth.count,
                                   least_share, most_share),
               .per_cycle = counts ? real(row.op.m) / body * each_cycle : assumed.per_cycle};
  };
  const Measured* largest = *std::max_element(rows.begin(), rows.end(), [](const auto* a, const auto* b) {
    return a->op.bytes.count < b->op.bytes.count;
  });
  Law by_largest = law_by(*largest);
  if (!counts) return {by_largest};
  by_largest.share = assumed.share;
  if (!tells_apart(rows)) return {by_largest};
  Law highest = by_largest;
  highest.share = least_share;
  for (const Measured* row : rows) {
    const Law law = law_by(*row);
    highest.share = std::max(highest.share, law.share);
    highest.per_cycle = std::max(highest.per_cycle, law.per_cycle);
  }
  return {by_largest, highest};
}

/// The law that is least off by the mean error of the logarithm. Far errors count in full: an access may have
/// several kernels, of which none is an odd one. A share that its elements hide stays as it is assumed.
AccessFit fit_access(const Access& assumed, const Cost& cost, const Device& device, const Rows& rows) {
  const bool counts = assumed.per_cycle > 0 && device.cycle.count > 0;
  AccessFit fit;
  double best = std::numeric_limits<double>::infinity();
  for (Law law : guesses(assumed, counts, device, rows)) {
    std::vector<Parameter> parameters{of_ratio(law.shortest, shortest_run, longest_run),
                                      of_ratio(law.share, least_share, most_share)};
    if (counts) parameters.push_back(of_ratio(law.per_cycle, least_per_cycle, most_per_cycle));
    AccessFit tried;
    const auto loss = [&] {
      tried.law = law.on(device, assumed.name);
      double sum = 0;
      for (const Measured* row : rows)
        sum += std::abs(std::log(kernel_seconds(by_law(row->op, tried), cost, device) / row->seconds));
      return sum / real(std::ssize(rows));
    };
    descend(loss, parameters);
    const double off = loss();
    constexpr double clearly = 0.002;  // of the mean error
    if (off < best - clearly) fit = tried, best = off;
  }
  const auto [least, most] = std::minmax_element(
      rows.begin(), rows.end(), [](const auto* a, const auto* b) { return a->op.m < b->op.m; });
  fit.least_elements = (*least)->op.m;
  fit.most_elements = (*most)->op.m;
  return fit;
}

std::int64_t read_elements(Reader& reader, const char* name, const char* help) {
  return reader.integer({.name = name, .help = help, .at_least = 1});
}

}  // namespace

double kernel_seconds(const Op& op, const Cost& cost, const Device& device) {
  return std::max(
      1e-12, to_seconds(cost.time(op, device, 0).time) - kernels_of(op) * to_seconds(device.launch_overhead));
}

const AccessFit* fit_of(const Access& assumed, const std::vector<AccessFit>& fits) {
  const auto fit = std::find_if(fits.begin(), fits.end(),
                                [&](const AccessFit& one) { return one.law.name == assumed.name; });
  if (fit == fits.end()) return nullptr;
  const std::optional<Access> named = pytorch::access_named(assumed.name);
  const bool is_own =
      named->share != assumed.share || named->per_cycle != assumed.per_cycle || named->start != assumed.start;
  return is_own ? nullptr : &*fit;
}

Op by_law(Op op, const AccessFit& fit) {
  op.access = fit.law;
  return op;
}

bool is_far(const Op& op, const AccessFit& fit) {
  constexpr std::int64_t two_doublings = 4;
  return op.m * op.n < fit.least_elements / two_doublings || op.m * op.n / two_doublings > fit.most_elements;
}

std::vector<double> off_by(const Access& assumed, const AccessFit* fit, bool held_out, const Cost& cost,
                           const Device& device, const std::vector<Measured>& measured) {
  std::vector<double> off;
  for (const Measured* row : rows_of(assumed, held_out, measured)) {
    const Op op = fit == nullptr ? row->op : by_law(row->op, *fit);
    off.push_back(std::log(kernel_seconds(op, cost, device) / row->seconds));
  }
  return off;
}

std::vector<AccessFit> fit_accesses(const Cost& cost, const Device& device,
                                    const std::vector<Measured>& measured) {
  constexpr std::size_t fewest = 6;  // twice the numbers of a law
  std::vector<AccessFit> fits;
  for (const std::string_view name : pytorch::access_names()) {
    const Access assumed = *pytorch::access_named(name);
    const Rows rows = rows_of(assumed, false, measured);
    if (rows.size() < fewest) continue;
    AccessFit fit = fit_access(assumed, cost, device, rows);
    fit.fitted = errors_of(off_by(assumed, &fit, false, cost, device, measured));
    fit.held_out = errors_of(off_by(assumed, &fit, true, cost, device, measured));
    fits.push_back(fit);
  }
  return fits;
}

AccessFit read_access_fit(Reader& reader, const Device& device) {
  AccessFit fit;
  const std::span<const std::string_view> known = pytorch::access_names();
  const std::size_t which = reader.choice({.name = "access", .help = "whose law it is"}, known);
  Law law{};
  law.share = reader.number({.name = "share",
                             .help = "of the device's memory bandwidth that its bytes reach",
                             .at_least = least_share,
                             .at_most = most_share});
  law.per_cycle = reader.number({.name = "per_cycle",
                                 .help = "elements that a multiprocessor handles in a cycle at most; 0: "
                                         "bytes alone count",
                                 .fallback = 0.0,
                                 .at_least = 0.0,
                                 .at_most = most_per_cycle});
  law.shortest = to_seconds(reader.time(
      {.name = "shortest", .help = "run of such a kernel", .at_least = from_seconds(shortest_run)}));
  fit.law = law.on(device, at(known, which));
  fit.least_elements = read_elements(reader, "least_elements", "of what it was fitted to");
  fit.most_elements = read_elements(reader, "most_elements", "of what it was fitted to");
  fit.fitted = read_errors(reader.part("fitted", "errors on what it was fitted to"));
  fit.held_out = read_errors(reader.part("held_out", "errors on sizes that it was not fitted to"));
  reader.finish();
  return fit;
}

std::string write_access_fit(const AccessFit& fit, const Device& device) {
  const std::string counts =
      fit.law.per_cycle > 0 ? fmt::format(R"("per_cycle": {:.6g}, )", fit.law.per_cycle) : "";
  return fmt::format(R"({{"access": "{}", "share": {:.6g}, {}"shortest": "{:.6g} us", "least_elements": {}, )"
                     R"("most_elements": {}, "fitted": {}, "held_out": {}}})",
                     fit.law.name, fit.law.share, counts,
                     to_seconds(fit.law.start + device.kernel_floor) * 1e6, fit.least_elements,
                     fit.most_elements, write_errors(fit.fitted), write_errors(fit.held_out));
}

}  // namespace moesim
