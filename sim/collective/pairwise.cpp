// Every rank sends to every other directly, as an all-to-all of NCCL does; also a plain send, and all to one
// or one to all over one port.
#include "sim/collective/settings.hpp"

namespace moesim {
namespace {

class Pairwise final : public Collective {
 public:
  Pairwise(const CollectiveSettings& settings, bool deduplicate)
      : settings_(settings), deduplicate_(deduplicate) {}

  Traffic plan(const Request& request, const Fabric& fabric) const override {
    Traffic traffic{
        .flows = {}, .latency = settings_.startup, .efficiency = settings_.efficiency, .messages = 0};
    traffic.latency += longest_latency(request.group, fabric);
    if (request.operation == Operation::point_to_point) {
      traffic.flows = {{request.group[0], request.group[1], static_cast<double>(request.bytes.count)}};
      traffic.messages = 1;
    } else if (request.operation == Operation::all_to_all) {
      Traffic exchange = sends_to_all(request, fabric, deduplicate_);
      exchange.latency = traffic.latency;
      exchange.efficiency = traffic.efficiency;
      return exchange;
    } else if (request.operation == Operation::reduce || request.operation == Operation::broadcast) {
      for (const DeviceId device : request.group.subspan(1)) {
        const bool inward = request.operation == Operation::reduce;
        traffic.flows.push_back({inward ? device : request.group[0], inward ? request.group[0] : device,
                                 static_cast<double>(request.bytes.count)});
      }
      traffic.messages = static_cast<std::int64_t>(traffic.flows.size());
    } else {
      refuse("pairwise", request.operation, "all_to_all, point_to_point, reduce and broadcast");
    }
    return traffic;
  }

 private:
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
