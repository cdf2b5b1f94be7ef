// The time of one op on one device.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "models/base/units.hpp"
#include "models/cluster/device.hpp"
#include "models/config/family.hpp"
#include "models/cost/device_state.hpp"
#include "models/transformer/op.hpp"

namespace moesim {

/// What limits an op. Names are those of `moesim cost`.
enum class Bound : std::uint8_t { compute, memory, launch };
inline constexpr std::array<std::string_view, 3> bound_names{"compute", "memory", "launch"};

/// The predicted time of an op and what limits it.
struct OpTime {
  Time time;
  Bound bound = Bound::compute;
  bool extrapolated = false;  ///< the shape is far from everything that the model was fitted on
};

/// What communication meets beside an op of this kind.
Beside beside_of(const Op& op);

/// A cost model. A family.
class Cost {
 public:
  virtual ~Cost() = default;
  /// How long `op` takes on `device`, launch included, while that is so. Above zero for any op that does
  /// anything.
  virtual OpTime time(const Op& op, const Device& device, const DeviceState& state) const = 0;
  /// Whether times at other clocks than the full one are known.
  virtual bool follows_clock() const { return true; }
  /// Standard deviation of the logarithm of measured over predicted times of `op` by itself, where the model
  /// knows it for the very shape.
  virtual std::optional<double> deviation(const Op&, const Device&) const { return std::nullopt; }
};

/// The members of the family.
Register<Cost> costs();

}  // namespace moesim
