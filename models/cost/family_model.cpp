#include "models/cost/family_model.hpp"

#include <algorithm>
#include <cmath>

#include "models/cost/grouped_kernel.hpp"

namespace moesim {
namespace {

// In units of place_of: two factors of two from the nearest measurement.
constexpr double far = 2;

// Deviation of the logarithm of a few samples on a device that is not warm from what patience finds: of 617
// grouped products measured both ways on an H200, two thirds were within 6 %.
constexpr double rough_noise = 0.06;

/// Passes with which the own kernel does the same: in fp8, operands of both lie with depth innermost.
Family own_family(Family family) {
  if (family.precision == Precision::fp8 && family.pass == OpPass::backward_input)
    family.pass = OpPass::forward;
  return family;
}

double noise_of(const Measured& measured, double seconds) {
  return measured.slower_is_rough && seconds > measured.seconds ? rough_noise : 0;
}

double logarithm(double seconds, Time physical) {
  return std::log(seconds / std::max(1e-12, to_seconds(physical)));
}

Surface surface_of(const Samples& samples, const SurfaceShape& shape) {
  return {samples.places, samples.missed, shape, samples.noises};
}

}  // namespace

bool is_told_apart(const Family& family, const std::vector<Measured>& grid) {
  return std::any_of(grid.begin(), grid.end(), [&](const Measured& m) {
    return !m.held_out && m.own_seconds > 0 && m.library_seconds > 0 && family_of(m.op) == family &&
           serves_grouped(m.op);
  });
}

Samples library_samples(const FamilyFit& fit, const Cost& physical, const Device& device,
                        const std::vector<Measured>& grid) {
  Samples samples;
  for (const Measured& m : grid) {
    if (m.held_out || !(family_of(m.op) == fit.family)) continue;
    // Where the own kernel is not offered, a library was fastest.
    const double seconds = fit.own && m.own_seconds > 0 ? m.library_seconds : m.seconds;
    if (seconds <= 0) continue;
    samples.measured.push_back(&m);
    samples.seconds.push_back(seconds);
    samples.places.push_back(place_of(m.op, physical, device));
    samples.missed.push_back(logarithm(seconds, physical.time(m.op, device, 0).time));
    samples.noises.push_back(noise_of(m, seconds));
  }
  return samples;
}

Samples own_samples(const Family& family, const GemmBehaviour& kernel, const Device& device,
                    const std::vector<Measured>& grid) {
  Samples samples;
  for (const Measured& m : grid) {
    if (m.held_out || m.own_seconds <= 0 || !serves_grouped(m.op)) continue;
    if (!(own_family(family_of(m.op)) == own_family(family))) continue;
    samples.measured.push_back(&m);
    samples.seconds.push_back(m.own_seconds);
    const GroupedWork work = grouped_work(m.op, device);
    samples.places.push_back(grouped_kernel_place(m.op, work, device));
    samples.missed.push_back(logarithm(m.own_seconds, grouped_kernel_time(m.op, work, device, kernel)));
    samples.noises.push_back(noise_of(m, m.own_seconds));
  }
  return samples;
}

FamilyModel::FamilyModel(const FamilyFit& fit, const Cost& physical, const Device& device,
                         const std::vector<Measured>& grid)
    : family_(fit.family),
      physical_(physical),
      device_(device),
      libraries_(surface_of(library_samples(fit, physical, device, grid), fit.shape)) {
  if (!fit.own) return;
  const Samples samples = own_samples(fit.family, fit.own->kernel, device, grid);
  if (!samples.places.empty()) own_ = {fit.own->kernel, surface_of(samples, fit.own->shape)};
}

FamilyModel::Way FamilyModel::fastest(const Op& op) const {
  const SurfacePoint place = place_of(op, physical_, device_);
  const Way libraries{std::exp(libraries_.at(place)), &libraries_, place};
  if (!own_ || op.precision != family_.precision || !serves_grouped(op)) return libraries;
  const GroupedWork work = grouped_work(op, device_);
  const SurfacePoint own_place = grouped_kernel_place(op, work, device_);
  const double own = to_seconds(grouped_kernel_time(op, work, device_, own_->kernel)) *
                     std::exp(own_->surface.at(own_place)) /
                     std::max(1e-12, to_seconds(physical_.time(op, device_, 0).time));
  return own < libraries.factor ? Way{own, &own_->surface, own_place} : libraries;
}

FamilyModel::Answer FamilyModel::at(const Op& op) const {
  const Way way = fastest(op);
  return {way.factor, way.surface->distance(way.place) > far};
}

double FamilyModel::deviation(const Op& op) const {
  const Way way = fastest(op);
  return way.surface->deviation(way.place);
}

}  // namespace moesim
