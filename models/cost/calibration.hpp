// What was measured on a device and what was fitted to it: the file that `moesim calibrate` writes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/cluster/device.hpp"
#include "models/config/reader.hpp"
#include "models/config/value.hpp"
#include "models/cost/cost.hpp"
#include "models/cost/surface.hpp"
#include "models/transformer/op.hpp"

namespace moesim {

inline constexpr std::string_view calibration_schema = "moesim.calibration/1";
inline constexpr std::string_view measurements_schema = "moesim.measurements/1";

/// One measured op.
struct Measured {
  Op op;
  double seconds = 0;
  bool held_out = false;  ///< judges the fit, never part of it
  /// Of grouped products, what the libraries and the own kernel of moesim-measure take, of which `seconds` is
  /// the less; 0: not offered, or not told apart. Of those with rows for one expert alone, which are ordinary
  /// products, `seconds` is what the libraries take.
  double library_seconds = 0, own_seconds = 0;
  bool slower_is_rough = false;  ///< the slower of the two comes from a few samples only
  Value line;                    ///< as it was read
};

/// Ops that one surface serves: kind, direction, precision.
struct Family {
  OpKind kind = OpKind::gemm;
  OpPass pass = OpPass::forward;
  Precision precision = Precision::bf16;
  friend bool operator==(const Family&, const Family&) = default;
};
/// Families in which all passes and precisions cost alike by their bytes are one.
Family family_of(const Op& op);
/// "gemm backward_weight fp8", as files and tables name it.
std::string name_of(const Family& family);
/// The op that stands for it: a grouped product with rows for one expert alone is an ordinary product.
Op simplified(const Op& op);
/// Where an op stands on the surface of its family: logarithms of its sizes to base 2, and of products how
/// much longer than the peak allows `physical` takes for them on `device`.
SurfacePoint place_of(const Op& op, const Cost& physical, const Device& device);

/// How far predictions are from measurements: relative errors without sign.
struct Errors {
  std::size_t shapes = 0;
  double median = 0, p90 = 0, worst = 0;
};
/// Of logarithms of predicted over measured.
Errors errors_of(std::vector<double> logarithms);
Errors read_errors(Reader reader);
std::string write_errors(const Errors& errors);

/// Of mixes of ops that a device's power was fitted on: times of all parts, and powers.
struct PowerErrors {
  Errors times, powers;
};

/// The own kernel for grouped products (models/cost/grouped_kernel.hpp), fitted apart from the libraries.
struct OwnFit {
  GemmBehaviour kernel;
  SurfaceShape shape;
  Errors physical;  ///< of the kernel's physical model alone, on what it takes
  Errors left_out;
};

/// The correction of one family, and how good it is.
struct FamilyFit {
  Family family;
  SurfaceShape shape;  ///< where there is an own kernel: of what the libraries take
  std::optional<OwnFit> own;
  Errors physical;  ///< of the physical model alone, on the grid
  Errors left_out;  ///< each measurement predicted from all others
  Errors held_out;  ///< shapes that are not in the grid
};

/// How the device runs one of the kernels of common software (models/transformer/access_laws.hpp).
struct AccessFit {
  Access law;  ///< with the device's numbers in place of those that the code assumes
  std::int64_t least_elements = 0, most_elements = 0;  ///< of what it was fitted to
  Errors fitted;                                       ///< on that
  Errors held_out;                                     ///< on sizes that it was not fitted to
};

/// A calibration.
struct Calibration {
  Value about;  ///< device, driver, clocks, date, as measured
  Device device;
  Value device_file;  ///< the same as a device file would hold it
  /// The device file that the fit began with, where it is known: another account of the same device.
  std::optional<Device> described;
  Value described_file;  ///< as it was read
  std::vector<FamilyFit> families;
  Errors held_out;  ///< over all shapes that are not in the grid
  std::optional<PowerErrors> power;
  std::vector<Measured> grid;
  std::vector<AccessFit> accesses;
  Value accesses_about;  ///< device, driver, library, date of these
  Value rest;  ///< launches, contention, links, what was not measured: kept, not used for times of ops
};

/// Reads a calibration. Throws InputError for a file that is none.
Calibration read_calibration(Reader& reader);
/// As JSON, one measurement a line.
std::string write_calibration(const Calibration& calibration);
/// One op of a measurements or calibration file.
Measured read_measured(Reader& reader);

}  // namespace moesim
