// What a search found, and what `moesim search` writes of it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/search/choices.hpp"
#include "sim/write/writer.hpp"

namespace moesim {

/// Why candidates were cut, in the order in which the rules are asked: each is cut by the first that holds.
enum class CutRule : std::uint8_t {
  devices,
  data,
  model,
  sequence,
  batch,
  stages,
  placement,
  same_placement,
  tasks,
  schedule,
  one_rank,
  same_plan,
  gradient_sync,
  collective,
  memory,
};
inline constexpr std::size_t cut_rule_count = 15;
inline constexpr std::array<std::string_view, cut_rule_count> cut_rule_names{
    "devices",  "data",       "model",           "sequence",   "batch",
    "stages",   "placement",  "placement_again", "tasks",      "schedule",
    "one_rank", "plan_again", "gradient_sync",   "collective", "memory"};
inline constexpr std::array<std::string_view, cut_rule_count> cut_rule_sentences{
    "sizes do not divide the devices",
    "the data-parallel size is not one of search.data",
    "sizes do not divide heads, experts or an expert's columns",
    "tensor and context do not divide the sequence",
    "data-parallel ranks and microbatch do not divide the batch",
    "more stages than layers",
    "the placement does not fit the groups",
    "the placement lays devices out as one before it does",
    "too many tasks or microbatches to simulate",
    "the schedule cannot serve ranks and microbatches",
    "on one pipeline rank the schedule does what one before it does",
    "a plan before it has the same passes, recomputation and synchronisation under other names",
    "gradient synchronisation does not go with the schedule or the collectives",
    "a collective cannot serve the groups",
    "memory is above the limit"};

/// The plan that the scenario itself has.
struct OwnPlan {
  FoundPlan plan;                    ///< no report where it cannot run; seconds of 0: no estimate
  std::vector<std::string> outside;  ///< what the search was not to try, as "pipeline 3"
  std::size_t place = 0;             ///< from 1, where it is among the simulated; else 0
};

/// How far estimate and simulation lie apart.
struct Agreement {
  std::size_t pairs = 0;        ///< plans that were estimated and simulated
  double median = 0;            ///< of |estimate / simulation - 1|
  double worst = 0;             ///< the one that is furthest from 0, with its sign
  double kendall_tau = 0;       ///< of the ranking: pairs in order less pairs out of order, over all pairs
  std::size_t winner_rank = 0;  ///< of the winner by the estimate, from 1
};

/// The result of a search.
struct SearchResult {
  std::string about, model, cluster;  ///< of the scenario that the search starts from; names
  std::string title;                  ///< `about`, and what the command line changed of it
  std::string on;                     ///< "2,048 x H800, moesim 0.3"
  std::string scenario;               ///< that the search starts from, whole, as JSON
  std::vector<std::string> tried;     ///< "tensor: 1, 2, 4" for each axis
  std::uint64_t candidates = 0, ranked = 0;
  std::array<std::uint64_t, cut_rule_count> cut{};
  Bytes memory_limit;
  std::vector<FoundPlan> simulated;  ///< fastest first, then those over the limit, then those that failed
  std::size_t fitting = 0;           ///< of them: that many did not fail and fit
  std::size_t same = 0;              ///< simulated ones that turned out to be one of them, and are left out
  OwnPlan own;
  std::vector<std::size_t> front;  ///< of the simulated: none is both faster and smaller; by time
  Agreement agreement;
  double estimate_seconds = 0, simulate_seconds = 0;  ///< of wall time; not part of the result
};

/// Orders the simulated plans, each once, and sets `same`, `fitting`, `front`, `agreement` and the place of
/// the scenario's own.
void judge(SearchResult& result);

/// For people: `top` plans, the front, and why others lost.
std::string search_text(const SearchResult& result, std::size_t top);
/// Schema "moesim.search/1".
Value search_value(const SearchResult& result);
/// A row for each simulated plan, and one for the scenario's own.
Table search_table(const SearchResult& result);
/// These three forms.
Told tell(const SearchResult& result, std::size_t top);
/// Time against memory of the simulated plans, with the front numbered as in the text.
std::string draw_svg(const SearchResult& result);

}  // namespace moesim
