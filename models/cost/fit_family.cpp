#include "models/cost/fit_family.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "models/cost/descent.hpp"
#include "models/cost/family_model.hpp"
#include "models/cost/grouped_kernel.hpp"

namespace moesim {
namespace {

/// The physical parameters of the own kernel. Those of the libraries' kernels, which run on the same device,
/// are where it starts.
GemmBehaviour fit_kernel(const Family& family, const Device& device, const std::vector<Measured>& grid) {
  GemmBehaviour kernel = device.gemm_in(family.precision);
  kernel.may_split = false;
  const std::vector<const Measured*> rows = own_samples(family, kernel, device, grid).measured;
  std::vector<GroupedWork> works;
  for (const Measured* m : rows) works.push_back(grouped_work(m->op, device));
  std::vector<Parameter> parameters = parameters_of(kernel);
  if (rows.size() < 2 * parameters.size()) return kernel;
  const auto loss = [&] {
    MeanError error;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const Time time = grouped_kernel_time(rows[i]->op, works[i], device, kernel);
      error.add(std::log(to_seconds(time) / rows[i]->own_seconds));
    }
    return error.value();
  };
  descend(loss, parameters);
  return kernel;
}

/// What each measurement is over what the surface through all others says, as logarithms.
std::vector<double> left_out(const Samples& samples, const SurfaceShape& shape) {
  Surface surface(samples.places, samples.missed, shape, samples.noises);
  surface.judge();
  return surface.left_out();
}

/// Logarithms of predicted over measured from those of measured over predicted.
std::vector<double> turned(std::vector<double> logarithms) {
  for (double& value : logarithms) value = -value;
  return logarithms;
}

/// One way of computing a family's ops: its measurements, and what each is over what all others say.
struct Way {
  Samples samples;
  std::vector<double> left_out;
};

/// The own kernel's fit, and the way that it was made of.
OwnFit fit_own(const Family& family, const Device& device, const std::vector<Measured>& grid, Way& way) {
  OwnFit own;
  own.kernel = fit_kernel(family, device, grid);
  way.samples = own_samples(family, own.kernel, device, grid);
  own.shape = best_shape(way.samples.places, way.samples.missed, way.samples.noises);
  way.left_out = left_out(way.samples, own.shape);
  own.physical = errors_of(turned(way.samples.missed));
  own.left_out = errors_of(turned(way.left_out));
  return own;
}

/// For each measurement of a family, the least that any way of computing it is predicted to take, as
/// logarithms over what was measured.
using Least = std::map<const Measured*, double>;

/// Joins one way, of whose times predictions are off by `off` (logarithms of measured over predicted).
void join(Least& least, const Family& family, const Samples& samples, const std::vector<double>& off) {
  for (std::size_t i = 0; i < off.size(); ++i) {
    const Measured* m = samples.measured[i];
    if (!(family_of(m->op) == family)) continue;
    const double predicted = std::log(samples.seconds[i] / m->seconds) - off[i];
    const auto [place, is_first] = least.emplace(m, predicted);
    if (!is_first) place->second = std::min(place->second, predicted);
  }
}

Errors errors_among(const Least& least) {
  std::vector<double> logarithms;
  for (const auto& [measured, predicted] : least) logarithms.push_back(predicted);
  return errors_of(std::move(logarithms));
}

/// How far the fit is off on its own grid: physics alone, and each measurement from all others.
void judge_on_grid(FamilyFit& fit, const std::vector<Way>& ways) {
  Least physical, others;
  for (const Way& way : ways) {
    join(physical, fit.family, way.samples, way.samples.missed);
    join(others, fit.family, way.samples, way.left_out);
  }
  fit.physical = errors_among(physical);
  fit.left_out = errors_among(others);
}

}  // namespace

std::vector<Family> families_in(const std::vector<Measured>& grid) {
  std::vector<Family> families;
  for (const Measured& measured : grid) {
    const Family family = family_of(measured.op);
    if (std::find(families.begin(), families.end(), family) == families.end()) families.push_back(family);
  }
  return families;
}

FamilyFit fit_family(const Family& family, const Cost& cost, const Device& device,
                     const std::vector<Measured>& grid, std::vector<double>& all_judged) {
  FamilyFit fit;
  fit.family = family;
  std::vector<Way> ways(is_told_apart(family, grid) ? 2 : 1);
  if (ways.size() > 1) fit.own = fit_own(family, device, grid, ways.back());
  Way& libraries = ways.front();
  libraries.samples = library_samples(fit, cost, device, grid);
  fit.shape = best_shape(libraries.samples.places, libraries.samples.missed, libraries.samples.noises);
  libraries.left_out = left_out(libraries.samples, fit.shape);
  judge_on_grid(fit, ways);
  const FamilyModel model(fit, cost, device, grid);
  std::vector<double> judged;
  for (const Measured& m : grid)
    if (m.held_out && family_of(m.op) == family)
      judged.push_back(
          std::log(to_seconds(cost.time(m.op, device, 0).time) * model.at(m.op).factor / m.seconds));
  fit.held_out = errors_of(judged);
  all_judged.insert(all_judged.end(), judged.begin(), judged.end());
  return fit;
}

std::vector<LeftOut> left_out_of(const FamilyFit& fit, const Cost& physical, const Device& device,
                                 const std::vector<Measured>& grid) {
  std::vector<LeftOut> all;
  const auto add = [&](const Samples& samples, const SurfaceShape& shape) {
    Surface surface(samples.places, samples.missed, shape, samples.noises);
    surface.judge();
    for (std::size_t i = 0; i < samples.measured.size(); ++i) {
      if (family_of(samples.measured[i]->op) == fit.family)
        all.push_back({surface.left_out()[i], surface.left_out_deviations()[i]});
    }
  };
  add(library_samples(fit, physical, device, grid), fit.shape);
  if (fit.own) add(own_samples(fit.family, fit.own->kernel, device, grid), fit.own->shape);
  return all;
}

}  // namespace moesim
