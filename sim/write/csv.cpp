// The report as one row: what a spreadsheet wants first.
#include <fmt/format.h>

#include "sim/report/report.hpp"
#include "sim/write/csv_cell.hpp"

namespace moesim {

std::string write_csv(const Report& report) {
  const bool has_model = report.tokens > 0;
  const auto number = [&](double value) { return has_model ? fmt::format("{}", value) : std::string(); };
  return fmt::format(
      "about,fingerprint,step_time_s,tokens_per_s,tokens_per_s_per_device,tflops_per_device,mfu,makespan_s,"
      "bubble_fraction,"
      "compute_s,exposed_communication_s,bubble_s,optimizer_s,peak_memory,fits,load_max_over_mean,"
      "dropped_token_fraction,imbalance_cost_s,bubble_mean,plan\n"
      "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n",
      quoted_cell(report.about), report.fingerprint, to_seconds(report.step_time),
      number(has_model ? report.tokens_per_second() : 0),
      number(has_model ? report.tokens_per_second_per_device() : 0),
      number(has_model ? report.flops_per_device().count / 1e12 : 0), number(has_model ? report.mfu() : 0),
      to_seconds(report.makespan), report.bubble_fraction, to_seconds(report.breakdown.compute),
      to_seconds(report.breakdown.exposed_communication), to_seconds(report.breakdown.bubble),
      to_seconds(report.breakdown.optimizer), has_model ? fmt::format("{}", report.memory_peak().count) : "",
      has_model ? (report.fits() ? "true" : "false") : "",
      report.routing ? fmt::format("{}", report.routing->load_max_over_mean) : "",
      report.routing ? fmt::format("{}", report.routing->dropped_token_fraction) : "",
      report.routing && report.routing->imbalance_cost
          ? fmt::format("{}", to_seconds(*report.routing->imbalance_cost))
          : "",
      report.bubble_mean, quoted_cell(report.plan));
}

}  // namespace moesim
