// Every rank sends to every other directly, as an all-to-all of NCCL does; also a plain send, and all to one
// or one to all over one port.
#include <fmt/format.h>

#include <utility>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "sim/collective/settings.hpp"

namespace moesim {
namespace {

class Pairwise final : public Collective {
 public:
  Pairwise(const CollectiveSettings& settings, bool deduplicate)
      : settings_(settings), deduplicate_(deduplicate) {}

  Traffic plan(const Request& request, const Fabric& fabric) const override {
    if (request.operation == Operation::all_to_all)
      return with_settings(sends_to_all(request, fabric, deduplicate_));
    if (deduplicate_) {
      throw InputError("collectives",
                       fmt::format("'deduplicate' is of tokens with several experts, and {} has none",
                                   at(operation_names, request.operation)));
    }
    Traffic traffic{
        .flows = {}, .latency = longest_latency(request.group, fabric), .efficiency = 1, .messages = 0};
    if (request.operation == Operation::point_to_point) {
      traffic.flows = {{request.group[0], request.group[1], static_cast<double>(request.bytes.count)}};
    } else if (request.operation == Operation::reduce || request.operation == Operation::broadcast) {
      for (const DeviceId device : request.group.subspan(1)) {
        const bool inward = request.operation == Operation::reduce;
        traffic.flows.push_back({inward ? device : request.group[0], inward ? request.group[0] : device,
                                 static_cast<double>(request.bytes.count)});
      }
    } else {
      refuse("pairwise", request.operation, "all_to_all, point_to_point, reduce and broadcast");
    }
    traffic.messages = static_cast<std::int64_t>(traffic.flows.size());
    return with_settings(std::move(traffic));
  }

 private:
  Traffic with_settings(Traffic traffic) const {
    traffic.latency += settings_.startup;
    traffic.efficiency = settings_.efficiency;
    return traffic;
  }

  CollectiveSettings settings_;
  bool deduplicate_;
};

std::unique_ptr<const Collective> make(Reader& reader) {
  const CollectiveSettings settings = read_collective_settings(reader, {});
  const bool deduplicate = reader.flag({.name = "deduplicate",
                                        .help = "a token with several experts on one rank is sent there once",
                                        .fallback = false});
  return std::make_unique<Pairwise>(settings, deduplicate);
}

}  // namespace

extern constexpr Entry<Collective> pairwise_collective{
    "pairwise", "every rank sends to every other directly (all_to_all, point_to_point, reduce, broadcast)",
    make};

}  // namespace moesim
