#include "sim/search/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "models/base/grouped.hpp"
#include "sim/report/fact.hpp"

namespace moesim {
namespace {

bool fits(const SearchResult& result, const FoundPlan& plan) {
  return plan.report && plan.report->memory_peak() <= result.memory_limit;
}

/// Fitting plans by time, then those that do not fit, then those that failed.
void order(SearchResult& result) {
  const auto place = [&](const FoundPlan& plan) { return !plan.report ? 2 : fits(result, plan) ? 0 : 1; };
  std::sort(result.simulated.begin(), result.simulated.end(), [&](const FoundPlan& a, const FoundPlan& b) {
    if (place(a) != place(b)) return place(a) < place(b);
    if (a.report && a.report->step_time != b.report->step_time)
      return a.report->step_time < b.report->step_time;
    if (a.report && a.report->memory_peak() != b.report->memory_peak())
      return a.report->memory_peak() < b.report->memory_peak();
    return a.number < b.number;
  });
}

/// Whether two plans are one under two names: every task at the same time, and as much memory.
bool is_same(const FoundPlan& a, const FoundPlan& b) {
  return a.report && b.report && a.report->fingerprint == b.report->fingerprint &&
         a.report->step_time == b.report->step_time && a.report->memory_peak() == b.report->memory_peak();
}

/// Leaves out plans that are one before them; they stand side by side.
void drop_same(SearchResult& result) {
  const std::size_t before = result.simulated.size();
  const auto end = std::unique(result.simulated.begin(), result.simulated.end(), is_same);
  result.simulated.erase(end, result.simulated.end());
  result.same = before - result.simulated.size();
}

/// Over all pairs of plans that differ in both: in order less out of order.
double kendall(const std::vector<const FoundPlan*>& plans) {
  std::int64_t in_order = 0;
  std::int64_t all = 0;
  for (std::size_t i = 0; i < plans.size(); ++i) {
    for (std::size_t k = 0; k < i; ++k) {
      const double estimated = plans[i]->estimated_seconds - plans[k]->estimated_seconds;
      const double simulated = to_seconds(plans[i]->report->step_time - plans[k]->report->step_time);
      if (estimated == 0 || simulated == 0) continue;
      ++all;
      in_order += estimated * simulated > 0 ? 1 : -1;
    }
  }
  return all == 0 ? 1 : static_cast<double>(in_order) / static_cast<double>(all);
}

Agreement agreement_of(const SearchResult& result) {
  std::vector<const FoundPlan*> plans;
  for (const FoundPlan& plan : result.simulated) {
    if (plan.report) plans.push_back(&plan);
  }
  Agreement agreement{.pairs = plans.size()};
  if (plans.empty()) return agreement;
  std::vector<double> sizes;
  for (const FoundPlan* plan : plans) {
    const double error = plan->estimated_seconds / to_seconds(plan->report->step_time) - 1;
    sizes.push_back(std::abs(error));
    if (std::abs(error) > std::abs(agreement.worst)) agreement.worst = error;
  }
  std::sort(sizes.begin(), sizes.end());
  agreement.median = sizes[sizes.size() / 2];
  agreement.kendall_tau = kendall(plans);
  agreement.winner_rank =
      1 + static_cast<std::size_t>(std::count_if(plans.begin(), plans.end(), [&](const FoundPlan* plan) {
        return plan->estimated_seconds < plans.front()->estimated_seconds;
      }));
  return agreement;
}

std::string plan_line(std::size_t place, const FoundPlan& plan) {
  if (!plan.report) return fmt::format("{:>3}  failed: {}\n", place, plan.error);
  const Report& report = *plan.report;
  return fmt::format("{:>3}  {:>9}  {:>7}  {:>8}  {:>6.1f} %  {:>+6.1f} %  {}\n", place,
                     print("step_time_s", report), print("mfu", report), print("peak_memory", report),
                     100 * report.bubble_mean,
                     100 * (plan.estimated_seconds / to_seconds(report.step_time) - 1), print(plan));
}

std::string plan_header() {
  return fmt::format("{:>3}  {:>9}  {:>7}  {:>8}  {:>8}  {:>8}  plan\n", "", fact("step_time_s").headed(),
                     fact("mfu").headed(), "memory", fact("bubble_mean").headed(), "estimate");
}

std::string cuts(const SearchResult& result) {
  std::string text;
  for (std::size_t rule = 0; rule < cut_rule_count; ++rule) {
    if (result.cut[rule] == 0) continue;
    text += fmt::format("  {:>18}  {}\n", grouped(static_cast<double>(result.cut[rule])),
                        cut_rule_sentences[rule]);
  }
  return text +
         fmt::format("  {:>18}  ranked by the estimate\n", grouped(static_cast<double>(result.ranked)));
}

/// Another plan's parts against the winner's.
std::string contrast(std::string_view called, const FoundPlan& winner, const FoundPlan& other) {
  const auto line = [&](std::string_view name, std::string_view label) {
    const Report& first = *winner.report;
    const Report& second = *other.report;
    return fmt::format("  {:<22}{:>10}  {:>10}  {:>+9.1f} ms\n", label, print(name, first),
                       print(name, second), (number(name, second) - number(name, first)) * 1e3);
  };
  std::string text = fmt::format("  {:<22}{:>10}  {:>10}  {:>12}\n", "", "winner", called, "more");
  for (const std::string_view name : {"compute_s", "exposed_communication_s", "bubble_s", "optimizer_s"})
    text += line(name, fact(name).label);
  if ((winner.report->breakdown.host + other.report->breakdown.host).count > 0)
    text += line("host_s", fact("host_s").label);
  return text + line("step_time_s", "step");
}

/// Where the scenario's own plan stands, and what is between it and the winner.
std::string own_plan(const SearchResult& result) {
  const OwnPlan& own = result.own;
  if (!own.plan.report) return fmt::format("\nThe scenario's own plan cannot run: {}\n", own.plan.error);
  std::string text =
      fmt::format("\nThe scenario's own plan{}: {}\n",
                  own.place > 0 ? fmt::format(", number {} of those simulated", own.place) : std::string(),
                  print(own.plan));
  if (!own.outside.empty())
    text += fmt::format("  outside of what is tried: {}\n", fmt::join(own.outside, ", "));
  if (!fits(result, own.plan))
    text += fmt::format("  does not fit: {}, the limit is {}\n", print("peak_memory", *own.plan.report),
                        print(result.memory_limit));
  if (own.place == 1) return text;
  if (result.fitting > 0) return text + contrast("own", result.simulated.front(), own.plan);
  return text + fmt::format("  step {}\n", print("step_time_s", *own.plan.report));
}

}  // namespace

void judge(SearchResult& result) {
  order(result);
  drop_same(result);
  const auto own = std::find_if(result.simulated.begin(), result.simulated.end(),
                                [&](const FoundPlan& plan) { return is_same(plan, result.own.plan); });
  result.own.place =
      own == result.simulated.end() ? 0 : static_cast<std::size_t>(own - result.simulated.begin()) + 1;
  result.fitting =
      static_cast<std::size_t>(std::count_if(result.simulated.begin(), result.simulated.end(),
                                             [&](const FoundPlan& plan) { return fits(result, plan); }));
  result.front.clear();
  for (std::size_t i = 0; i < result.fitting; ++i) {
    const Bytes memory = result.simulated[i].report->memory_peak();
    const bool is_smaller =
        result.front.empty() || memory < result.simulated[result.front.back()].report->memory_peak();
    if (is_smaller) result.front.push_back(i);
  }
  result.agreement = agreement_of(result);
}

std::string search_text(const SearchResult& result, std::size_t top) {
  std::string text = result.title.empty() ? std::string() : result.title + "\n";
  text += fmt::format("{}\n\n{} candidates, memory limit {}\n", result.on,
                      grouped(static_cast<double>(result.candidates)), print(result.memory_limit));
  for (const std::string& axis : result.tried) text += fmt::format("  {}\n", axis);
  text += "\nCut, each by the first rule that holds\n" + cuts(result);
  if (result.simulated.empty()) return text + own_plan(result);
  text += fmt::format("\nThe best of {} that were simulated\n{}", result.simulated.size(), plan_header());
  for (std::size_t i = 0; i < std::min(top, result.fitting); ++i)
    text += plan_line(i + 1, result.simulated[i]);
  std::size_t failed = 0;
  for (const FoundPlan& plan : result.simulated) failed += plan.report ? 0 : 1;
  const std::size_t over = result.simulated.size() - result.fitting - failed;
  if (over > 0) text += fmt::format("     {} more took more memory in simulation than the limit\n", over);
  if (failed > 0)
    text += fmt::format("     {} more failed, the first: {}\n", failed,
                        result.simulated[result.fitting + over].error);
  if (result.same > 0)
    text += fmt::format("     {} more turned out to be one of these under another name\n", result.same);
  if (result.fitting == 0) return text + own_plan(result);
  text +=
      fmt::format("\nTime against memory: no simulated plan is both faster and smaller\n{}", plan_header());
  for (const std::size_t i : result.front) text += plan_line(i + 1, result.simulated[i]);
  const Agreement& agreement = result.agreement;
  text += fmt::format(
      "\nEstimate against simulation: {:.1f} % apart in the median, {:+.1f} % at worst; ranking held with "
      "Kendall's tau {:.2f}; the winner was number {} of the estimate\n",
      100 * agreement.median, 100 * agreement.worst, agreement.kendall_tau, agreement.winner_rank);
  for (std::size_t i = 1; i < result.fitting; ++i) {  // a plan that is as fast, or nearly, did not lose
    constexpr double as_fast = 1.0005;
    if (result.simulated[i].report->step_time / result.simulated[0].report->step_time < as_fast) continue;
    text += fmt::format("\nWhy number {} lost: {}\n", i + 1, print(result.simulated[i])) +
            contrast("loser", result.simulated[0], result.simulated[i]);
    break;
  }
  text += own_plan(result);
  text += fmt::format("\nLayers of each stage of the winner: {}\n",
                      fmt::join(result.simulated[0].layers_per_stage, " "));
  return text;
}

Told tell(const SearchResult& result, std::size_t top) {
  return {.text = [&result, top] { return search_text(result, top); },
          .json = [&result] { return search_value(result); },
          .table = [&result] { return search_table(result); }};
}

}  // namespace moesim
