// A smooth surface through scattered measurements: Gaussian-process regression (Rasmussen and Williams,
// "Gaussian Processes for Machine Learning", 2006, algorithm 2.1), with its leave-one-out errors in closed
// form (5.12).
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

namespace moesim {

/// A place: what a shape looks like to the surface. Unused coordinates are 0.
using SurfacePoint = std::array<double, 6>;

/// How the surface varies: a slow and a fast part, each with its length and its standard deviation, and
/// noise.
struct SurfaceShape {
  double slow_length = 8, slow_deviation = 0.3;
  double fast_length = 1.5, fast_deviation = 0.1;
  double noise = 0.02;
};

/// A surface; values are around zero, and far from all measurements it returns to zero.
class Surface {
 public:
  Surface() = default;
  /// Through `values` at `places`, as far as noise allows: the shape's, and on top of it that of each value
  /// where `noises` are given.
  Surface(std::vector<SurfacePoint> places, std::span<const double> values, const SurfaceShape& shape,
          std::span<const double> noises = {});
  double at(const SurfacePoint& place) const;
  /// Standard deviation of a measurement there, noise included: small near others, that of the shape far from
  /// all (algorithm 2.1, line 6).
  double deviation(const SurfacePoint& place) const;
  /// Distance to the nearest measurement; infinite without any.
  double distance(const SurfacePoint& place) const;
  /// What each measurement differs from the surface through all others.
  const std::vector<double>& left_out() const { return left_out_; }
  /// The standard deviation that the latter expects of it, noise included (5.12).
  const std::vector<double>& left_out_deviations() const { return left_out_deviations_; }
  /// Logarithm of the likelihood of leaving out each in turn (5.10, 5.11): the higher, the better the shape
  /// fits.
  double likelihood() const { return likelihood_; }
  std::size_t size() const { return places_.size(); }
  /// Computes left_out(), their deviations and likelihood(), which cost as much as the surface itself.
  void judge();

 private:
  double covariance(const SurfacePoint& a, const SurfacePoint& b) const;

  std::vector<SurfacePoint> places_;
  SurfaceShape shape_;
  std::vector<double> factor_;  ///< lower triangle, by rows
  std::vector<double> weights_;
  std::vector<double> left_out_, left_out_deviations_;
  double likelihood_ = 0;
};

/// The shape with the highest likelihood among a few.
SurfaceShape best_shape(const std::vector<SurfacePoint>& places, std::span<const double> values,
                        std::span<const double> noises = {});

}  // namespace moesim
