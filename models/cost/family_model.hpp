// Times of the ops of one family as measured: physics times a surface through what it misses. Grouped
// products that were measured with libraries and with the own kernel apart have a physical model and a
// surface for each, both smoother than the time of whichever is faster, and take the less of the two.
#pragma once

#include <optional>
#include <vector>

#include "models/cost/calibration.hpp"

namespace moesim {

/// What a surface goes through.
struct Samples {
  std::vector<const Measured*> measured;
  std::vector<double> seconds;
  std::vector<SurfacePoint> places;
  std::vector<double> missed;  ///< logarithms of measured over physical
  std::vector<double> noises;  ///< deviation of each beyond what the surface counts with
};

/// Whether libraries and the own kernel are told apart in the grid's measurements of the family.
bool is_told_apart(const Family& family, const std::vector<Measured>& grid);
/// What was fastest, or what the fastest library takes, over `physical`.
Samples library_samples(const FamilyFit& fit, const Cost& physical, const Device& device,
                        const std::vector<Measured>& grid);
/// What the own kernel takes over one that behaves as `kernel`. Passes that it serves alike are together.
Samples own_samples(const Family& family, const GemmBehaviour& kernel, const Device& device,
                    const std::vector<Measured>& grid);

/// A family of a calibration, ready to predict. `physical` and `device` must outlive it.
class FamilyModel {
 public:
  FamilyModel(const FamilyFit& fit, const Cost& physical, const Device& device,
              const std::vector<Measured>& grid);
  /// How much longer `op` takes than the physical model says, and whether it is far from all measurements.
  struct Answer {
    double factor = 1;
    bool is_far = true;
  };
  Answer at(const Op& op) const;
  /// Standard deviation of the logarithm of a measured time of `op` around the predicted one.
  double deviation(const Op& op) const;
  const Family& family() const { return family_; }

 private:
  /// The faster of the ways of computing an op.
  struct Way {
    double factor = 1;
    const Surface* surface = nullptr;
    SurfacePoint place{};
  };
  Way fastest(const Op& op) const;

  Family family_;
  const Cost& physical_;
  const Device& device_;
  Surface libraries_;
  struct Own {
    GemmBehaviour kernel;
    Surface surface;
  };
  std::optional<Own> own_;
};

}  // namespace moesim
