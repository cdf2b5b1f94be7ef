// All-to-all in two steps that run as one, at given shares of the links' rates.
#include "sim/collective/rail_flows.hpp"
#include "sim/collective/settings.hpp"

namespace moesim {
namespace {

class Hierarchical final : public Collective {
 public:
  Hierarchical(const CollectiveSettings& settings, double nvlink_efficiency)
      : settings_(settings), nvlink_efficiency_(nvlink_efficiency) {}

  ExchangeBuffers buffers() const override { return ExchangeBuffers::queues; }

  Traffic plan(const Request& request, const Fabric& fabric) const override {
    if (request.operation != Operation::all_to_all) refuse("hierarchical", request.operation, "all_to_all");
    Traffic traffic{.flows = rail_flows(request, fabric, "hierarchical"),
                    .latency = settings_.startup + longest_latency(request.group, fabric),
                    .efficiency = settings_.efficiency,
                    .nvlink_efficiency = nvlink_efficiency_,
                    .messages = 0};
    traffic.messages = static_cast<std::int64_t>(traffic.flows.size());
    return traffic;
  }

 private:
  CollectiveSettings settings_;
  double nvlink_efficiency_;
};

std::unique_ptr<const Collective> make(Reader& reader) {
  const CollectiveSettings settings = read_collective_settings(reader, {});
  const double nvlink_efficiency =
      reader.number({.name = "nvlink_efficiency",
                     .help = "share of NVLink's rate that kernels reach which send or pass on inside a node; "
                             "0: efficiency",
                     .fallback = 0.0,
                     .at_least = 0.0,
                     .at_most = 1.0});
  return std::make_unique<Hierarchical>(settings, nvlink_efficiency);
}

}  // namespace

extern constexpr Entry<Collective> hierarchical_collective{
    "hierarchical", "tokens cross to each node once, then spread over NVLink, as DeepEP does (all_to_all)",
    make};

}  // namespace moesim
