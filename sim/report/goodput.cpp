#include "sim/report/goodput.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/base/random.hpp"

namespace moesim {
namespace {

constexpr double seconds_per_year = 365.25 * 24 * 3600;

/// Whole seconds are exact, as those that a file gives: a failure may fall on the end of a checkpoint.
double seconds_of(Time time) { return static_cast<double>(time.count) / 1e12; }

/// Times of failures, in seconds.
class Clock {
 public:
  Clock(const Failures& failures, std::uint64_t seed, double mean_between)
      : given_(failures.at), random_(Random(seed).stream("failures")), mean_between_(mean_between) {}

  /// The one after that at `now`; where they are random they have no memory.
  double after(double now) {
    if (mean_between_ > 0) return now - mean_between_ * std::log1p(-random_.uniform());
    return next_ < given_.size() ? given_[next_++].count : std::numeric_limits<double>::infinity();
  }

 private:
  const std::vector<WallClock>& given_;
  RandomStream random_;
  double mean_between_;
  std::size_t next_ = 0;
};

struct Plan {
  double interval, checkpoint, restart, run;
};

/// Work that survives in segments from `now` on, until `until`: those that are saved, and at the end of the
/// run what is under way.
double kept(const Plan& plan, double now, double until) {
  const double segment = plan.interval + plan.checkpoint;
  const double whole = std::floor((until - now) / segment);
  const double rest = until >= plan.run ? std::min(plan.interval, until - now - whole * segment) : 0;
  return whole * plan.interval + std::max(0.0, rest);
}

/// Work from `now` on until `until`, saved or not.
double done(const Plan& plan, double now, double until) {
  const double segment = plan.interval + plan.checkpoint;
  const double whole = std::floor((until - now) / segment);
  return whole * plan.interval + std::min(plan.interval, until - now - whole * segment);
}

void simulate(const Plan& plan, Clock& clock, GoodputReport& report) {
  double useful = 0;
  double working = 0;
  double now = 0;
  double failure = clock.after(0);
  while (now < plan.run) {
    const double until = std::min(failure, plan.run);
    useful += kept(plan, now, until);
    working += done(plan, now, until);
    if (failure >= plan.run) break;
    ++report.failures;
    now = failure + plan.restart;
    failure = clock.after(failure);
    while (failure < std::min(now, plan.run)) {  // it restarts: it begins anew
      ++report.failures;
      now = failure + plan.restart;
      failure = clock.after(failure);
    }
  }
  report.simulated = useful / plan.run;
  report.working = working / plan.run;
}

/// Young, A first order approximation to the optimum checkpoint interval, CACM 17(9), 1974.
double young_interval(double checkpoint, double mean_between) {
  return std::sqrt(2 * checkpoint * mean_between);
}

/// Daly 2006, the perturbation solution of higher order.
double daly_interval(double checkpoint, double mean_between) {
  if (checkpoint >= 2 * mean_between) return mean_between;
  const double x = checkpoint / (2 * mean_between);
  return young_interval(checkpoint, mean_between) * (1 + std::sqrt(x) / 3 + x / 9) - checkpoint;
}

}  // namespace

double daly_goodput(double interval, double checkpoint, double restart, double mean_between) {
  if (interval == 0) return checkpoint == 0 ? std::exp(-restart / mean_between) : 0;
  return interval * std::exp(-restart / mean_between) /
         (mean_between * std::expm1((interval + checkpoint) / mean_between));
}

GoodputReport goodput_of(const Failures& failures, std::uint64_t seed, std::int64_t devices, Time step) {
  GoodputReport report;
  const double steps = std::round(failures.checkpoint_interval / step);
  report.steps_between = std::max<std::int64_t>(1, static_cast<std::int64_t>(steps));
  report.interval = step * report.steps_between;
  report.run = failures.run;
  const Plan plan{.interval = seconds_of(report.interval),
                  .checkpoint = seconds_of(failures.checkpoint_cost),
                  .restart = seconds_of(failures.restart_cost),
                  .run = failures.run.count};
  if (failures.per_device_year > 0)
    report.mean_between_s = seconds_per_year / (failures.per_device_year * static_cast<double>(devices));
  Clock clock(failures, seed, report.mean_between_s);
  simulate(plan, clock, report);
  if (report.mean_between_s == 0) return report;
  const double mean = report.mean_between_s;
  const auto expected = [&](double interval) {
    return daly_goodput(std::max(0.0, interval), plan.checkpoint, plan.restart, mean);
  };
  report.expected = expected(plan.interval);
  report.young_s = young_interval(plan.checkpoint, mean);
  report.daly_s = daly_interval(plan.checkpoint, mean);
  report.expected_at_young = expected(report.young_s);
  report.expected_at_daly = expected(report.daly_s);
  return report;
}

}  // namespace moesim
