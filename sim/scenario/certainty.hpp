// How far times were off where they could be held against measurements, by what errs together: what error
// bars are made of. `moesim validate --residuals` writes it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moesim {

inline constexpr std::string_view residuals_schema = "moesim.residuals/1";

/// Of what is measured so much is meant to lie inside the bars. Four in five, since of a few published steps
/// no more can be told: nine in ten need nine of them.
inline constexpr double bar_level = 0.8;

/// How many deviations of a normal distribution the bars reach to each side.
double bar_reach();

/// One time that was predicted and measured.
struct Residual {
  std::string name;      ///< of the case
  double off = 0;        ///< logarithm of measured over predicted
  double explained = 0;  ///< deviation of it that other families account for
};

/// What errs together, and how far: the logarithm of measured over predicted is taken for normal around 0.
struct ErrorFamily {
  std::string of;     ///< "products in bf16"
  std::string where;  ///< "hugging_face on H200, roofline"
  std::vector<Residual> residuals{};
  std::size_t shapes = 0;             ///< without `residuals`: so many were measured
  std::optional<double> deviation{};  ///< nothing where too little was measured
};

/// The deviation of a family beyond what is explained: the bars of so many residuals as the level asks for,
/// counting one that is still to come, just hold them (split conformal prediction: Vovk, Gammerman, Shafer,
/// "Algorithmic Learning in a Random World", 2005). Nothing where the residuals are too few for that.
std::optional<double> deviation_of(const std::vector<Residual>& residuals);

/// All that is known.
struct Certainty {
  std::vector<ErrorFamily> families;
  std::int64_t draws = 0;  ///< of the errors, each with the step run again; 0: to first order

  /// The family of that name with a deviation; null where there is none.
  const ErrorFamily* find(std::string_view of, std::string_view where) const;
  /// The family of that name with the largest deviation, wherever it was measured; null where there is none.
  const ErrorFamily* widest(std::string_view of) const;
  /// The same without one case, as if it had not been measured.
  Certainty without(std::string_view residual) const;
};

}  // namespace moesim
