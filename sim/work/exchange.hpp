// The requests of a dispatch or combine: what each rank of an expert group sends to each other in one layer.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/collective/collective.hpp"
#include "sim/graph/activity.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim {

/// Of the mean rank.
struct ExchangedRows {
  double rows = 0;      ///< that it sends out
  double tokens = 0;    ///< that they are of
  bool padded = false;  ///< buffers go whole: no row of them stands for several
};

/// Blocks of experts that a token's choices lie in where ranks are alike and a layer's experts are in that
/// many equal blocks, as they are placed.
double reach_of(const Scenario& scenario, const Experts& experts, std::int64_t blocks);

/// The same, remembered.
class Reaches {
 public:
  explicit Reaches(const Scenario& scenario) : scenario_(scenario) {}
  double of(const Experts& experts, std::int64_t blocks);

 private:
  struct Known {
    Experts experts;
    std::int64_t blocks;
    double reach;
  };
  const Scenario& scenario_;
  std::vector<Known> known_;
};

/// Which way an exchange goes; as one that goes for the first time where its algorithm makes no difference.
Leg leg_of(Activity exchange, const Collective& collective);

/// One request for each group, all going at once. The groups must outlive the requests, and so must `reach`,
/// which says where tokens go where ranks differ.
std::vector<Request> exchange_requests(const Scenario& scenario, const Experts& experts, Leg leg,
                                       const ExchangedRows& sent,
                                       std::span<const std::vector<DeviceId>> groups, Reaches& reaches,
                                       const RankReach* reach = nullptr);

}  // namespace moesim
