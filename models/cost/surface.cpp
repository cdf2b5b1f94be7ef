#include "models/cost/surface.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace moesim {
namespace {

double squared_distance(const SurfacePoint& a, const SurfacePoint& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

/// The lower triangle L with L L^T = matrix, in place, by rows.
void factorize(std::vector<double>& matrix, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    double* row = &matrix[i * n];
    for (std::size_t j = 0; j <= i; ++j) {
      const double* other = &matrix[j * n];
      double sum = row[j];
      for (std::size_t k = 0; k < j; ++k) sum -= row[k] * other[k];
      row[j] = i == j ? std::sqrt(std::max(sum, 1e-12)) : sum / other[j];
    }
  }
}

}  // namespace

double Surface::covariance(const SurfacePoint& a, const SurfacePoint& b) const {
  const double squared = squared_distance(a, b), distance = std::sqrt(squared);
  // Slow: squared exponential (4.9). Fast: Matern with 3/2 (4.17), rough enough for steps of tiles.
  const double fast = std::sqrt(3.0) * distance / shape_.fast_length;
  return shape_.slow_deviation * shape_.slow_deviation *
             std::exp(-squared / (2 * shape_.slow_length * shape_.slow_length)) +
         shape_.fast_deviation * shape_.fast_deviation * (1 + fast) * std::exp(-fast);
}

Surface::Surface(std::vector<SurfacePoint> places, std::span<const double> values, const SurfaceShape& shape,
                 std::span<const double> noises)
    : places_(std::move(places)), shape_(shape) {
  const std::size_t n = places_.size();
  factor_.resize(n * n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j <= i; ++j) factor_[i * n + j] = covariance(places_[i], places_[j]);
    factor_[i * n + i] += shape_.noise * shape_.noise;
    if (!noises.empty()) factor_[i * n + i] += noises[i] * noises[i];
  }
  factorize(factor_, n);
  weights_.assign(values.begin(), values.end());
  for (std::size_t i = 0; i < n; ++i) {  // forward, then back substitution
    for (std::size_t k = 0; k < i; ++k) weights_[i] -= factor_[i * n + k] * weights_[k];
    weights_[i] /= factor_[i * n + i];
  }
  for (std::size_t i = n; i-- > 0;) {
    weights_[i] /= factor_[i * n + i];
    for (std::size_t k = 0; k < i; ++k) weights_[k] -= factor_[i * n + k] * weights_[i];
  }
}

double Surface::at(const SurfacePoint& place) const {
  double sum = 0;
  for (std::size_t i = 0; i < places_.size(); ++i) sum += weights_[i] * covariance(place, places_[i]);
  return sum;
}

double Surface::deviation(const SurfacePoint& place) const {
  const std::size_t n = places_.size();
  std::vector<double> solved(n);
  double known = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double* row = &factor_[i * n];
    double sum = covariance(place, places_[i]);
    for (std::size_t k = 0; k < i; ++k) sum -= row[k] * solved[k];
    solved[i] = sum / row[i];
    known += solved[i] * solved[i];
  }
  const double noise = shape_.noise * shape_.noise;
  return std::sqrt(std::max(noise, covariance(place, place) - known + noise));
}

double Surface::distance(const SurfacePoint& place) const {
  double least = std::numeric_limits<double>::infinity();
  for (const SurfacePoint& other : places_) least = std::min(least, squared_distance(place, other));
  return std::sqrt(least);
}

void Surface::judge() {
  const std::size_t n = places_.size();
  left_out_.assign(n, 0);
  left_out_deviations_.assign(n, 0);
  likelihood_ = 0;
  // The diagonal of the inverse: columns of the inverted triangle, squared and summed.
  std::vector<double> diagonal(n), column(n);
  for (std::size_t j = 0; j < n; ++j) {
    for (std::size_t i = j; i < n; ++i) {
      double sum = i == j ? 1 : 0;
      const double* row = &factor_[i * n];
      for (std::size_t k = j; k < i; ++k) sum -= row[k] * column[k];
      column[i] = sum / row[i];
      diagonal[j] += column[i] * column[i];
    }
  }
  for (std::size_t i = 0; i < n; ++i) {
    left_out_[i] = weights_[i] / diagonal[i];
    const double variance = 1 / diagonal[i];
    left_out_deviations_[i] = std::sqrt(variance);
    likelihood_ -=
        0.5 * (std::log(variance) + left_out_[i] * left_out_[i] / variance + std::log(2 * std::numbers::pi));
  }
}

SurfaceShape best_shape(const std::vector<SurfacePoint>& places, std::span<const double> values,
                        std::span<const double> noises) {
  // Every other measurement is enough to tell lengths, and eight times as quick.
  std::vector<SurfacePoint> some;
  std::vector<double> of_some, noises_of_some;
  const std::size_t step = places.size() > 240 ? places.size() / 160 : 1;
  for (std::size_t i = 0; i < places.size(); i += step) {
    some.push_back(places[i]);
    of_some.push_back(values[i]);
    if (!noises.empty()) noises_of_some.push_back(noises[i]);
  }
  SurfaceShape best;
  double highest = -std::numeric_limits<double>::infinity();
  for (const double slow : {4.0, 8.0})
    for (const double slow_deviation : {0.1, 0.3})
      for (const double fast : {0.7, 1.5, 3.0})
        for (const double fast_deviation : {0.03, 0.08, 0.2})
          for (const double noise : {0.01, 0.03, 0.06}) {
            const SurfaceShape shape{slow, slow_deviation, fast, fast_deviation, noise};
            Surface surface(some, of_some, shape, noises_of_some);
            surface.judge();
            if (surface.likelihood() <= highest) continue;
            highest = surface.likelihood();
            best = shape;
          }
  return best;
}

}  // namespace moesim
