// Which facts are columns of tables, by their names.
#include "sim/report/fact.hpp"

namespace moesim {
namespace {

constexpr std::string_view columns_of_run[] = {"step_time_s",
                                               "tokens_per_s",
                                               "tokens_per_s_per_device",
                                               "tflops_per_device",
                                               "mfu",
                                               "makespan_s",
                                               "bubble_fraction",
                                               "compute_s",
                                               "exposed_communication_s",
                                               "bubble_s",
                                               "optimizer_s",
                                               "peak_memory",
                                               "fits",
                                               "load_max_over_mean",
                                               "dropped_token_fraction",
                                               "imbalance_cost_s"};
constexpr std::string_view columns_compared[] = {"step_time_s",
                                                 "tokens_per_s_per_device",
                                                 "mfu",
                                                 "bubble_fraction",
                                                 "exposed_communication_s",
                                                 "peak_memory",
                                                 "fits"};
constexpr std::string_view keys_compared[] = {"step_time_s",
                                              "tokens_per_s_per_device",
                                              "mfu",
                                              "bubble_fraction",
                                              "bubble_mean",
                                              "bubble_most",
                                              "exposed_communication_s",
                                              "peak_memory",
                                              "fits"};
constexpr std::string_view columns_that_came_later[] = {"bubble_mean"};
constexpr std::string_view columns_of_kernels[] = {"products_s",  "grouped_s",        "attention_s",
                                                   "streaming_s", "gather_scatter_s", "loss_s",
                                                   "update_s",    "gaps_s",           "host_s"};
constexpr std::string_view columns_of_energy[] = {"joules", "joules_per_token", "mean_power_w", "clock",
                                                  "limit_cost_s"};
constexpr std::string_view columns_of_budget[] = {"wall_clock_s", "device_hours", "kwh", "cost", "carbon_kg"};
constexpr std::string_view columns_of_certainty[] = {"step_time_low_s", "step_time_high_s"};
constexpr std::string_view columns_of_many_steps[] = {
    "run_tokens_per_s", "run_time_s", "run_rank_load_max_over_mean", "moved_bytes", "moving_waiting_s"};
constexpr std::span<const std::string_view> columns_at_the_end[] = {
    columns_of_kernels, columns_of_energy, columns_of_budget, columns_of_certainty, columns_of_many_steps};

}  // namespace

std::span<const std::string_view> run_columns() { return columns_of_run; }
std::span<const std::string_view> compared_columns() { return columns_compared; }
std::span<const std::string_view> compared_keys() { return keys_compared; }
std::span<const std::string_view> later_columns() { return columns_that_came_later; }
std::span<const std::string_view> kernel_columns() { return columns_of_kernels; }
std::span<const std::span<const std::string_view>> last_columns() { return columns_at_the_end; }

}  // namespace moesim
