// What a scenario could do otherwise: every single change that `moesim explain` tries. Most follow from the
// declarations of the scenario's own keys, so a new switch or member of a family is tried without a word
// here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "models/config/document.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim {

/// What a change asks of whoever makes it.
enum class ChangeKind : std::uint8_t {
  setting,   ///< another way to do the same training
  numerics,  ///< other numbers in training: formats, which tokens experts get
  what_if,   ///< other hardware, or what no setting does
};
inline constexpr std::string_view change_kind_names[] = {"setting", "numerics", "what_if"};

/// Keys of the scenario that are set together.
struct Change {
  ChangeKind kind = ChangeKind::setting;
  std::string_view about;      ///< of the step: "schedule", "parallelism", ...
  std::vector<Override> sets;  ///< null takes a key away
  std::string says{};          ///< in words where the keys say it badly; else empty

  /// "schedule.kind=zb_v", as `--set` takes it.
  std::string keys() const;
};

/// All of them, in the order of the scenario's keys. `document` is the scenario as it was loaded.
std::vector<Change> changes_of(const Value& document, const Scenario& scenario);

}  // namespace moesim
