// Measured times of collectives inside a node, by size and number of ranks: the file that `moesim calibrate`
// writes where there are two or more GPUs.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "models/config/reader.hpp"
#include "models/cost/calibration.hpp"
#include "sim/collective/collective.hpp"

namespace moesim {

inline constexpr std::string_view collectives_schema = "moesim.collectives/1";

/// The operations that are measured, and what a rank sends for each byte of its whole buffer.
inline constexpr Operation measured_operations[] = {Operation::all_reduce, Operation::all_gather,
                                                    Operation::reduce_scatter, Operation::all_to_all};
double sent_share(Operation operation, std::int64_t ranks);

/// Times of one operation of so many ranks.
struct TimeCurve {
  Operation operation = Operation::all_reduce;
  std::int64_t ranks = 2;
  std::vector<double> bytes;    ///< of a rank's whole buffer, rising
  std::vector<double> seconds;  ///< never falling
  Errors held_out;              ///< sizes between them, predicted from them

  /// Seconds of a size. Between the sizes that were measured straight in logarithms; below them as long as
  /// the smallest takes; beyond, what is more goes at the rate between the last two.
  double at(double size) const;
};

/// A communication that has its links to itself: what passes before its bytes flow, and while they do.
struct Passage {
  double startup = 0, seconds = 0;
};
/// What an algorithm's law says of so many ranks and bytes on links of the measured cluster.
using PassageLaw = std::function<Passage(std::int64_t ranks, double bytes)>;

/// What was measured on one node.
struct MeasuredCollectives {
  Value about;            ///< device, versions, date
  Rate link_rate{1};      ///< what the cluster's file says of a device's link there
  bool has_nvls = false;  ///< whether all-reduces were free to run in NVSwitch
  std::vector<TimeCurve> curves;

  const TimeCurve* find(Operation operation, std::int64_t ranks) const;
  bool has(Operation operation) const;
  /// On links of `link_rate`; nothing where there are no bytes or the operation was not measured. The two add
  /// up to what was measured. Other numbers of ranks lie between their neighbours, in logarithms, or follow
  /// the nearest: the start-up as the law's, what is beyond it as the law's bytes.
  std::optional<Passage> passage(Operation operation, std::int64_t ranks, double bytes,
                                 const PassageLaw& law) const;
};

/// Throws InputError for a file that is none, and for times that no link of that rate allows.
MeasuredCollectives read_measured_collectives(Reader& reader);
std::string write_measured_collectives(const MeasuredCollectives& measured);

/// Curves from what moesim-measure says of one device: the lines of "collectives" of NCCL inside a node.
/// Times that fall from one size to a larger one, by noise or by a choice of NCCL's that was none of the
/// best, are evened out together. Throws InputError where there are none.
MeasuredCollectives fit_collectives(Reader& device, Rate link_rate);

}  // namespace moesim
