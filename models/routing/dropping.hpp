// Drops from the rows that are expected what experts, or the ranks that hold them, do not take.
#pragma once

#include <cstdint>

#include "models/config/reader.hpp"
#include "models/routing/loads.hpp"

namespace moesim {

/// Whose capacity it is.
enum class CapacityOf : std::uint8_t {
  expert,  ///< rows of an expert from one source: tokens x k / experts x factor, rounded up (Megatron-Core,
           ///< moe_utils.get_capacity)
  rank,    ///< rows of a rank from all sources: factor times the mean (DeepSeek-V2, arXiv 2405.04434, section
           ///< 2.2.3)
};

/// A capacity of choices by popularity. Choices of different tokens are independent, so an expert's rows from
/// a source are binomial, and what is over the capacity on average has a closed form: nothing is drawn. Which
/// rows are dropped, the last ones or those of least weight, does not change how many. The rows of a rank,
/// which are many, count as normal.
struct Dropping {
  double factor = 0;  ///< 0: every expert takes what comes
  CapacityOf of = CapacityOf::expert;
  bool padded = false;  ///< buffers of experts are sent and computed whole
  bool strays = true;   ///< loads stray from what is expected; else they are exactly that

  /// Rows of one source's buffer for one expert where buffers are padded; else 0.
  std::int64_t padded_rows(const Gate& gate, std::int64_t tokens) const;
  /// Share of all choices that is kept where all experts are equally popular.
  double kept(const Gate& gate, std::int64_t sources, std::int64_t tokens) const;
  /// The rows that are expected, less what is over.
  void fill(const Demand& demand, Loads& loads) const;
};

/// Reads "capacity_factor", "capacity_of" and "padded".
Dropping read_dropping(Reader& reader);

}  // namespace moesim
