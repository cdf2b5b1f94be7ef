// Finds the best plan for a model on a cluster: an estimate ranks all candidates, simulation judges the best.
#pragma once

#include <string>
#include <vector>

#include "models/config/document.hpp"
#include "sim/search/report.hpp"

namespace moesim {

/// What to search.
struct SearchRequest {
  std::string path;                 ///< of the scenario; "-" is standard input
  std::vector<Override> overrides;  ///< that hold for every plan
  std::size_t simulate = 100;       ///< plans to simulate
  unsigned jobs = 1;                ///< threads; the result does not depend on it
  SeesFiles sees_files = {};
};

/// A search's result, and the winner as a scenario that stands by itself.
struct Search {
  SearchResult result;
  Value winner;  ///< null where nothing was found
};

/// Estimates every candidate, simulates the best. Throws InputError for a scenario that has nothing to
/// search.
Search search(const SearchRequest& request);

}  // namespace moesim
