// Published figures beside simulated ones as JSON.
#include <nlohmann/json.hpp>

#include "sim/write/validation.hpp"

namespace moesim {
namespace {

using Json = nlohmann::ordered_json;

Json case_json(const JudgedCase& one) {
  Json json = {{"group", one.group}, {"name", one.name}, {"figure", one.figure}};
  if (!one.unit.empty()) json["unit"] = one.unit;
  json["published"] = one.published;
  if (one.error.empty()) {
    json["simulated"] = one.simulated;
    json["error"] = one.deviation();
  } else {
    json["failure"] = one.error;
  }
  json["tolerance"] = one.tolerance;
  json["absolute"] = one.is_absolute;
  json["within"] = one.is_within();
  json["source"] = one.source;
  if (!one.known.empty()) json["known"] = one.known;
  return json;
}

Json group_json(const Validation& validation, const GroupSummary& group) {
  Json json = {{"name", group.name}, {"cases", group.cases}, {"within", group.within}};
  if (group.relative > 0) {
    json["median"] = group.median;
    json["ninetieth"] = group.ninetieth;
    json["worst"] = group.worst;
    json["mean"] = group.mean;
  }
  const RankAgreement agreement = rank_agreement(validation, group.name);
  if (agreement.pairs > 0) json["rank_agreement"] = agreement.tau;
  return json;
}

}  // namespace

std::string write_json(const Validation& validation) {
  Json json = {{"schema", "moesim.validate/1"}};
  json["cases"] = Json::array();
  for (const JudgedCase& one : validation.cases) json["cases"].push_back(case_json(one));
  json["groups"] = Json::array();
  for (const GroupSummary& group : summarize_groups(validation)) {
    json["groups"].push_back(group_json(validation, group));
  }
  return json.dump(2) + "\n";
}

}  // namespace moesim
