#include "sim/report/verdict.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "models/base/at.hpp"

namespace moesim {
namespace {

/// Shares of a step below which nothing is said.
constexpr double worth_a_word = 0.02;

std::string percent(double share) { return fmt::format("{:.0f} %", 100 * share); }

double share_of(Time time, const Report& report) { return time / report.step_time; }

/// "dispatch 40 %, combine 35 %" of all exposed communication: what makes up most of it.
std::string phases(const Report& report) {
  struct Phase {
    std::string_view name;
    double exposed;
  };
  std::vector<Phase> all;
  double sum = 0;
  for (const Activity activity : communications) {
    const double exposed = to_seconds(at(report.communications, activity).exposed);
    if (exposed <= 0) continue;
    all.push_back({name_of(activity), exposed});
    sum += exposed;
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const Phase& a, const Phase& b) { return a.exposed > b.exposed; });
  std::vector<std::string> words;
  double told = 0;
  for (const Phase& phase : all) {
    if (told > 0.8 * sum || words.size() == 3) break;
    words.push_back(fmt::format("{} {}", phase.name, percent(phase.exposed / sum)));
    told += phase.exposed;
  }
  return fmt::format("{}", fmt::join(words, ", "));
}

void add_memory(const Report& report, std::vector<std::string>& words) {
  if (report.memory.empty() || report.fits()) return;
  std::size_t fullest = 0;
  for (std::size_t rank = 1; rank < report.memory.size(); ++rank)
    if (report.memory[rank].total() > report.memory[fullest].total()) fullest = rank;
  const MemoryReport& of = report.memory[fullest];
  const std::pair<std::string_view, Bytes> parts[] = {{"activations", of.activations},
                                                      {"the optimizer's states", of.optimizer},
                                                      {"gradients", of.gradients},
                                                      {"parameters", of.parameters},
                                                      {"buffers", of.buffers}};
  const auto* const most = std::max_element(std::begin(parts), std::end(parts),
                                            [](const auto& a, const auto& b) { return a.second < b.second; });
  words.push_back(fmt::format("It does not fit: pipeline rank {} needs {} of {}, {} of it {}.", fullest,
                              print(of.total()), print(report.memory_capacity), print(most->second),
                              most->first));
}

/// Ranks that are busy for longer than the mean, and by how much.
void add_unlike_ranks(const Report& report, std::vector<std::string>& words) {
  const std::vector<PipelineRankReport>& ranks = report.pipeline_ranks;
  if (ranks.size() < 2) return;
  double sum = 0, most = 0;
  for (const PipelineRankReport& rank : ranks) {
    sum += to_seconds(rank.busy);
    most = std::max(most, to_seconds(rank.busy));
  }
  const double mean = sum / static_cast<double>(ranks.size());
  if (mean <= 0 || most < (1 + worth_a_word) * mean) return;
  std::vector<std::string> slow;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank)
    if (to_seconds(ranks[rank].busy) > mean + 0.8 * (most - mean)) slow.push_back(fmt::to_string(rank));
  if (slow.size() * 2 > ranks.size()) return;
  const bool has_head = slow.back() == fmt::to_string(ranks.size() - 1);
  words.push_back(fmt::format("Pipeline rank{} {} {} busy for {} longer than the mean{}: the others wait.",
                              slow.size() == 1 ? "" : "s", fmt::join(slow, ", "),
                              slow.size() == 1 ? "is" : "are", percent(most / mean - 1),
                              has_head ? " (the last holds the head)" : ""));
}

void add_parts(const Report& report, std::vector<std::string>& words) {
  const Breakdown& parts = report.breakdown;
  struct Part {
    Time time;
    std::string says;
  };
  Part all[] = {
      {parts.exposed_communication, fmt::format("is communication that nothing hides ({})", phases(report))},
      {parts.bubble, report.pipeline_ranks.size() > 1
                         ? fmt::format("is lost in bubbles: pipeline ranks wait for each other ({} at most)",
                                       percent(report.bubble_most))
                         : std::string("is lost in waiting")},
      {parts.host, "is lost in waiting for the host to launch kernels"},
      {parts.optimizer, "is the optimizer's update"},
  };
  std::stable_sort(std::begin(all), std::end(all),
                   [](const Part& a, const Part& b) { return a.time > b.time; });
  for (const Part& part : all) {
    if (share_of(part.time, report) < worth_a_word) break;
    words.push_back(fmt::format("{} of the step {}.", percent(share_of(part.time, report)), part.says));
  }
}

void add_compute(const Report& report, std::vector<std::string>& words) {
  Time all;
  for (const KernelReport& kernels : report.kernels) all += kernels.time;
  if (all.count == 0) return;
  Time products;
  for (const KernelClass one : {KernelClass::products, KernelClass::grouped, KernelClass::attention})
    products += at(report.kernels, one).time;
  std::string rest;
  for (const KernelClass one : {KernelClass::streaming, KernelClass::gather_scatter, KernelClass::loss,
                                KernelClass::update, KernelClass::host}) {
    const double share = share_of(at(report.kernels, one).time, report);
    if (share < worth_a_word) continue;
    rest += fmt::format("{}{} {}", rest.empty() ? "; " : ", ", at(kernel_class_names, one), percent(share));
  }
  words.push_back(fmt::format("Compute is {} of the step, {} of it in products and attention{}.",
                              percent(share_of(report.breakdown.compute, report)), percent(products / all),
                              rest));
}

void add_imbalance(const Report& report, std::vector<std::string>& words) {
  if (!report.routing || !report.routing->imbalance_cost) return;
  const double share = share_of(*report.routing->imbalance_cost, report);
  if (share < worth_a_word) return;
  words.push_back(
      fmt::format("{} of the step is there because experts are not equally popular.", percent(share)));
}

}  // namespace

std::vector<std::string> verdict_of(const Report& report) {
  std::vector<std::string> words;
  add_memory(report, words);
  add_parts(report, words);
  add_unlike_ranks(report, words);
  add_imbalance(report, words);
  add_compute(report, words);
  return words;
}

}  // namespace moesim
