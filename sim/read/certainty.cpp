#include "sim/read/certainty.hpp"

#include <fmt/format.h>

#include "models/base/error.hpp"
#include "models/config/document.hpp"

namespace moesim {
namespace {

constexpr double most_off = 7;            // a thousand times as long
constexpr std::int64_t least_draws = 20;  // two beyond each end of bars that hold 80 %

constexpr std::string_view usual_table = "configs/validation/residuals.json";

Residual read_residual(Reader& reader) {
  Residual residual;
  residual.name = reader.text({.name = "name", .help = "of the case"});
  residual.off = reader.number({.name = "off",
                                .help = "logarithm of measured over predicted",
                                .at_least = -most_off,
                                .at_most = most_off});
  residual.explained = reader.number({.name = "explained",
                                      .help = "deviation of it that other families account for",
                                      .fallback = 0.0,
                                      .at_least = 0.0,
                                      .at_most = most_off});
  reader.finish();
  return residual;
}

ErrorFamily read_family(Reader& reader) {
  ErrorFamily family;
  family.of = reader.text({.name = "of", .help = "what errs together"});
  family.where = reader.text({.name = "where", .help = "with what software, device and costs"});
  for (Reader& item : reader.items("residuals", "what was predicted and measured"))
    family.residuals.push_back(read_residual(item));
  if (family.residuals.empty()) {
    family.shapes = static_cast<std::size_t>(
        reader.integer({.name = "shapes", .help = "that were measured", .at_least = 1}));
    family.deviation = reader.number(
        {.name = "deviation", .help = "standard deviation", .at_least = 0.0, .at_most = most_off});
  } else {
    family.deviation = deviation_of(family.residuals);
  }
  reader.finish();
  return family;
}

/// The project's table; nothing where the program runs apart from it.
std::vector<ErrorFamily> usual_residuals(const std::string& origin) {
  std::string path;
  try {
    path = find_beside(std::string(usual_table), origin);
  } catch (const InputError&) {
    return {};
  }
  const Value document = load_document(path);
  Reader reader(document, "");
  return read_residuals(reader);
}

}  // namespace

std::vector<ErrorFamily> read_residuals(Reader& reader) {
  const std::string schema = reader.text({.name = "schema", .help = "which kind of file this is"});
  if (schema != residuals_schema)
    reader.fail("schema", fmt::format("is '{}', expected '{}'", schema, residuals_schema));
  static_cast<void>(reader.raw("about", "what it is"));
  std::vector<ErrorFamily> families;
  for (Reader& item : reader.items("families", "what errs together")) families.push_back(read_family(item));
  reader.finish();
  return families;
}

Certainty read_certainty(Reader reader, const std::string& origin) {
  Certainty certainty;
  certainty.draws = reader.integer({.name = "draws",
                                    .help = "of all errors, each with the step run again for the expected "
                                            "error, at least 20; 0: to first order, along the critical path",
                                    .fallback = 0,
                                    .at_least = 0,
                                    .at_most = 100'000});
  if (certainty.draws > 0 && certainty.draws < least_draws)
    reader.fail("draws", fmt::format("is {}, expected 0 or at least {}: of fewer no bars can be told",
                                     certainty.draws, least_draws));
  std::optional<Reader> table = reader.optional_part(
      "table", "residuals that moesim validate --residuals wrote (default: the project's)");
  if (!reader.is_describing()) certainty.families = table ? read_residuals(*table) : usual_residuals(origin);
  reader.finish();
  return certainty;
}

}  // namespace moesim
